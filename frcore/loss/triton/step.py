"""One training step in fused kernels: autograd around the two passes. Importing this needs triton.

All per-row computations are ordinary autograd, as in every backend; only the reduction over
the columns and the centres' gradient are kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from frcore.centers.sgd import Rates
from frcore.centers.storage import Rows
from frcore.heads.base import Head, HeadBatch
from frcore.loss.deferred import CenterGradient, Weights
from frcore.loss.inputs import Precision
from frcore.loss.passes import Passes
from frcore.loss.rows import expand_scale
from frcore.loss.triton.launch import center_gradient, column_norms, move_centers, reduce
from frcore.loss.triton.problem import OPERANDS, Move, Problem, Slopes, shift_is_safe


class TritonPasses(Passes):
    """Each pass in one kernel.

    Args:
        operands: their precision; what goes tile by tile all the same is as `columns` say.
        given: as for `Passes`.

    Attributes:
        problem: operands and norms; with the rule of a plain cosine until the head's is set.
    """

    def __init__(self, operands: Precision, *given: Any) -> None:
        super().__init__(*given)
        columns, unit_MD = self.columns, self.unit_MD
        self.problem = Problem(
            unit_MD=unit_MD.to(OPERANDS[operands]).contiguous(),
            center_CD=columns.center_CD,
            norm_A=column_norms(columns.center_CD, columns.active),
            active=columns.active,
            column_M=self.column_M.int(),
            scale_M=unit_MD.new_ones(len(unit_MD)),
            threshold_M=None,
            coefficients=unit_MD.new_ones(3),
            shift=False,
            entry_filter=self.entry_filter,
            normalizes=columns.normalizes,
            precision=operands,
        )

    @property
    def operands(self) -> str:
        return self.problem.precision

    def statistic(self, scale: Tensor | float) -> Tensor:
        count, problem = self.count, self.problem
        batch = replace(
            problem,
            unit_MD=problem.unit_MD[:count],
            column_M=problem.column_M[:count],
            scale_M=expand_scale(scale, problem.scale_M[:count]).contiguous(),
        )
        return reduce(batch, count, attend=False, moment=False).value_M.double()

    def set_rule(
        self,
        head: Head,
        batch: HeadBatch,
        target_M: Tensor,
        scale_M: Tensor,
        scale: Tensor | float,
    ) -> None:
        super().set_rule(head, batch, target_M, scale_M, scale)
        rule, like = head.negative_rule(batch), self.problem.scale_M
        threshold_M = rule.threshold_N
        known = None if isinstance(scale, Tensor) else float(scale)
        self.problem = replace(
            self.problem,
            scale_M=scale_M.detach().to(like).contiguous(),
            threshold_M=None if threshold_M is None else threshold_M.detach().to(like).contiguous(),
            # Filled on the device: a tensor from the host would need a sync.
            coefficients=torch.stack(
                [
                    q.detach().to(like) if isinstance(q, Tensor) else like.new_full((), q)
                    for q in rule.coefficients
                ]
            ),
            shift=shift_is_safe(rule, known, normalizes=self.columns.normalizes),
        )

    def reduce(self, wanted: Sequence[bool]) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        reduced = reduce(self.problem, self.count, attend=wanted[0], moment=wanted[2])
        return reduced.value_M, reduced.by_unit_ND, [None, reduced.by_scale_M, None, None]

    def gradient(self, cosine_M: Tensor, slope_M: Tensor) -> CenterGradient:
        weights = self.weights
        if weights is None:  # the loss does not depend on the other columns
            nothing_M = torch.zeros_like(slope_M)
            weights = Weights(nothing_M, nothing_M)
        slopes = Slopes(
            weights.reduced_M.masked_fill(weights.reduced_M == -torch.inf, 0.0),
            weights.slope_M * self.problem.scale_M,
            slope_M.contiguous(),
        )
        return TritonCenterGradient(
            self.columns,
            self.rule,
            cosine_M,
            slope_M,
            self.weights,
            self.version,
            self.problem,
            slopes,
        )


@dataclass(frozen=True)
class TritonCenterGradient(CenterGradient):
    """`CenterGradient` with kernels of its own.

    Attributes:
        problem: what pass 1 read.
        slopes: the loss's slopes by what it gave.
    """

    problem: Problem
    slopes: Slopes

    def is_finite(self) -> Tensor:
        return self.factors_are_finite()  # a polynomial has finite slopes

    @torch.no_grad()
    def rows(self) -> Tensor:
        self.check_current()
        problem = self.problem
        if problem.active is not None:
            problem = replace(problem, center_CD=problem.center_CD[problem.active], active=None)
        return center_gradient(problem, self.slopes)

    @torch.no_grad()
    def dense(self, count: int) -> Tensor:
        self.check_current()
        return center_gradient(self.problem, self.slopes)

    def scaled(self, factor: Tensor | float) -> Self:
        slopes = self.slopes
        weight_M, own_M = slopes.weight_M * factor, slopes.own_M * factor
        scaled = replace(slopes, weight_M=weight_M, own_M=own_M)
        return replace(super().scaled(factor), slopes=scaled)

    @torch.no_grad()
    def apply_sgd(self, values: Rows, velocities: Rows | None, rates: Rates) -> bool:
        """False for tables that `Move.of` does not take, or another one than the loss read."""
        read_CD = self.problem.center_CD
        move = Move.of(values, velocities, rates)
        if move is None or move.center_CD.data_ptr() != read_CD.data_ptr():
            return False
        move_centers(self.problem, self.slopes, move)
        return True
