"""Cosines of many pairs of embeddings: lists of pairs, and all pairs of a set.

The peers fetch two rows per pair: at IJB-C's size (15.7 million pairs, 512 dimensions) that moves
64 GB. Here the pairs are sorted into tiles of rows × rows; a tile with enough of its pairs
requested is one matrix product, and only the others fetch rows.

Every product is summed in double precision and rounded to single at the end. So a score does not
depend on the tile it was computed in, nor on the order of its two sides, except for about one pair
in 10⁹ that lies on a rounding boundary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, FloatArray
from frcore.evaluation.metrics import TarAtFar, allowed_false_accepts, points_of_highest

TILE = (512, 8192)
"""Rows per tile on the sides a and b: its products take 32 MiB."""

DENSE = 0.04
"""The share of a tile's pairs above which one matrix product is faster than fetching rows: a pair's
two rows take some 25 times as long as one entry of a matrix product."""

CHUNK = 4096
"""Pairs whose rows are fetched at once."""


def score_rows(
    vectors: FloatArray,
    rows_a: ArrayLike,
    rows_b: ArrayLike,
    *,
    tile: tuple[int, int] = TILE,
    chunk: int = CHUNK,
) -> NDArray[np.float32]:
    """Dot products of pairs of rows (P,): unit vectors (N, D) give cosines.

    Args:
        vectors: (N, D), float32 or float64.
        rows_a, rows_b: rows of each pair (P,), integers.
        tile: rows on either side of a matrix product.
        chunk: pairs fetched at once where they are too few for a product. The scores depend on
            neither.

    Raises:
        UserError: a row that does not exist, or lists of different lengths.
    """
    a, b = np.asarray(rows_a), np.asarray(rows_b)
    if a.shape != b.shape or a.ndim != 1:
        raise UserError(f"pairs have shapes {a.shape} and {b.shape}; give lists of equal length")
    for name, rows in (("a", a), ("b", b)):
        _refuse_unknown_rows(name, rows, len(vectors))
    scores = np.empty(a.size, dtype=np.float32)
    for pairs in _tiles(a, b, len(vectors), tile):
        _score_tile(vectors, a[pairs], b[pairs], scores, pairs, chunk)
    return scores


def _refuse_unknown_rows(name: str, rows: NDArray[Any], count: int) -> None:
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        bad = int(np.argmax((rows < 0) | (rows >= count)))
        raise UserError(f"pair {bad} has {name} = {rows[bad]}, but rows are 0 to {count - 1}")


def _blocks(rows: NDArray[Any], count: int, size: int) -> tuple[NDArray[np.uint32], int]:
    """The block of each row (count,), `size` used rows per block, and the number of blocks."""
    occurs = np.zeros(count, dtype=np.bool_)
    occurs[rows] = True
    rank = np.cumsum(occurs, dtype=np.uint32) - 1
    return rank // np.uint32(size), int(rank[-1]) // size + 1 if count else 0


def _tiles(
    a: NDArray[Any], b: NDArray[Any], count: int, tile: tuple[int, int]
) -> Iterator[slice | NDArray[np.int64]]:
    """The pairs of one tile after another, as an index into the columns of pairs."""
    if not a.size:
        return
    (block_a, many_a), (block_b, many_b) = _blocks(a, count, tile[0]), _blocks(b, count, tile[1])
    # numpy sorts 16-bit keys by radix, several times as fast as wider ones.
    kind = np.min_scalar_type(many_a * many_b - 1)
    number = (block_a * np.uint32(many_b)).astype(kind)[a]
    number += block_b.astype(kind)[b]
    in_order = bool((number[1:] >= number[:-1]).all())
    order = None if in_order else np.argsort(number, kind="stable")
    sizes = np.bincount(number, minlength=many_a * many_b)
    ends = np.cumsum(sizes)
    for end, size in zip(ends, sizes, strict=True):
        if size:
            part = slice(int(end - size), int(end))
            yield part if order is None else order[part]


def _score_tile(
    vectors: FloatArray,
    a: NDArray[Any],
    b: NDArray[Any],
    scores: NDArray[np.float32],
    pairs: slice | NDArray[np.int64],
    chunk: int,
) -> None:
    """Fill `scores` at `pairs`, whose rows are `a` and `b`."""
    rows, place_a = _distinct(a, len(vectors))
    columns, place_b = _distinct(b, len(vectors))
    if a.size >= DENSE * rows.size * columns.size:
        products = vectors[rows].astype(np.float64) @ vectors[columns].astype(np.float64).T
        scores[pairs] = products.ravel()[place_a * columns.size + place_b]
        return
    found = np.empty(a.size, dtype=np.float32)
    for start in range(0, a.size, chunk):
        part = slice(start, start + chunk)
        one, other = vectors[a[part]].astype(np.float64), vectors[b[part]].astype(np.float64)
        found[part] = np.einsum("pd,pd->p", one, other)
    scores[pairs] = found


def _distinct(rows: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct rows, ascending, and the position of each of `rows` among them."""
    occurs = np.zeros(count, dtype=np.bool_)
    occurs[rows] = True
    found = np.flatnonzero(occurs)
    place = np.zeros(count, dtype=np.int64)
    place[found] = np.arange(found.size)
    return found, place[rows]


