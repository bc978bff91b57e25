"""From a prepared benchmark's pixels to the input of a model trained elsewhere, and its output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.study.models import NetworkModel

Layout = Literal["NCHW", "NHWC"]


class Pixels:
    """Colour order, normalisation and layout of a model's input.

    The input is (pixel - mean) / std, of pixel values 0 to 255, float32.

    Args:
        model: its `colour`, and its `mean` and `std`, also per channel in the order of `colour`.
        layout: NCHW or NHWC.
    """

    def __init__(self, model: NetworkModel, layout: Layout = "NCHW"):
        self.colour, self.layout = model.colour, layout
        self.mean, self.std = (
            np.broadcast_to(np.asarray(value, np.float32), 3) for value in (model.mean, model.std)
        )

    def __call__(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Images uint8 (B, H, W, 3), RGB, as float32 (B, 3, H, W) or (B, H, W, 3)."""
        ordered = images_NHWC if self.colour == "RGB" else images_NHWC[..., ::-1]
        values = (ordered.astype(np.float32) - self.mean) / self.std
        if self.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, np.float32)

    def __str__(self) -> str:
        mean, std = (
            f"{values[0]:g}" if np.ptp(values) == 0 else ", ".join(f"{v:g}" for v in values)
            for values in (self.mean, self.std)
        )
        return f"{self.colour}, (pixel - mean) / std with mean {mean} and std {std} of 0 to 255"


LONGEST = 65_536
"""Numbers of an embedding; the field's have 128 to 1,024."""

AGAIN = "check `image.size` of the study, or export the model again, for any number of images"


class Network(ABC):
    """A model trained elsewhere: images uint8 (B, H, W, 3), RGB, to embeddings (B, D).

    Attributes:
        path: its file.
        files: what was read: `path`, and the model's other files.
        size: side of the square images it takes; None: any.
        batch: images that it takes at once; None: any number.
        about: how its input is made and where it runs, as text.
    """

    path: Path
    files: list[Path]
    size: int | None
    about: str
    batch: int | None = None

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (B, D) of images uint8 (B, H, W, 3), RGB.

        Raises:
            UserError: images of another size, a model that cannot be run on them, or an output that
                is no embedding.
        """
        check_size(str(self.path), self.size, images)
        values = self._prepared(images)
        try:
            return self._embeddings(values, self.batch or len(values))
        except UserError as refused:
            if self.batch is not None or len(images) == 1:
                raise
            # Many graphs say that they take any number and have a batch of one in a constant.
            try:
                out = self._embeddings(values, 1)
            except UserError:
                raise refused from None
        self.batch = 1
        self.about += f"; one image at a time, since {len(images)} at once cannot be run"
        return out

    def _embeddings(self, values: Any, batch: int) -> NDArray[np.float32]:
        """Those of any number of inputs, `batch` at a time; the last part is filled up with zeros,
        whose embeddings are dropped.
        """
        parts = []
        for part in (values[at : at + batch] for at in range(0, len(values), batch)):
            if missing := batch - len(part):
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
            out = self._run(part)
            if out.ndim != 2 or len(out) != batch or not 2 <= out.shape[1] <= LONGEST:
                raise UserError(
                    f"{self.path} gave an output of shape {out.shape} for {batch} images; an "
                    f"embedding model gives ({batch}, D) with D from 2 to {LONGEST:,}: name the "
                    "output that is the embedding, or export the model with that output alone"
                )
            parts.append(np.asarray(out, np.float32)[: batch - missing])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @abstractmethod
    def _prepared(self, images: NDArray[np.uint8]) -> Any:
        """The model's input (B, ...)."""

    @abstractmethod
    def _run(self, values: Any) -> NDArray[np.floating]:
        """The model's output for an input (B, ...)."""


def check_size(where: str, size: int | None, images: NDArray[np.uint8]) -> None:
    """Refuse images that are not as large as the model's input.

    Raises:
        UserError: the sides differ.
    """
    height, width = images.shape[1:3]
    if size is not None and (height, width) != (size, size):
        raise UserError(
            f"{where} takes images of {size} pixels, but the benchmark has {height}; set "
            f"`image.size: {size}` in the study (models of another size need a separate study)"
        )
