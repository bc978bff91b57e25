"""The parts of a study that say how: components, training, evaluation, measurement."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from frcore.study.data import Fraction
from frcore.study.section import (
    ASIDE,
    Label,
    Place,
    Section,
    SectionWithAsides,
    Sha256,
    added,
)

Backend = Literal["auto", "dense", "streamed", "triton"]
LossPrecision = Literal["fp32", "bf16"] | None
LOSS_PRECISION_MEANING = (
    "Of the operands of the last layer's matrix products; sums are always in 32 bits. Absent: "
    "bf16 for triton, fp32 for the others."
)
BACKEND_MEANING = (
    "How the loss is computed: the same numbers up to rounding at different cost. dense: the whole "
    "logit matrix; streamed: tiles of classes; triton: fused GPU kernels; auto: what suits device, "
    "head and size."
)

CenterFormat = Literal["fp32", "split"]
CENTER_FORMAT_MEANING = (
    "How class centres and momentum are stored. fp32: 8 bytes per entry; split: 6, centres as "
    "bfloat16 + int16, which together are exact float32 (the loss reads only the bfloat16), "
    "momentum as bfloat16 rounded at random. Momentum 0 takes 4."
)


class Component(Section):
    """A head, sampler or backbone with its parameters.

    In YAML either a name (`arcface`) or a mapping (`{name: arcface, margin: 0.3, label: arc03}`).
    `label` names it in files and tables and defaults to the name.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: Label

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and "label" not in value and isinstance(value.get("name"), str):
            value = {**value, "label": value["name"].rpartition(":")[2]}
        return value

    @property
    def parameters(self) -> dict[str, Any]:
        """What the user gave besides name and label."""
        return dict(self.model_extra or {})


