"""Images to embeddings with a trained backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from frcore.data.loader import to_network
from frcore.errors import UserError
from frcore.evaluation.inputs import norms

if TYPE_CHECKING:
    from frcore.data.prepared.in_place import InPlaceImages

Flip = Literal["none", "sum"]

Extract = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Images uint8 (B, H, W, 3), RGB, to embeddings (B, D) in host memory."""


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 and no auto-tuned algorithms: an embedding must not vary from call to call."""
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul


@torch.inference_mode()
def embed(
    backbone: nn.Module,
    images: NDArray[np.uint8] | InPlaceImages,
    rows: ArrayLike | None = None,
    *,
    flip: Flip,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    names: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Embeddings as the backbone outputs them, not normalised (R, D).

    Args:
        backbone: in eval mode and on `device`.
        images: uint8 (N, H, W, 3), RGB; a memory map is read one batch at a time, and so are
            images that stay in place.
        rows: which images, in which order (R,); all by default.
        flip: "none", or "sum": embedding of the image + embedding of its mirror image. The sum is
            of unnormalised embeddings, as in InsightFace's evaluation.
        batch_size: images per batch, not counting mirrored ones.
        device: where the backbone is.
        names: of all N images, for error messages.

    Raises:
        UserError: the backbone is in training mode (batch statistics would leak between images), an
            unknown flip, no images, or an embedding that is zero or not finite (naming the image).
    """
    if backbone.training:
        raise UserError("the backbone is in training mode; call .eval() before embedding")
    if flip not in ("none", "sum"):
        raise UserError(f"flip '{flip}' is not known; allowed: none, sum")

    def extract(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        out: torch.Tensor = backbone(to_network(batch, device))
        return np.asarray(out.float().cpu().numpy(), np.float32)

    with _full_precision():
        return embed_with(
            extract, images, rows, flip=flip, batch_size=batch_size, names=names,
            suspicion="the model has probably diverged: check its training loss",
            remedy="the backbone must not do this in eval mode: check its `forward`",
        )  # fmt: skip


def embed_with(
    extract: Extract,
    images: NDArray[np.uint8] | InPlaceImages,
    rows: ArrayLike | None = None,
    *,
    flip: Flip,
    batch_size: int = 256,
    names: Sequence[str] | None = None,
    suspicion: str = "check what input the model expects: colour order, mean, std",
    remedy: str = "put the model into eval mode",
) -> NDArray[np.float32]:
    """Embeddings as `extract` outputs them, not normalised (R, D); the rest is as in `embed`.

    Args:
        extract: one batch of images to their embeddings.
        suspicion: the likely cause of an unusable embedding, for the error message.
        remedy: what to do if an embedding depends on more than its image.

    Raises:
        UserError: no images, a model in training mode, or an embedding that is zero or not finite
            (naming the image).
    """
    wanted = np.arange(len(images)) if rows is None else np.asarray(rows)
    if wanted.size == 0:
        raise UserError("there are no images to embed; check the benchmark's protocol")
    parts: list[NDArray[np.float32]] = []
    for batch in _pixels(images, wanted, batch_size):
        if not parts:
            refuse_unsteady(extract, batch[0], remedy)
        out = extract(batch)
        if flip == "sum":
            out = out + extract(np.ascontiguousarray(batch[:, :, ::-1]))
        parts.append(out)
    embeddings = np.concatenate(parts)
    norms(embeddings, what="embedding of image", rows=wanted, names=names, suspicion=suspicion)
    return embeddings


LEAST_TWICE = 0.9999
"""Least cosine between embeddings of one image in the same batch: only rounding may differ."""

LEAST_AMONG_OTHERS = 0.99
"""Least cosine between embeddings of one image in two batches. Half precision keeps 0.9999, an int8
model with one scale per batch 0.997; batch statistics instead of running ones give 0.8 or less."""


def refuse_unsteady(extract: Extract, image: NDArray[np.uint8], remedy: str) -> None:
    """Refuse a model whose embedding of an image is not a function of that image alone.

    Batch normalisation and dropout in training mode are traced into the graph, and no `eval()`
    undoes that. So one image is embedded twice next to shifted copies, and once next to its
    negative.

    Args:
        extract: one batch of images to their embeddings.
        image: any (H, W, 3).
        remedy: what to do, for the message.

    Raises:
        UserError: the embeddings differ by more than rounding.
    """
    shifted = [np.roll(image, image.shape[1] // part, axis=1) for part in (2, 3)]
    batch, other = np.stack([image, image, *shifted]), np.stack([image, *[255 - image] * 3])
    first, again, moved = extract(batch), extract(batch), extract(other)
    if not any(np.isfinite(out[0]).all() and out[0].any() for out in (first, moved)):
        return  # refused by image name once all are computed
    twice, beside = _least_cosine(first[:2], again[:2]), _least_cosine(first[:1], moved[:1])
    if twice < LEAST_TWICE:
        raise UserError(
            "embedding the same image twice gives two different embeddings (cosine "
            f"{twice:.2f}): something is random, such as dropout in training mode; {remedy}"
        )
    if beside < LEAST_AMONG_OTHERS:
        raise UserError(
            "the embedding of an image depends on the other images in its batch (cosine "
            f"{beside:.2f} between two batches), as with batch normalisation in training mode; "
            f"{remedy}"
        )


def _least_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The least cosine between matching rows of `a` and `b`; -1 if one is zero or not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float(np.nan_to_num(cosines, nan=-1.0).min())


def _pixels(
    images: NDArray[np.uint8] | InPlaceImages, rows: NDArray[np.int64], batch_size: int
) -> Iterator[NDArray[np.uint8]]:
    """The images `rows`, a batch at a time; images that stay in place are decoded ahead."""
    batches = (rows[start : start + batch_size] for start in range(0, rows.size, batch_size))
    if not isinstance(images, np.ndarray):
        return images.read_ahead(batches)
    return (np.asarray(images[batch]) for batch in batches)
