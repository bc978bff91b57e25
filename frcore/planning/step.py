"""Bytes, FLOPs and memory of one training step of the last layer.

Two ways to compute it. `fused`: the logits are never stored; one pass over the class centres for
loss and embeddings' gradient, one for the centres' gradient with SGD in its epilogue: 4 matrix
products. A pass takes at least as long as its products and at least as long as its bytes, so the
larger of the two is a lower bound. `dense`: as in InsightFace's PartialFC_V2, with a separate
kernel for every operation; bytes were counted operation by operation (162 per logit and 140 per
element of the centres with a full softmax), and all times add up. That is an estimate, not a bound.
docs/planning.md derives the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import Literal, NamedTuple

from frcore.errors import UserError, unknown_name
from frcore.planning.devices import Device

FLOAT = 4
"""Bytes of a float32, used for all vectors with one number per class or row."""


class State(NamedTuple):
    """How a class centre and its momentum are stored; bytes per element of the centre.

    Attributes:
        stored: centre, momentum and copies.
        read: read by a pass that computes cosines.
        update: read and written by the pass that computes and applies the gradient.
        meaning: in words.
    """

    stored: int
    read: int
    update: int
    meaning: str


STATES: dict[str, State] = {
    "fp32": State(8, 4, 16, "centre and momentum in fp32"),
    "fp32_shadow": State(10, 2, 20, "centre and momentum in fp32, a bf16 copy for the products"),
    "fp32_no_momentum": State(4, 4, 8, "centre in fp32, no momentum"),
    "split": State(6, 2, 12, "centre in two 16-bit halves, exactly fp32; momentum in bf16"),
    "split_no_momentum": State(4, 2, 8, "centre in two 16-bit halves, no momentum"),
}

BACKENDS = ("fused", "dense")


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        identities: class centres on all GPUs.
        gpus: number of GPUs over which the classes are distributed.
        batch: images on each GPU; each GPU's classes see those of all GPUs.
        dim: of the embeddings.
        rate: share of the centres in each step's softmax.
        state: one of `STATES`.
        update: how centres outside it are updated; "lazy" costs about as much as "sparse".
        queue: rows of a queue of past embeddings that update the centres (BroadFace).
        statistic: whether the head needs a sum over all cosines to set its scale (AdaCos).
        precision: of the matrix products' operands.
        backend: "fused" or "dense".
    """

    identities: int
    gpus: int = 1
    batch: int = 1024
    dim: int = 512
    rate: float = 1.0
    state: str = "fp32"
    update: Literal["sparse", "lazy", "dense"] = "sparse"
    queue: int = 0
    statistic: bool = False
    precision: str = "bf16"
    backend: str = "fused"

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise unknown_name("state", self.state, STATES, where="--state")
        if self.backend not in BACKENDS:
            raise unknown_name("backend", self.backend, BACKENDS, where="--backend")
        for name, least in (("identities", 2), ("gpus", 1), ("batch", 1), ("dim", 1), ("queue", 0)):
            if getattr(self, name) < least:
                raise UserError(
                    f"--{name} {getattr(self, name)}; allowed is {least} or more: give a count"
                )
        if not 0 < self.rate <= 1:
            raise UserError(
                f"--rate {self.rate}; allowed is above 0, up to 1 (the full softmax): give the "
                "share of all class centres sampled in a step"
            )
        if self.backend == "dense" and self.state != "fp32":
            raise UserError(
                f"state '{self.state}' with backend 'dense'; its centres and momentum are fp32: "
                "omit --state, or plan --backend fused"
            )

    @property
    def rows(self) -> int:
        """Rows of each GPU's logit matrix: the batches of all GPUs."""
        return self.batch * self.gpus

    @property
    def classes(self) -> float:
        """Class centres on one GPU; the largest share if they do not divide evenly."""
        return float(-(-self.identities // self.gpus))

    @property
    def active(self) -> float:
        """Class centres on one GPU that are in a step's softmax."""
        return self.rate * self.classes


@dataclass(frozen=True)
class Part:
    """A part of the step on one GPU: its FLOPs, and the bytes it moves through memory."""

    name: str
    flop: float
    bytes: float

    def compute_ms(self, device: Device, precision: str) -> float:
        """Time for the arithmetic only."""
        return 1e3 * self.flop / (device.tflops[precision] * 1e12)

    def memory_ms(self, device: Device) -> float:
        """Time for moving the bytes only."""
        return 1e3 * self.bytes / (device.tb_per_second * 1e12)


@dataclass(frozen=True)
class Plan:
    """What a step costs on each GPU.

    Attributes:
        parts: of the step.
        step_ms: time of all parts, without communication.
        exchanged: communication between GPUs, name -> bytes through one GPU's link, one way.
        exchange_ms: time for it, not overlapped with anything.
        memory: contents of a GPU's memory at the peak of the step, name -> bytes.
    """

    workload: Workload
    device: Device
    parts: tuple[Part, ...]
    step_ms: float
    exchanged: dict[str, float]
    exchange_ms: float
    memory: dict[str, float]

    @property
    def memory_gib(self) -> float:
        """Memory of one GPU, without CUDA context and backbone."""
        return sum(self.memory.values()) / 1024**3

    @property
    def fits(self) -> bool:
        """Whether the device has enough memory."""
        return self.memory_gib <= self.device.memory_gib

    @property
    def total_ms(self) -> float:
        """Time of step and communication."""
        return self.step_ms + self.exchange_ms


def plan_step(workload: Workload, device: Device) -> Plan:
    """Plan a step of `workload` on `device`.

    Raises:
        UserError: a precision without a rate.

    >>> from frcore.planning import get_device
    >>> plan = plan_step(Workload(identities=1_000_000, state="fp32_shadow"), get_device("h200"))
    >>> f"{plan.step_ms:.2f} ms, {plan.memory['centres and momentum'] / 1e9:.2f} GB"
    '5.31 ms, 5.12 GB'
    """
    if workload.precision not in device.tflops:
        raise unknown_name("precision", workload.precision, device.tflops, where="--precision")
    dense = workload.backend == "dense"
    parts = dense_parts(workload) if dense else fused_parts(workload)
    # Times of single kernels add up; a fused pass is bounded by the larger of the two.
    times = [(sum if dense else max)((part.compute_ms(device, workload.precision),
                                      part.memory_ms(device))) for part in parts]  # fmt: skip
    memory = dense_memory(workload) if dense else fused_memory(workload)
    exchanged = exchanged_bytes(workload)
    seconds = sum(exchanged.values()) / (device.link_gb_per_second * 1e9)
    return Plan(workload, device, parts, sum(times), exchanged, 1e3 * seconds, memory)


def fused_parts(workload: Workload) -> tuple[Part, ...]:
    """The passes of the fused step.

    The first: cosines and the embeddings' gradient, except for rows of a queue. The second:
    cosines again, and the centres' gradient. A vector of 1/‖w‖ is read by both and written by the
    second.
    """
    state, dim, active = STATES[workload.state], workload.dim, workload.active
    product = 2.0 * active * dim  # FLOP of a product for each row
    read = active * (state.read * dim + FLOAT)
    parts = [
        # Random numbers written and read, indices written; sorting and selecting need more.
        Part("sampling", 0.0, 2 * FLOAT * workload.classes + 8 * active),
        Part("statistic", product * workload.rows, read),
        Part("pass 1: loss, dX", product * (2 * workload.rows + workload.queue), read),
        Part("pass 2: dW, SGD", product * (2 * workload.rows + 2 * workload.queue),
             active * (state.update * dim + 2 * FLOAT)),
        Part("SGD of the rest", 0.0, (workload.classes - active) * 2 * state.stored * dim),
    ]  # fmt: skip
    sampled = workload.rate < 1
    needed = (sampled, workload.statistic, True, True, sampled and workload.update == "dense")
    return tuple(compress(parts, needed))


def dense_parts(workload: Workload) -> tuple[Part, ...]:
    """Matrix products and everything else in the dense step, from counted operations."""
    logits = (workload.rows + workload.queue) * workload.active
    products = Part("3 matrix products", 6.0 * logits * workload.dim, 0.0)
    if workload.rate < 1:
        # The gradient is still dense, and SGD runs over every row.
        elements = workload.dim * (104 * workload.active + 56 * workload.classes)
    else:
        elements = workload.dim * 140 * workload.classes
    return products, Part("elementwise", 0.0, 162 * logits + elements)


def fused_memory(workload: Workload) -> dict[str, float]:
    """Bytes on one GPU at the peak of the fused step."""
    state, rows = STATES[workload.state], workload.rows + workload.queue
    memory = {
        "centres and momentum": state.stored * workload.dim * workload.classes,
        "1/norms": FLOAT * workload.classes,
        # The gradient in 8 partial sums, and a tile of the update for each multiprocessor.
        "workspace": 8 * FLOAT * rows * workload.dim + 17e6,
        "embeddings and gradient": 2 * FLOAT * rows * workload.dim,
    }
    return memory | _sampling_and_queue_memory(workload)


def dense_memory(workload: Workload) -> dict[str, float]:
    """Bytes on one GPU at the peak of the dense step.

    The factors were fitted to peaks measured on a CPU (1082 MB over the state at 256 rows and 1e5
    classes, 928 MB at 1024 and 5e4): logits four times, or gradient and optimiser's temporaries.
    """
    dim, logits = workload.dim, 16.0 * (workload.rows + workload.queue)
    if workload.rate < 1:
        temporary = max(8 * dim * workload.classes, (logits + 6 * dim) * workload.active)
    else:
        temporary = max(logits + 6 * dim, 21.6 * dim) * workload.classes
    memory = {"centres and momentum": 8 * dim * workload.classes, "temporaries": temporary}
    return memory | _sampling_and_queue_memory(workload)


def _sampling_and_queue_memory(workload: Workload) -> dict[str, float]:
    memory = (
        {"sampling": FLOAT * workload.classes + 2 * 8 * workload.active}
        if workload.rate < 1
        else {}
    )
    return memory | (
        {"queue": 2.0 * FLOAT * workload.queue * workload.dim} if workload.queue else {}
    )


def exchanged_bytes(workload: Workload) -> dict[str, float]:
    """Bytes through one GPU's link, one way, with classes distributed over GPUs.

    Embeddings (bf16) and labels of all rows are gathered on every GPU; each row's maximum and sum
    are combined; the embeddings' gradients (fp32) are summed and each GPU keeps those of its rows.
    A ring moves (G − 1)/G of each.
    """
    if workload.gpus == 1:
        return {}
    share, rows = (workload.gpus - 1) / workload.gpus, workload.rows
    return {
        "all-gather x, y": share * rows * (2 * workload.dim + 8),
        "all-gather max, sum": share * rows * 2 * FLOAT * workload.gpus,
        "reduce-scatter dX": share * rows * FLOAT * workload.dim,
    }