SPARE = 2**20
"""Scores held beyond three times those needed before the lowest are dropped."""


def all_pairs_tar(
    vectors: FloatArray,
    identities: ArrayLike,
    fars: Iterable[float],
    *,
    tile: tuple[int, int] = (1024, 4096),
) -> list[TarAtFar]:
    """TAR at each FAR over all N (N − 1) / 2 pairs of a set, by `tar_at_far`'s conservative rule.

    Exact, without a list of pairs: products are computed tile by tile, and only the scores of
    genuine pairs and the highest impostor scores, as many as the largest FAR needs, are kept.

    Args:
        vectors: unit vectors (N, D); see `frcore.evaluation.templates.normalise`.
        identities: the person of each (N,), any codes or names.
        fars: false accept rates, each in (0, 1].
        tile: rows on either side of a matrix product; the result does not depend on it.

    Raises:
        UserError: wrong shapes, no genuine or no impostor pair, an FAR outside (0, 1].
        UnresolvableFAR: fewer than 1/FAR impostor pairs.

    >>> emb = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> [point] = all_pairs_tar(emb, ["a", "a", "b"], [0.5])
    >>> point.tar, point.impostors
    (1.0, 2)
    """
    given = np.asarray(identities)
    if vectors.ndim != 2 or given.shape != (len(vectors),):
        raise UserError(
            f"vectors have shape {vectors.shape} and identities {given.shape}; give vectors (N, D) "
            "and one identity each"
        )
    person = np.unique(given, return_inverse=True)[1].astype(np.int32)
    sizes = np.bincount(person).astype(np.int64)
    genuine = int((sizes * (sizes - 1) // 2).sum())
    impostors = given.size * (given.size - 1) // 2 - genuine
    if not genuine or not impostors:
        kind = "genuine" if not genuine else "impostor"
        raise UserError(
            f"{given.size} vectors of {sizes.size} people have no {kind} pair; a TAR needs both"
        )
    asked = [float(far) for far in fars]
    allowed = [allowed_false_accepts(far, impostors) for far in asked]
    if not asked:
        return []
    most = min(max(allowed) + 1, impostors)
    found, highest, bar = [], np.empty(0, np.float32), -np.inf
    for scores_RC, same_RC in _upper_tiles(vectors, person, tile):
        found.append(scores_RC[same_RC])
        scores_RC[same_RC] = np.nan
        # Scores equal to the bar are not needed: `most` scores are at or above it already.
        highest = np.concatenate([highest, scores_RC[scores_RC > bar]])
        if highest.size > 3 * most + SPARE:
            highest = np.partition(highest, -most)[-most:].copy()
            bar = float(highest[0])
    return points_of_highest(np.concatenate(found), highest, impostors, asked, allowed)


def _upper_tiles(
    vectors: FloatArray, person: NDArray[np.int32], tile: tuple[int, int]
) -> Iterator[tuple[NDArray[np.float32], BoolArray]]:
    """The score of each pair of rows once, NaN in the rest of a tile; and where both are the same
    person."""
    for start in range(0, len(vectors), tile[0]):
        rows = np.arange(start, min(start + tile[0], len(vectors)))
        block_RD = vectors[rows].astype(np.float64)
        for first in range(start, len(vectors), tile[1]):
            columns = np.arange(first, min(first + tile[1], len(vectors)))
            products = block_RD @ vectors[columns].astype(np.float64).T
            scores_RC = products.astype(np.float32)
            same_RC = person[rows, None] == person[columns]
            # Tiles whose columns all come after their rows hold each pair only once anyway.
            if first <= rows[-1]:
                once = rows[:, None] < columns
                scores_RC[~once] = np.nan
                same_RC &= once
            yield scores_RC, same_RC
