"""Models trained elsewhere, as a study names them: which file, and the input it expects."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from frcore.study.parts import Component
from frcore.study.section import Label, Place, Section, Sha256, added

Channel = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False)]
Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]

USUAL_SIDE = 112
"""Pixels of a side of the faces that the field's networks take."""

PIXEL_TERMS = (
    "in terms of pixel values 0 to 255; a model described in terms of 0 to 1 has both multiplied "
    "by 255, for example mean [123.675, 116.28, 103.53] and std [58.395, 57.12, 57.375]"
)


class ModelSection(Section):
    """What every kind of model trained elsewhere has."""

    label: Label = Field(description="Its name in files and tables.")
    trained_on: str = Field(
        "", description="Its training data, printed as given: the harness cannot know them."
    )
    source: str = Field("", description="Where the file is from, printed.")
    licence: str = Field("", description="Its licence, printed.")
    published: dict[Label, Annotated[float, Field(gt=0, le=100)]] = Field(
        {}, description="Benchmark of pairs -> accuracy in percent that `source` publishes, shown "
        "next to the measured one."
    )  # fmt: skip

    @property
    @abstractmethod
    def paths(self) -> dict[str, str]:
        """Key -> path of every file that the section names."""

    def judges(self, benchmark: str) -> bool:
        """Whether the model can be evaluated on the benchmark of that name."""
        return True


class FileModel(ModelSection):
    """A model in one file."""

    file: Place
    sha256: Sha256 | None = Field(None, description="Of the file; another file is refused.")

    @property
    def paths(self) -> dict[str, str]:
        """Key -> path of the file."""
        return {"file": self.file}


class NetworkModel(FileModel):
    """A network in a file that does not say how its input is made from pixels."""

    colour: Literal["RGB", "BGR"] = Field(description="Order of the input's channels.")
    mean: Channel | tuple[Channel, Channel, Channel] = Field(
        description="Taken off the pixel values 0 to 255, one number or one for each channel in "
        "the order of `colour`: input = (pixel - mean) / std."
    )
    std: Spread | tuple[Spread, Spread, Spread] = Field(
        description="What is left is divided by it; in terms of pixel values 0 to 255, as `mean`."
    )
    output: str | None = Field(
        None, description="Name of the output that is the embedding, where there are several."
    )

    @model_validator(mode="after")
    def _pixel_terms(self) -> NetworkModel:
        stds = self.std if isinstance(self.std, tuple) else (self.std,)
        means = self.mean if isinstance(self.mean, tuple) else (self.mean,)
        # Above 0 and up to 1: no pixel's mean, but every mean of 0..1 terms.
        if min(stds) < 1 or any(0 < mean <= 1 for mean in means):
            raise ValueError(f"mean {self.mean} and std {self.std} given; they are {PIXEL_TERMS}")
        return self


class OnnxModel(NetworkModel):
    """An ONNX graph with one image input and embeddings (B, D) as output."""

    kind: Literal["onnx"]


class TorchScriptModel(NetworkModel):
    """A TorchScript archive, `torch.jit.save`'s, that maps images (B, 3, H, W) to (B, D)."""

    kind: Literal["torchscript"]
    size: int | None = Field(
        None, ge=16, le=512, description="Side of its input in pixels, where it is known; checked."
    )

    @model_validator(mode="after")
    def _has_one_output(self) -> TorchScriptModel:
        if self.output is not None:
            raise ValueError("outputs of TorchScript have no names; save a model with one output")
        return self


class CheckpointModel(FileModel):
    """A `model.pt` of this harness, which says itself what it is; or weights of a named backbone.

    The input of both is RGB, (pixel - 127.5) / 127.5.
    """

    kind: Literal["checkpoint"]
    backbone: Component | None = added(
        None,
        "The network that the file has the weights of, with its parameters; absent: the file is "
        "a model.pt of this harness, which names it.",
    )
    size: int | None = added(
        None,
        "Side of its input in pixels, with `backbone`; absent: 112.",
        ge=16,
        le=512,
    )

    @model_validator(mode="after")
    def _size_of_a_named_backbone(self) -> CheckpointModel:
        if self.size is not None and self.backbone is None:
            raise ValueError("size given without backbone: a model.pt says its own; leave it out")
        return self

    @property
    def side(self) -> int | None:
        """Side of the input in pixels; None if the file says it."""
        return (self.size or USUAL_SIDE) if self.backbone is not None else None


class StoredEmbeddings(ModelSection):
    """Embeddings made elsewhere, one .npy file for each benchmark."""

    kind: Literal["embeddings"]
    files: dict[Label, Place] = Field(
        min_length=1,
        description="Benchmark -> .npy file, float16 or float32 (N, D), one row per image of the "
        "prepared benchmark in the order of its index.parquet.",
    )
    names: dict[Label, Place] = Field(
        {},
        description="Benchmark -> text file with the name of each row's image, one a line: the "
        "rows may then be in any order, and there may be more of them.",
    )
    sha256: dict[Label, Sha256] = Field({}, description="Of the files; others are refused.")

    @field_validator("names", "sha256")
    @classmethod
    def _of_files(cls, value: dict[str, str], info: Any) -> dict[str, str]:
        files = info.data.get("files", {})
        unknown = sorted(set(value) - set(files))
        if unknown:
            raise ValueError(
                f"'{unknown[0]}' is not under files; allowed are {', '.join(files) or 'none'}"
            )
        return value

    @property
    def paths(self) -> dict[str, str]:
        """Key -> path of every file."""
        embeddings = {f"files.{name}": path for name, path in self.files.items()}
        return embeddings | {f"names.{name}": path for name, path in self.names.items()}

    def judges(self, benchmark: str) -> bool:
        """Whether there are embeddings of the benchmark."""
        return benchmark in self.files


Model = Annotated[
    OnnxModel | TorchScriptModel | CheckpointModel | StoredEmbeddings, Field(discriminator="kind")
]
