"""Refusals that every metric shares: scores and labels that mean nothing are named, not guessed."""

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
    """The protocol has too few impostor pairs (or non-mated searches) for the rate asked for."""

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
                f"{needed:,} {unit}: ask for a larger {rate} or use a benchmark with more of them"
            )
        else:
            super().__init__(
                f"no {unit}, so there is no threshold of {rate} {far:g}; it takes at least "
                f"{needed:,} of them: use a benchmark with pairs of different people"
            )
        self.far, self.impostors, self.needed = far, impostors, needed


def as_scores(values: ArrayLike, name: str) -> FloatArray:
    """`values` as a 1-D array of finite floats; the precision of floats is kept.

    Raises:
        UserError: not one-dimensional, empty, not numbers, or not finite (the first row is named).
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
    """`same` (genuine or impostor) as `size` booleans, both kinds present.

    Raises:
        UserError: another length, values that are not booleans or 0/1, or only one kind of pair.
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
            f"no {kind} pairs: none of {size} pairs is one, and verification needs both kinds; use "
            "a benchmark that has them"
        )
    return array


BLOCK = 4096
"""Embeddings in double precision at once: 16 MiB at 512 dimensions, whatever the set's size."""


def as_embeddings(embeddings: ArrayLike, what: str = "embedding") -> FloatArray:
    """`embeddings` as floats (N, D). Raises UserError where they are none."""
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
    suspicion: str = "look at that image, or at whether training diverged",
) -> NDArray[np.float64]:
    """The L2 norm of each of `embeddings` (R, D), of which every one has a direction.

    Args:
        embeddings: a memory map is read block by block.
        what: a row is called in messages.
        rows: the number of each in messages (R,); its place if not given.
        names: by that number, such as the files of the images.
        suspicion: why one is probably useless, for messages.

    Raises:
        UserError: not floats (R, D), or one is zero or not finite; the first is named.
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
