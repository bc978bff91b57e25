"""Checks shared by all metrics: meaningless scores and labels are refused, not guessed at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class UnresolvableFAR(UserError):  # noqa: N818 - the field's word for it
    """The protocol has too few impostor pairs (or non-mated searches) for the requested rate."""

    def __init__(
        self,
        far: float,
        impostors: int,
        needed: int,
        rate: str = "FAR",
        unit: str = "impostor pairs",
    ):
        if impostors:
            super().__init__(
                f"{rate} {far:g} cannot be resolved with {impostors:,} {unit}, where one false "
                f"accept is already a {rate} of {1 / impostors:.2g}; it takes at least "
                f"{needed:,} {unit}: choose a larger {rate} or a benchmark with more of them"
            )
        else:
            super().__init__(
                f"no {unit}, so there is no threshold of {rate} {far:g}; it takes at least "
                f"{needed:,} of them: use a benchmark with pairs of different people"
            )
        self.far, self.impostors, self.needed = far, impostors, needed


def as_scores(values: ArrayLike, name: str) -> FloatArray:
    """`values` as a 1-D array of finite floats; float precision is kept.

    Raises:
        UserError: not one-dimensional, empty, not numeric, or not finite (naming the first row).
    """
    array = np.asarray(values)
    if array.shape == (0,):
        what = "pairs" if name == "pair" else f"{name} pairs"
        raise UserError(
            f"no {what}: there are no {name} scores, and a metric needs at least one; use a "
            "benchmark whose protocol has such pairs"
        )
    if array.ndim != 1:
        raise UserError(
            f"{name} scores have shape {array.shape}; a metric needs a one-dimensional array: "
            "flatten it"
        )
    if array.dtype.kind not in "fiu":
        raise UserError(f"{name} scores are {array.dtype}; a metric needs real numbers")
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argmin(finite))
        raise UserError(
            f"{name} score {row} of {array.size} is {array[row]}; scores must be finite: "
            "find the embedding that is NaN, infinite or zero"
        )
    return array


def as_labels(same: ArrayLike, size: int) -> BoolArray:
    """`same` (genuine or impostor) as `size` booleans with both kinds present.

    Raises:
        UserError: a wrong length, values that are not booleans or 0/1, or only one kind of pair.
    """
    array = np.asarray(same)
    if array.shape != (size,):
        raise UserError(
            f"`same` has shape {array.shape}, but there are {size} scores; give one each"
        )
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise UserError(
                f"`same` holds {array.dtype} values other than 0 and 1; give True for a genuine "
                "pair and False for an impostor pair"
            )
        array = array.astype(np.bool_)
    genuine = int(array.sum())
    if genuine in (0, size):
        kind = "impostor" if genuine else "genuine"
        raise UserError(
            f"no {kind} pairs among {size} pairs, but verification needs both kinds; use a "
            "benchmark that has them"
        )
    return array


BLOCK = 4096
"""Embeddings held in double precision at a time: 16 MiB at 512 dimensions."""


def as_embeddings(embeddings: ArrayLike, what: str = "embedding") -> FloatArray:
    """`embeddings` as floats (N, D); anything else raises UserError."""
    array = np.asarray(embeddings)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind != "f":
        raise UserError(
            f"{what}s have shape {array.shape} and type {array.dtype}; give floats (N, D)"
        )
    return array


def norms(
    embeddings: ArrayLike,
    *,
    what: str = "embedding",
    rows: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    suspicion: str = "check that image, and whether training diverged",
) -> NDArray[np.float64]:
    """The L2 norm of each of `embeddings` (R, D), all of which must have a direction.

    Args:
        embeddings: a memory map is read block by block.
        what: what to call a row in messages.
        rows: the number of each row in messages (R,); by default its position.
        names: indexed by that number, such as the image files.
        suspicion: the likely cause of a bad embedding, for messages.

    Raises:
        UserError: not floats (R, D), or one is zero or not finite (naming the first).
    """
    array = as_embeddings(embeddings, what)
    squared = np.empty(len(array))
    for start in range(0, len(array), BLOCK):
        # The squared norm of a float16 row can overflow, so it is summed in float64.
        block = array[start : start + BLOCK].astype(np.float64)
        squared[start : start + BLOCK] = np.einsum("nd,nd->n", block, block)
    bad = np.flatnonzero(~(np.isfinite(squared) & (squared > 0)))
    if bad.size:
        row = int(bad[0] if rows is None else np.asarray(rows)[bad[0]])
        name = f" ({names[row]})" if names is not None else ""
        kind = "zero" if squared[bad[0]] == 0 else "not finite"
        raise UserError(
            f"{what} {row}{name} is {kind} ({bad.size} of {squared.size} are zero or not finite); "
            f"a cosine needs a direction: {suspicion}"
        )
    return np.sqrt(squared)
