"""Exact angles between all class centres, in tiles, without ever holding the C × C matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frcore.centers.storage import tiles
from frcore.loss.inputs import unit_rows

TILE_ENTRIES = 2**24
"""Entries of a tile of the C × C matrix: 64 MiB in float32."""


@dataclass(frozen=True)
class CenterSearch:
    """Statistics over all pairs of centres; angles in degrees.

    Attributes:
        nearest_C: float64 (C,), angle to the nearest other centre; NaN if there is no other.
        mean_angle: mean over all pairs of centres; NaN if there are none.
        pairs: for each threshold, the number of pairs of centres with a cosine above it.
        same_person: how many of these pairs have the same entry in `person_C`; None without it.
        histogram: pairs of centres with a cosine in each bin; empty without edges.
        same_histogram: how many of these have the same entry in `person_C`; None without it.
    """

    nearest_C: Tensor
    mean_angle: float
    pairs: tuple[int, ...]
    same_person: tuple[int, ...] | None
    histogram: tuple[int, ...]
    same_histogram: tuple[int, ...] | None


@torch.no_grad()
def search_centers(
    center_CD: Tensor,
    *,
    thresholds: Sequence[float] = (),
    edges: Sequence[float] = (),
    person_C: Tensor | None = None,
) -> CenterSearch:
    """Compare every centre with every other: C² D / 2 multiplications, O(tile × C) memory.

    Args:
        center_CD: the centres; only their directions matter. One of norm 0 is at 90° to all.
        thresholds: cosines.
        edges: evenly spaced bin edges of a histogram of cosines.
        person_C: an integer for each centre; equal if two centres are the same person.
    """
    unit_CD = unit_rows(center_CD)
    device, count = unit_CD.device, len(unit_CD)
    best_C = torch.full((count,), -math.inf, dtype=unit_CD.dtype, device=device)
    neighbour_C = torch.zeros(count, dtype=torch.int64, device=device)
    angle_sum = torch.zeros((), dtype=torch.float64, device=device)
    above_T = torch.zeros(len(thresholds), dtype=torch.int64, device=device)
    same_T = torch.zeros_like(above_T)
    bins = max(len(edges) - 1, 0)
    pairs_B = torch.zeros(bins, dtype=torch.int64, device=device)
    same_B = torch.zeros_like(pairs_B)
    for first, cosine_RK in _upper_tiles(unit_CD):
        # Columns are the centres from `first` on; pairs already visited have cosine −∞.
        rows = slice(first, first + len(cosine_RK))
        _keep_best(best_C[rows], neighbour_C[rows], *cosine_RK.max(1), first)
        _keep_best(best_C[first:], neighbour_C[first:], *cosine_RK.max(0), first)
        angle_sum += _angles(cosine_RK).sum(dtype=torch.float64)
        same_RK = None if person_C is None else person_C[rows, None] == person_C[None, first:]
        for k, threshold in enumerate(thresholds):
            above_RK = cosine_RK > threshold
            above_T[k] += above_RK.count_nonzero()
            if same_RK is not None:
                same_T[k] += (above_RK & same_RK).count_nonzero()
        if bins:
            pairs_B += _histogram(cosine_RK, edges)
            if same_RK is not None:
                same_B += _histogram(cosine_RK[same_RK], edges)
    number = count * (count - 1) // 2
    return CenterSearch(
        nearest_C=_exact_angles(center_CD, neighbour_C).cpu(),
        mean_angle=math.degrees(angle_sum.item() / number) if number else math.nan,
        pairs=tuple(above_T.tolist()),
        same_person=None if person_C is None else tuple(same_T.tolist()),
        histogram=tuple(pairs_B.tolist()),
        same_histogram=None if person_C is None else tuple(same_B.tolist()),
    )


def _histogram(cosine: Tensor, edges: Sequence[float]) -> Tensor:
    """Counts per bin, int64; −∞, of pairs already visited, is in no bin.

    `histc` counts in float32, which is exact up to the 2**24 entries of a tile.
    """
    # Rounding can make a cosine 1 + 1e-7.
    inside = torch.where(cosine.isinf(), cosine, cosine.clamp(edges[0], edges[-1]))
    return inside.float().histc(len(edges) - 1, edges[0], edges[-1]).long()


def _upper_tiles(unit_CD: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, cosines of some rows with all columns from that row on); each pair only once."""
    count = len(unit_CD)
    for rows in tiles(count, max(1, TILE_ENTRIES // max(count, 1))):
        row_RD = unit_CD[rows]
        cosine_RK = row_RD @ unit_CD[rows.start :].T
        square = cosine_RK[:, : len(row_RD)]
        square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril(), -math.inf)
        yield rows.start, cosine_RK


def _keep_best(best: Tensor, neighbour: Tensor, value: Tensor, index: Tensor, first: int) -> None:
    """Replace entries that `value` exceeds, in place; `index` counts from centre `first`."""
    better = value > best
    best.copy_(torch.where(better, value, best))
    neighbour.copy_(torch.where(better, index + first, neighbour))


def _angles(cosine_RK: Tensor) -> Tensor:
    """Radians; 0 where the cosine is −∞."""
    return torch.where(cosine_RK == -math.inf, 1.0, cosine_RK).clamp_(-1, 1).arccos_()


def _exact_angles(center_CD: Tensor, neighbour_C: Tensor) -> Tensor:
    """Angle of each centre to its neighbour, degrees, float64.

    arccos of a float32 cosine does not distinguish angles below 0.02° from 0; for unit vectors
    2 atan2(|a − b|, |a + b|) does (Kahan).
    """
    if len(center_CD) < 2:
        return torch.full((len(center_CD),), math.nan, dtype=torch.float64)
    parts = []
    for part in tiles(len(center_CD)):
        own = unit_rows(center_CD[part].double())
        other = unit_rows(center_CD[neighbour_C[part]].double())
        parts.append(2 * torch.atan2((own - other).norm(dim=1), (own + other).norm(dim=1)))
    return torch.cat(parts).rad2deg()
