"""One tile of the logit matrix: rows × some class centres, with filter and head on it.

Centres are never normalised in memory: a tile is (rows · centres) × 1/‖w‖, and so is its gradient.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from frcore.centers.storage import Index, tiles
from frcore.heads.base import Head, HeadBatch
from frcore.loss.inputs import EntryFilter, Precision, inverse_norm
from frcore.loss.rows import check_shape
from frcore.sharding.collectives import own_part

_HAS_WIDE_OUTPUT = "out_dtype" in (inspect.getdoc(torch.mm) or "")
"""torch.mm can keep the float32 sums of bfloat16 operands (torch ≥ 2.8, on CUDA)."""


@dataclass(frozen=True)
class Columns:
    """The class centres of the matrix, in tiles.

    Attributes:
        center_CD: all of them, without gradient; of split centres the high halves.
        active: sorted indices of the columns, or None for all.
        tile: columns in memory at a time.
        normalizes: whether the matrix has cosines, or x̂ · w.
        precision: of the operands of all products with centres.
    """

    center_CD: Tensor
    active: Tensor | None
    tile: int
    normalizes: bool
    precision: Precision = "fp32"

    def __len__(self) -> int:
        return len(self.center_CD) if self.active is None else len(self.active)

    def of(self, local_M: Tensor) -> Tensor:
        """The column of each row of the table; −1 stays."""
        if self.active is None:
            return local_M
        return torch.searchsorted(self.active, local_M).where(local_M >= 0, -1)

    def read_own(self, local_M: Tensor) -> Tensor:
        """The centre of each row of the table, (M, D); 0 for −1."""
        if not len(self.center_CD):
            return self.center_CD.new_zeros(len(local_M), self.center_CD.shape[1], dtype=self.dtype)
        own_MD = self.read(local_M.clamp_min(0))
        return own_MD.where(local_M[:, None] >= 0, 0.0)

    def __iter__(self) -> Iterator[tuple[int, Index, Tensor, Tensor]]:
        """Of each tile the first column, its rows in the table, the centres, and `inverse`."""
        for part in tiles(len(self), self.tile):
            index = part if self.active is None else self.active[part]
            center_TD = self.read(index)
            yield part.start, index, center_TD, self.inverse(center_TD)

    @property
    def dtype(self) -> torch.dtype:
        """Of what is computed: bfloat16, the high halves of split centres, is read as float32."""
        is_split = self.center_CD.dtype == torch.bfloat16
        return torch.float32 if is_split else self.center_CD.dtype

    def read(self, index: Index) -> Tensor:
        """Some centres, by their rows in the table."""
        return self.center_CD[index].to(self.dtype)

    def inverse(self, center_TD: Tensor) -> Tensor:
        """The factor from x̂ · w to an entry of the matrix: 1/‖w‖, or 1 without normalisation."""
        if self.normalizes:
            return inverse_norm(center_TD).squeeze(1)
        return center_TD.new_ones(len(center_TD))


@dataclass(frozen=True)
class RowValues:
    """What a head's rule for the other columns may depend on besides the cosine.

    Separate leaves, so that the graph of a tile ends here.

    Attributes:
        target_M: result of `Head.target`.
        scale_M: the scale.
        batch: cosines and norms of the rows.
    """

    target_M: Tensor
    scale_M: Tensor
    batch: HeadBatch

    @classmethod
    def of(cls, target_M: Tensor, scale_M: Tensor, batch: HeadBatch) -> RowValues:
        """Leaves with the values given."""
        batch = dataclasses.replace(
            batch,
            cosine_N=_leaf(batch.cosine_N),
            norm_N=_leaf(batch.norm_N),
            negative_logsumexp=None,
        )
        return cls(_leaf(target_M), _leaf(scale_M), batch)

    def leaves(self) -> list[Tensor]:
        """Target, scale, cosine and norm of the rows."""
        return [self.target_M, self.scale_M, self.batch.cosine_N, self.batch.norm_N]


def _leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


@dataclass(frozen=True)
class Tile:
    """A tile after filter and rule.

    Attributes:
        score_MT: what the gradient is taken by: z itself for a plain rule, else the entry (cos θ).
        logit_MT: z, −∞ where a column does not count for a row. A tensor of its own.
        value_MT: z with its graph, for a rule that is differentiated; else None.
        entry_MT: the leaf of that graph.
        zeroed_MT: entries that the filter made 0, which have no slope; None if there are none.
    """

    score_MT: Tensor
    logit_MT: Tensor
    value_MT: Tensor | None = None
    entry_MT: Tensor | None = None
    zeroed_MT: Tensor | None = None


class Own(NamedTuple):
    """Each row's own entry in a tile, if it is there.

    One place for each row, so that no device is asked how many rows there are: a GPU would be
    waited for in each tile.

    Attributes:
        place_M1: its column; any column for a row whose own one is in another tile.
        inside_M1: whether it is in this tile.
    """

    place_M1: Tensor
    inside_M1: Tensor

    def put(self, tile_MT: Tensor, value: Tensor | float) -> None:
        """Write a value, or one of each row (M,), to the own entries."""
        value = value[:, None] if isinstance(value, Tensor) else value
        kept_M1 = tile_MT.gather(1, self.place_M1)
        tile_MT.scatter_(1, self.place_M1, torch.where(self.inside_M1, value, kept_M1))


def is_plain(head: Head) -> bool:
    """Whether a head leaves the other columns' cosines alone."""
    return type(head).negative is Head.negative


