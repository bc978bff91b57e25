"""The loss in tiles of classes: no logit is ever stored.

The passes are those of `frcore.loss.passes`. A head's rule for the other columns is differentiated
tile by tile: any head works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.passes import Passes, loss_in_passes
from frcore.loss.tiles import RowValues, Rule, Tile, add_product


def streamed_loss(
    embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor, head: Head, **options: Any
) -> LossOutput:
    """`dense_loss`, in tiles; see `loss_in_passes` for the options."""
    return loss_in_passes(StreamedPasses, embedding_ND, center_CD, label_N, head, **options)


class StreamedPasses(Passes):
    """Tile by tile in plain torch."""

    @torch.no_grad()
    def statistic(self, scale: Tensor | float) -> Tensor:
        count, unit_ND = self.count, self.unit_MD[: self.count]
        # In the type of the rows: in float64 this pass would cost more than all the others
        # together, and a scale that is 1e-7 off does not propagate: each B is of a new batch.
        scale_N = torch.as_tensor(scale, dtype=unit_ND.dtype, device=unit_ND.device).expand(count)
        classes = len(self.columns.center_CD)
        plain = Head(classes)
        plain.normalizes_centers = self.columns.normalizes  # type: ignore[misc]
        rows = RowValues.of(scale_N, scale_N, HeadBatch(scale_N, scale_N, scale_N, classes))
        column_N = self.column_M[:count]
        rule = Rule(plain, rows, unit_ND, column_N, self.entry_filter, self.columns.precision)
        sums = _Sums(rule, 0)
        for start, _, center_TD, inverse_T in self.columns:
            sums.add(rule.apply(start, center_TD, inverse_T))
        return sums.finish()[0]

    @property
    def parameters(self) -> Sequence[Tensor]:
        return self.rule.parameters

    def reduce(self, wanted: Sequence[bool]) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        sums = _Sums(self.rule, self.count, values=tuple(wanted[1:]))
        for start, _, center_TD, inverse_T in self.columns:
            tile = self.rule.apply(start, center_TD, inverse_T)
            weight_MT = sums.add(tile)
            if any(wanted):
                sums.add_slopes(tile, weight_MT, center_TD, inverse_T)
        return sums.finish()

    def parameter_gradients(self) -> list[Tensor | None]:
        assert self.weights is not None
        totals: list[Tensor | None] = [None] * len(self.parameters)
        for start, _, center_TD, inverse_T in self.columns:
            tile = self.rule.apply(start, center_TD, inverse_T)
            weight_MT = self.weights.of(tile.logit_MT, softmax=self.rule.is_softmax)
            totals = _add(totals, self.rule.parameter_slopes(tile, weight_MT))
        return totals


def _add(sums: list[Tensor | None], parts: list[Tensor | None]) -> list[Tensor | None]:
    """The sum of each pair; None is nothing."""
    return [b if a is None else a if b is None else a + b for a, b in zip(sums, parts, strict=True)]


class _Sums:
    """Running sums over the columns: R, its slope by x̂, and its slopes by row values.

    A softmax keeps its maximum m and sums of exp(z − m), which shrink when it grows.

    Args:
        rule: head, filter and rows.
        count: rows of the batch, which come first and alone have a gradient by x̂.
        values: which of the row values have a gradient.
    """

    def __init__(self, rule: Rule, count: int, *, values: tuple[bool, ...] = ()) -> None:
        self.rule, self.count, self.values = rule, count, values
        row_MD = rule.row_MD
        self.maximum_M = row_MD.new_full((len(row_MD),), -torch.inf)
        self.total_M = row_MD.new_zeros(len(row_MD))
        self.embedding_ND = torch.zeros_like(row_MD[:count])
        self.rows: list[Tensor | None] = [None] * 4

    def add(self, tile: Tile) -> Tensor:
        """Take in a tile; gives ∂R/∂z (a softmax: times its denominator), overwriting z."""
        if not self.rule.is_softmax:
            self.total_M = self.total_M - F.logsigmoid(-tile.logit_MT).sum(1)
            return tile.logit_MT.sigmoid_()
        maximum_M = torch.maximum(self.maximum_M, tile.logit_MT.amax(1))
        # Where nothing counts yet the maximum is −∞, and −∞ − −∞ is NaN.
        shift_M = maximum_M.masked_fill(maximum_M == -torch.inf, 0.0)
        weight_MT = tile.logit_MT.sub_(shift_M[:, None]).exp_()
        factor_M = torch.exp(self.maximum_M - shift_M)
        self.maximum_M = maximum_M
        self.total_M = self.total_M * factor_M + weight_MT.sum(1)
        self.embedding_ND *= factor_M[: self.count, None]
        self.rows = [None if sum_M is None else sum_M * factor_M for sum_M in self.rows]
        return weight_MT

    def add_slopes(
        self, tile: Tile, weight_MT: Tensor, center_TD: Tensor, inverse_T: Tensor
    ) -> None:
        """Take in a tile's slopes; ends its graph and overwrites the weights."""
        if any(self.values):
            self.rows = _add(self.rows, self.rule.row_slopes(tile, weight_MT))
        slope_MT = self.rule.slope(tile, weight_MT)
        slope_NT = slope_MT[: self.count].mul_(inverse_T)
        add_product(self.embedding_ND, slope_NT, center_TD, self.rule.precision)

    def finish(self) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """R (M,), ∂R/∂x̂ (N, D) and ∂R/∂(row values) (M,) each."""
        embedding_ND = self.embedding_ND.mul_(self.rule.factor_M[: self.count, None])
        if not self.rule.is_softmax:
            return self.total_M, embedding_ND, self.rows
        inverse_M = self.total_M.reciprocal().where(self.total_M > 0, 0.0)
        rows = [None if sum_M is None else sum_M * inverse_M for sum_M in self.rows]
        reduced_M = self.maximum_M + self.total_M.log()
        return reduced_M, embedding_ND.mul_(inverse_M[: self.count, None]), rows