class Backbone(Component):
    """A backbone with its parameters, and what a training of it starts from and leaves as it is."""

    weights: Place | None = added(
        None,
        "A file of weights that each training starts from: a state dict of torch.save or "
        "safetensors, in frcore's or arcface_torch's names. See docs/data.md.",
    )
    sha256: Sha256 | None = added(
        None,
        "Of the weights; another file is refused. Absent: that of the file at hand, and another "
        "file repeats the trainings.",
    )
    freeze: tuple[str, ...] = added(
        (),
        "Modules of the backbone that training leaves as they are, batch norm's statistics "
        "included; `all` is all of it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_any_component(cls, value: Any) -> Any:
        if isinstance(value, Component) and not isinstance(value, cls):
            value = value.model_dump()
        if isinstance(value, dict) and isinstance(value.get("freeze"), str):
            value = {**value, "freeze": (value["freeze"],)}
        return value

    @model_validator(mode="after")
    def _sha256_is_of_something(self) -> Backbone:
        if self.sha256 is not None and self.weights is None:
            raise ValueError("sha256 given without weights: name the file, or leave it out")
        return self


class Schedule(Section):
    """The learning rate over training: linear warm-up, then `poly` or `step`."""

    kind: Literal["poly", "step"] = "poly"
    power: float = Field(1.0, gt=0, description="poly: exponent; 1 is a straight line to zero.")
    milestones: tuple[float, ...] = Field((), description="step: epochs at which the rate falls.")
    gamma: float = Field(0.1, gt=0, lt=1, description="step: factor at each milestone.")
    warmup: float = Field(0.0, ge=0, description="Warm-up in epochs.")

    @model_validator(mode="after")
    def _milestones_fit_the_kind(self) -> Schedule:
        if self.kind == "step" and not self.milestones:
            raise ValueError("schedule.kind 'step' needs milestones, for example [10, 16]")
        if self.kind == "poly" and self.milestones:
            raise ValueError("milestones belong to schedule.kind 'step', but the kind is 'poly'")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must grow")
        return self


class Augment(Section):
    """AdaFace's augmentations, each with a probability; its authors train with 0.2 of each.

    See `frcore.data.pixels.augment` for what they do and where they come from.
    """

    crop: Fraction = Field(0.0, description="Everything outside a random box becomes black.")
    low_resolution: Fraction = Field(0.0, description="Shrunk to a random side, enlarged again.")
    colour: Fraction = Field(0.0, description="Brightness, contrast, saturation times 0.5 to 1.5.")


class Drift(Section):
    """How far embeddings drift during a training: what a queue of past ones has to make up for.

    After each of `starts`, a sample of the training images is embedded and kept with its class
    centres; `ages` later it is embedded again. `diagnostics.json` has the cosine between the two,
    without and with BroadFace's compensation. It costs a forward pass of `samples` images for each
    start and age, works with every sampler, and changes no training.
    """

    starts: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = Field(
        (0.1, 0.3, 0.6, 0.85), description="When embeddings are kept, as fractions of the training."
    )
    ages: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = Field(
        (1, 4, 16, 64, 256), description="Steps after which they are compared. Those that a "
        "training does not reach give no row."
    )  # fmt: skip
    samples: int = Field(256, ge=1, description="Images, at equal distances in the training set.")


LOADER_THREADS_OF_A_GPU = 2
"""Decode 7,000 JPEGs of 5 kB a second (docs/data.md). insightface's tables have an IResNet-50 train
1,200 images a second on each of eight A100 in fp16; how many an H200 takes is not measured."""


class Training(SectionWithAsides):
    """The training loop: SGD on the backbone and on the class centres."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Schedule = Schedule()
    clip_norm: float | None = Field(5.0, gt=0, description="Clip of the backbone's gradient.")
    center_std: float = Field(
        0.01, gt=0, description="Standard deviation of the centres' initial values. 0.01 is "
        "insightface's; 1/√dim starts them at norm 1, which makes the first steps smaller."
    )  # fmt: skip
    center_format: CenterFormat = Field("fp32", description=CENTER_FORMAT_MEANING)
    center_optimizer: Literal["rowwise", "torch"] = Field(
        "rowwise", description="What moves the class centres. rowwise: SGD that knows which "
        "centres a step had, without a gradient of all; torch: torch.optim.SGD, to compare with."
    )  # fmt: skip
    flip: bool = Field(True, description="Random horizontal mirroring.")
    augment: Augment | None = Field(
        None, description="Probabilities of further augmentations; none when absent."
    )
    drift: Drift | None = added(
        None,
        "Record how far embeddings drift; absent: not.",
    )
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast, GPU only.")
    backend: Backend = Field("auto", description=BACKEND_MEANING)
    loss_precision: LossPrecision = Field(None, description=LOSS_PRECISION_MEANING)
    threads: int = Field(1, ge=1, description="CPU threads; part of the result, so it is fixed.")
    loader_threads: int = Field(
        1, ge=1, description="CPU threads that decode images which are read in place. Absent: 1, "
        "and 2 for a GPU. They never change the result. docs/data.md gives the throughput of one."
    )  # fmt: skip
    channels_last: bool = added(
        False,
        "Backbone and images as NHWC in memory. Rounds otherwise.",
    )
    fused_sgd: bool = added(
        False,
        "One kernel for the backbone's SGD. Rounds otherwise.",
    )
    compile: bool = added(
        False,
        "torch.compile of the backbone, which takes a minute or more at the first step. Rounds "
        "otherwise.",
    )
    cudnn_benchmark: bool = added(
        False,
        "GPU: cuDNN times its algorithms and takes the fastest. Another run may take others and "
        "round otherwise.",
    )
    deterministic: bool = added(
        True,
        "GPU: algorithms that repeat bit for bit. false: whatever is fastest.",
    )
    checkpoint_minutes: Annotated[float, ASIDE] = Field(
        15.0, ge=0, description="A training saves itself at the end of each epoch, within one "
        "after so many minutes (0: after every step), and when it is asked to stop. A kill loses "
        "what came after that. Never changes the result, and changing it repeats nothing."
    )  # fmt: skip

    processes: int = Field(
        1, ge=1, description="Processes that train one run together, each with its part of every "
        "batch (batch_size is that of all) and of the class centres; on GPUs one for each GPU."
    )  # fmt: skip
    sync_batchnorm: bool = Field(
        False, description="Batch norm over the batch of all processes, GPU only; absent: over "
        "each process's own part, and the first one's running statistics are the model's."
    )  # fmt: skip
    timeout_minutes: Annotated[float, ASIDE] = Field(
        10.0, gt=0, description="With several processes: one that waits longer for another gives "
        "up, after the one that hangs has shown where."
    )  # fmt: skip

    @model_validator(mode="after")
    def _every_process_has_something_to_do(self) -> Training:
        if self.processes > self.batch_size:
            raise ValueError(
                f"processes = {self.processes} with a batch_size of {self.batch_size}, which is "
                "that of all processes together; each needs at least one image of a batch: give "
                f"at most {self.batch_size} processes, or a larger batch_size"
            )
        if self.sync_batchnorm and (self.device == "cpu" or self.processes == 1):
            raise ValueError(
                f"sync_batchnorm with device '{self.device}' and processes = {self.processes}; it "
                "is for several processes on GPUs: leave it out, or give both"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _a_gpu_is_fed(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("device") == "cuda":
            return {"loader_threads": LOADER_THREADS_OF_A_GPU, **given}
        return given

    @model_validator(mode="after")
    def _only_a_gpu_has_them(self) -> Training:
        if self.device == "cpu" and (self.cudnn_benchmark or not self.deterministic):
            raise ValueError(
                f"cudnn_benchmark = {self.cudnn_benchmark} and deterministic = "
                f"{self.deterministic} with device 'cpu', where neither has an effect; leave them "
                "out, or set device to 'cuda'"
            )
        return self

    @model_validator(mode="after")
    def _precision_fits_the_device(self) -> Training:
        if self.precision == "bf16" and self.device != "cuda":
            raise ValueError("precision 'bf16' needs device 'cuda', but the device is 'cpu'")
        late = [float(at) for at in self.schedule.milestones if not 0 < at < self.epochs]
        if late:
            raise ValueError(
                f"schedule.milestones has {late[0]:g}, but the training has {self.epochs} epochs; "
                "the rate can fall after more than 0 epochs and before the last is over: remove "
                "it, or change epochs"
            )
        if self.schedule.warmup >= self.epochs:
            raise ValueError(
                f"schedule.warmup of {self.schedule.warmup} epochs leaves nothing of "
                f"{self.epochs} epochs"
            )
        return self

    @model_validator(mode="after")
    def _split_centers_can_be_moved(self) -> Training:
        _refuse_split_with_dense(self.center_format, self.backend)
        if self.center_format == "split" and self.center_optimizer == "torch":
            raise ValueError(
                "center_format 'split' with center_optimizer 'torch', which moves fp32 centres "
                "only; set center_optimizer to 'rowwise', or center_format to 'fp32'"
            )
        return self


def _refuse_split_with_dense(center_format: CenterFormat, backend: Backend) -> None:
    """The whole matrix needs whole centres.

    Raises:
        ValueError: split centres with the backend that does not read them.
    """
    if center_format == "split" and backend == "dense":
        raise ValueError(
            "center_format 'split' with backend 'dense'; backends that read split centres are "
            "'streamed', 'triton' and 'auto', which picks one of them: set backend to one of "
            "these, or center_format to 'fp32'"
        )


class Evaluation(Section):
    """How embeddings become scores. No silent defaults: each is printed under the tables."""

    flip: Literal["none", "sum"] = Field(
        description="none: the image; sum: image + mirror embedding, then normalised."
    )
    pooling: Literal["media_mean", "image_mean"] = Field(
        "media_mean", description="Template pooling: mean in a medium then over media, or flat."
    )
    detector_score: bool = Field(
        False, description="Weigh each image of a template with its detector score."
    )
    bootstrap: int = Field(
        1000, ge=100, description="Without effect: intervals are in closed form. Earlier studies "
        "have it in their hashes."
    )  # fmt: skip
    insightface: bool = Field(
        False, description="Also accuracy and VAL at FAR 0.001 by InsightFace's rules, on "
        "benchmarks with folds: to compare with published tables."
    )  # fmt: skip
    batch_size: int = Field(256, ge=1)
    device: Literal["cpu", "cuda"] | None = Field(
        None, description="Where embeddings are computed. Absent: as in training, else cpu."
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads. Absent: as in training, else 1."
    )


class Measurement(Section):
    """Speed and memory of one training step's last layer, for each head × sampler."""

    identities: tuple[Annotated[int, Field(ge=3)], ...]
    batch_size: int = Field(ge=1)
    dim: int = Field(512, ge=2)
    warmup: int = Field(3, ge=1, description="Least steps before the clock starts; more follow "
        "until step times are steady, but few.")  # fmt: skip
    steps: int = Field(20, ge=5, description="Timed steps.")
    attempts: int = Field(3, ge=1, description="A row that was disturbed (by other programs, by "
        "throttled clocks) is measured again, up to this many times in all.")  # fmt: skip
    cooldown: float = Field(30.0, ge=0, description="GPU: the longest wait in seconds before a "
        "row for the board to cool.")  # fmt: skip
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    backend: Backend = Field("auto", description=BACKEND_MEANING)
    loss_precision: LossPrecision = Field(None, description=LOSS_PRECISION_MEANING)
    center_format: CenterFormat = Field("fp32", description=CENTER_FORMAT_MEANING)
    threads: int = Field(1, ge=1)
    backbone: Component | None = Field(
        None, description="Also run this backbone in the step; absent: only the last layer."
    )
    processes: tuple[Annotated[int, Field(ge=1)], ...] = added(
        (1,),
        "Numbers of processes on this machine that share the class centres and the batch, 1 "
        "first, as in [1, 2, 4]; on GPUs one for each GPU.",
    )
    scaling: Literal["strong", "weak"] = added(
        "strong",
        "strong: the same identities for every number of processes; weak: so many for each "
        "process. The batch, of all processes together, stays the same.",
    )

    def identities_of(self, identities: int, processes: int) -> int:
        """Class centres of all processes together, where one process would have `identities`."""
        return identities * (processes if self.scaling == "weak" else 1)

    @model_validator(mode="after")
    def _processes_can_be_compared(self) -> Measurement:
        given = list(self.processes)
        if given[:1] != [1] or given != sorted(set(given)):
            raise ValueError(
                f"processes = {given}; efficiency is relative to one process: give growing numbers "
                "that begin with 1, such as [1, 2, 4]"
            )
        if given[-1] > self.batch_size:
            raise ValueError(
                f"processes has {given[-1]}, but batch_size is {self.batch_size}, which is that of "
                "all processes together; each needs a row: give fewer, or a larger batch_size"
            )
        if self.scaling == "weak" and len(given) == 1:
            raise ValueError(
                "scaling 'weak' with one process; give several numbers of processes, such as "
                "[1, 2, 4], or leave scaling out"
            )
        if self.backbone is not None and len(given) > 1:
            raise ValueError(
                f"processes = {given} with a backbone; over several processes only the last layer "
                "is measured: leave out backbone, or processes"
            )
        return self

    @model_validator(mode="after")
    def _split_centers_can_be_moved(self) -> Measurement:
        _refuse_split_with_dense(self.center_format, self.backend)
        return self