class Rule:
    """Filter and head applied to the entries of a tile, forward and backward.

    A plain rule, z = s cos θ, has s in the rows and needs no graph.

    Args:
        head: its `negative`.
        rows: what the rule may depend on.
        unit_MD: directions of the rows, 0 for a row of norm 0.
        column_M: each row's own column, which does not count.
        entry_filter: which entries are removed.
        precision: of the operands of the entries.
    """

    def __init__(
        self,
        head: Head,
        rows: RowValues,
        unit_MD: Tensor,
        column_M: Tensor,
        entry_filter: EntryFilter | None,
        precision: Precision = "fp32",
    ) -> None:
        self.head, self.rows, self.column_M = head, rows, column_M
        self.precision = precision
        self.entry_filter = entry_filter
        self.is_plain = is_plain(head)
        self.is_softmax = head.reduction == "logsumexp"
        self.factor_M = rows.scale_M.detach() if self.is_plain else torch.ones_like(unit_MD[:, 0])
        self.row_MD = unit_MD.detach() * self.factor_M[:, None]
        """Rows whose product with a centre, × 1/‖w‖, is the score."""
        self.parameters = [p for p in head.parameters() if p.requires_grad]

    def own(self, start: int, width: int) -> Own:
        """The rows' own entries in the tile whose first column is `start`."""
        place_M1 = (self.column_M - start)[:, None]
        inside_M1 = (place_M1 >= 0) & (place_M1 < width)
        return Own(place_M1.clamp(0, width - 1), inside_M1)

    def apply(self, start: int, center_TD: Tensor, inverse_T: Tensor) -> Tile:
        """The tile whose first column is `start`."""
        score_MT = product(self.row_MD, center_TD.T, self.precision).mul_(inverse_T)
        own = self.own(start, len(center_TD))
        zeroed_MT = dropped_MT = None
        if self.entry_filter is not None:
            alike_MT = self._alike(self.entry_filter, score_MT, center_TD)
            own.put(alike_MT, False)
            if self.entry_filter.mode == "zero":
                zeroed_MT = alike_MT
            else:
                dropped_MT = alike_MT
        entry_MT = score_MT if zeroed_MT is None else score_MT.masked_fill(zeroed_MT, 0.0)
        value_MT = None
        if self.is_plain:
            logit_MT = entry_MT.clone()
        else:
            value_MT, entry_MT = self._ruled(entry_MT)
            logit_MT = value_MT.detach().clone()
        own.put(logit_MT, -torch.inf)
        if dropped_MT is not None:
            logit_MT.masked_fill_(dropped_MT, -torch.inf)
        return Tile(score_MT, logit_MT, value_MT, entry_MT, zeroed_MT)

    def _alike(self, entry_filter: EntryFilter, score_MT: Tensor, center_TD: Tensor) -> Tensor:
        """Entries with cos θ above the filter's threshold."""
        threshold_M1 = entry_filter.threshold * self.factor_M[:, None]
        if self.head.normalizes_centers:
            return score_MT > threshold_M1
        return score_MT > threshold_M1 * center_TD.norm(dim=1)

    def _ruled(self, entry_MT: Tensor) -> tuple[Tensor, Tensor]:
        entry_MT = entry_MT.detach().requires_grad_()
        with torch.enable_grad():
            negative_MT = self.head.negative(entry_MT, self.rows.target_M[:, None], self.rows.batch)
            check_shape(self.head, "negative", negative_MT, entry_MT.shape)
            return self.rows.scale_M[:, None] * negative_MT, entry_MT

    def slope(self, tile: Tile, weight_MT: Tensor) -> Tensor:
        """weight · ∂z/∂score of each entry, in place where it can be; ends the tile's graph."""
        slope_MT = weight_MT
        if tile.value_MT is not None:
            assert tile.entry_MT is not None
            (slope_MT,) = torch.autograd.grad(tile.value_MT, [tile.entry_MT], weight_MT)
        return slope_MT if tile.zeroed_MT is None else slope_MT.masked_fill_(tile.zeroed_MT, 0.0)

    def row_slopes(self, tile: Tile, weight_MT: Tensor) -> list[Tensor | None]:
        """Σ_T weight · ∂z/∂(leaf) for the leaves of `RowValues`; None where z does not depend."""
        if tile.value_MT is None:
            assert tile.entry_MT is not None
            sum_M = torch.linalg.vecdot(weight_MT, tile.entry_MT)
            return [None, sum_M / self.factor_M.where(self.factor_M != 0, 1.0), None, None]
        return self._sums(tile, weight_MT, self.rows.leaves())

    def parameter_slopes(self, tile: Tile, weight_MT: Tensor) -> list[Tensor | None]:
        """Σ over the tile of weight · ∂z/∂(parameter) for the head's parameters."""
        if tile.value_MT is None:
            return [None] * len(self.parameters)
        return self._sums(tile, weight_MT, self.parameters)

    @staticmethod
    def _sums(tile: Tile, weight_MT: Tensor, wanted: Sequence[Tensor]) -> list[Tensor | None]:
        assert tile.value_MT is not None
        with own_part():
            slopes = torch.autograd.grad(
                tile.value_MT, wanted, weight_MT, allow_unused=True, retain_graph=True
            )
        return list(slopes)


def product(a_MK: Tensor, b_KN: Tensor, precision: Precision) -> Tensor:
    """a · b in the type of `a_MK`.

    With "bf16", operands are rounded to bfloat16 and sums are not. A GPU does that at the speed of
    its tensor cores; a CPU does it in float32, for the same numbers.
    """
    if precision != "bf16":
        return a_MK @ b_KN
    if a_MK.is_cuda and _HAS_WIDE_OUTPUT:
        return torch.mm(a_MK.bfloat16(), b_KN.bfloat16(), out_dtype=torch.float32)
    return a_MK.bfloat16().to(a_MK.dtype) @ b_KN.bfloat16().to(a_MK.dtype)


def add_product(
    sum_MN: Tensor, a_MK: Tensor, b_KN: Tensor, precision: Precision, *, beta: float = 1.0
) -> None:
    """sum ← beta · sum + a · b, in place."""
    if precision != "bf16":
        sum_MN.addmm_(a_MK, b_KN, beta=beta)
    else:
        sum_MN.mul_(beta).add_(product(a_MK, b_KN, precision))
