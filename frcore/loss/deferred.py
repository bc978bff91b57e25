"""The centres' gradient in factored form: rows, their weights, and the columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from frcore.centers.gradient_parts import GradientPart, TileGradient
from frcore.centers.storage import Index
from frcore.errors import UserError
from frcore.loss.inputs import Precision
from frcore.loss.tiles import Columns, Rule, Tile, add_product


def version_of(center_CD: Tensor) -> int:
    """torch's count of the writes to the centres; aliases count together."""
    return 0 if center_CD.is_inference() else center_CD._version


@dataclass(frozen=True)
class Weights:
    """The derivative of the loss by the other columns' z.

    Attributes:
        reduced_M: R of each row.
        slope_M: the derivative of the loss by R.
    """

    reduced_M: Tensor
    slope_M: Tensor

    def of(self, logit_MT: Tensor, *, softmax: bool) -> Tensor:
        """∂loss/∂z of a tile; overwrites its logits."""
        if softmax:
            # A row without columns has R = −∞; its slope is 0.
            shift_M = self.reduced_M.masked_fill(self.reduced_M == -torch.inf, 0.0)
            weight_MT = logit_MT.sub_(shift_M[:, None]).exp_()
        else:
            weight_MT = logit_MT.sigmoid_()
        return weight_MT.mul_(self.slope_M[:, None])


@dataclass(frozen=True)
class FactoredTile(TileGradient):
    """The gradient of some centres w in factors: Σ_i weight_ij row_i − shrink_j w_j.

    Attributes:
        index: rows of the table of centres.
        weight_TM: a factor for each pair of centre and row.
        row_MD: the rows.
        shrink_T1: what the normalisation removes along w.
        precision: of the product's operands.
    """

    index: Index
    weight_TM: Tensor
    row_MD: Tensor
    shrink_T1: Tensor
    precision: Precision = "fp32"

    def add_to(self, sum_TD: Tensor, *, beta: float) -> None:
        add_product(sum_TD, self.weight_TM, self.row_MD, self.precision, beta=beta)


@dataclass(frozen=True)
class CenterGradient(GradientPart):
    """∂loss/∂centres of one backward pass in factored form.

    Attributes:
        columns: the class centres of the matrix.
        rule: head, filter and rows.
        cosine_M: each row's entry in its own column.
        slope_M: derivative of the loss by it.
        weights: of the other columns; None if the loss does not depend on them.
        version: `version_of` the centres at the forward pass.
    """

    columns: Columns
    rule: Rule
    cosine_M: Tensor
    slope_M: Tensor
    weights: Weights | None
    version: int

    @property
    def active(self) -> Tensor | None:
        return self.columns.active

    def read(self, index: Index) -> Tensor:
        return self.columns.read(index)

    def check_current(self, center_CD: Tensor | None = None) -> None:
        read_CD = self.columns.center_CD
        is_other = center_CD is not None and center_CD.data_ptr() != read_CD.data_ptr()
        if is_other or version_of(read_CD) != self.version:
            raise UserError(
                "class centres that were changed between a forward pass and the use of their "
                "gradient; it is computed from them as they were: change them after step() and "
                "zero_grad(), or build CentersSGD with fused=False"
            )

    def scaled(self, factor: Tensor | float) -> Self:
        weights = self.weights
        if weights is not None:
            weights = replace(weights, slope_M=weights.slope_M * factor)
        return replace(self, slope_M=self.slope_M * factor, weights=weights)

    def is_finite(self) -> Tensor:
        finite = self.factors_are_finite()
        if self.rule.is_plain:
            return finite
        # A rule may have an infinite slope where its value is finite.
        for tile in self.tiles():
            finite = finite & tile.weight_TM.isfinite().all()
        return finite

    def factors_are_finite(self) -> Tensor:
        """Whether rows and slopes are, of which a plain rule's gradient is made."""
        finite = self.slope_M.isfinite().all() & self.rule.row_MD.isfinite().all()
        return finite if self.weights is None else finite & self.weights.slope_M.isfinite().all()

    @torch.no_grad()
    def tiles(self) -> Iterator[FactoredTile]:
        """The gradient tile by tile; the centres of a tile may be moved before the next."""
        rule = self.rule
        # The score of a plain rule is s cos θ, and its slope by that is 1/s of the cosine's. A row
        # with s = 0 is a row of norm 0, which moves nothing.
        own_slope_M = self.slope_M / rule.factor_M.where(rule.factor_M != 0, 1.0)
        own_score_M = self.cosine_M * rule.factor_M
        for start, index, center_TD, inverse_T in self.columns:
            tile = rule.apply(start, center_TD, inverse_T)
            slope_MT = self._slope(tile)
            own = rule.own(start, len(center_TD))
            own.put(slope_MT, own_slope_M)
            score_MT = tile.score_MT
            own.put(score_MT, own_score_M)
            if self.columns.normalizes:
                # ŵ = w/‖w‖ passes on (dŵ − (ŵ·dŵ) ŵ)/‖w‖, and ŵ·dŵ is a column's Σ slope · score.
                along_T = torch.linalg.vecdot(slope_MT, score_MT, dim=0)
                shrink_T1 = (along_T * inverse_T.square())[:, None]
                slope_MT.mul_(inverse_T)
            else:
                shrink_T1 = torch.zeros_like(inverse_T)[:, None]
            yield FactoredTile(index, slope_MT.T, rule.row_MD, shrink_T1, self.columns.precision)

    def _slope(self, tile: Tile) -> Tensor:
        if self.weights is None:
            return torch.zeros_like(tile.logit_MT)
        weight_MT = self.weights.of(tile.logit_MT, softmax=self.rule.is_softmax)
        return self.rule.slope(tile, weight_MT)
