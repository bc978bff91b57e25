"""Sampling pairs without replacement from all possible ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def _draw(rng: np.random.Generator, possible: int, wanted: int) -> Index:
    return np.sort(rng.choice(possible, wanted, replace=False, shuffle=False).astype(np.int64))
