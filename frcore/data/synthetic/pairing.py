"""Sampling pairs without replacement from all possible ones; the pairs of a benchmark."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.synthetic.faces.streams import stream
from frcore.errors import UserError
from frcore.study.data import SyntheticVerification

Index = NDArray[np.int64]


def unrank_pair(rank: Index, count: int) -> tuple[Index, Index]:
    """The pairs i < j of 0..count-1 at positions `rank` (N,) of their sorted list.

    >>> [tuple(int(part) for part in unrank_pair(np.array(r), 3)) for r in range(3)]
    [(0, 1), (0, 2), (1, 2)]
    """
    # Counted from the end, the pairs of each i form rows of growing length: triangular numbers.
    last = count * (count - 1) // 2 - 1 - rank
    row = ((np.sqrt(8.0 * last + 1) - 1) / 2).astype(np.int64)
    # The root is rounded, so it may be one too high or too low.
    row -= row * (row + 1) // 2 > last
    row += (row + 1) * (row + 2) // 2 <= last
    first = count - 2 - row
    second = count - 1 - (last - row * (row + 1) // 2)
    return first, second


def possible_genuine(groups: int, members: int) -> int:
    """The number of pairs of two different members of one group."""
    return groups * (members * (members - 1) // 2)


def possible_impostor(groups: int, members: int) -> int:
    """The number of pairs of members of two different groups."""
    return groups * (groups - 1) // 2 * members * members


def draw_genuine(
    rng: np.random.Generator, groups: int, members: int, wanted: int
) -> tuple[Index, Index]:
    """Sample `wanted` distinct genuine pairs; item k of group g is number g · members + k."""
    each = members * (members - 1) // 2
    chosen = _draw(rng, possible_genuine(groups, members), wanted)
    first, second = unrank_pair(chosen % each, members)
    start = chosen // each * members
    return start + first, start + second


def draw_impostor(
    rng: np.random.Generator, groups: int, members: int, wanted: int
) -> tuple[Index, Index]:
    """Sample `wanted` distinct impostor pairs; item k of group g is number g · members + k."""
    chosen = _draw(rng, possible_impostor(groups, members), wanted)
    people, items = np.divmod(chosen, members * members)
    first, second = unrank_pair(people, groups)
    return first * members + items // members, second * members + items % members


def check_pairs(spec: SyntheticVerification) -> None:
    """Refuse more pairs than there are, or folds without one.

    Raises:
        UserError: with the largest possible number.
    """
    most, smallest = -(-spec.pairs // spec.folds), spec.identities // spec.folds
    possible = min(possible_genuine(smallest, spec.images),
                   possible_impostor(smallest, spec.images))  # fmt: skip
    if most > possible:
        raise UserError(
            f"pairs = {spec.pairs} needs {most} genuine and as many impostor pairs in each of "
            f"{spec.folds} folds, but {smallest} identities with {spec.images} images have only "
            f"{possible}; at most pairs = {possible * spec.folds} is possible, or raise "
            "identities or images"
        )
    if spec.pairs < spec.folds:
        raise UserError(
            f"pairs = {spec.pairs} in {spec.folds} folds leaves folds without a pair; raise pairs "
            f"to at least {spec.folds}, or lower folds"
        )


def verification_pairs(spec: SyntheticVerification) -> pd.DataFrame:
    """As in LFW: as many genuine as impostor pairs in each fold, and no person in two folds."""
    people = np.array_split(np.arange(spec.identities), spec.folds)
    shares = [len(part) for part in np.array_split(np.arange(spec.pairs), spec.folds)]
    tables = []
    for fold, (members, wanted) in enumerate(zip(people, shares, strict=True)):
        rng = stream("pairs", spec.seed, spec.kind, fold)
        start = int(members[0]) * spec.images
        for same, draw in ((True, draw_genuine), (False, draw_impostor)):
            a, b = draw(rng, len(members), spec.images, wanted)
            tables.append(pd.DataFrame({"a": start + a, "b": start + b, "same": same,
                                        "fold": fold, "split": "test"}))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _draw(rng: np.random.Generator, possible: int, wanted: int) -> Index:
    return np.sort(rng.choice(possible, wanted, replace=False, shuffle=False).astype(np.int64))
