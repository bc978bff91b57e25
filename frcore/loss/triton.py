"""The loss in fused GPU kernels: `streamed` with its two passes each in one kernel.

For heads whose rule for the other columns has the form of `NegativeRule` (all that leave `negative`
alone, CurricularFace, MV-Softmax); any other head goes to `streamed`, and so do dimensions beyond
`triton_tiles.WIDEST` and centres that are not float32. Triton itself is imported at the first call.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import Head, HeadBatch, NegativeRule, has_rule
from frcore.loss.base import EntryFilter, ExtraRows, LossOutput, unit_rows
from frcore.loss.deferred import CenterGradient, Weights
from frcore.loss.rows import finish, join, scale_of_rows, update_head
from frcore.loss.streamed import TILE, OwnCosine, Work, streamed_loss
from frcore.loss.tiles import Columns, RowValues, Rule
from frcore.loss.triton_tiles import WIDEST, Precision

if TYPE_CHECKING:
    from frcore.loss.triton_launch import Problem, Slopes

logger = logging.getLogger(__name__)


def triton_loss(
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    *,
    active: Tensor | None = None,
    extra_rows: ExtraRows | None = None,
    entry_filter: EntryFilter | None = None,
    deferred: list[CenterGradient] | None = None,
    precision: Precision | None = None,
) -> LossOutput:
    """`dense_loss`, in fused kernels; see there for the arguments.

    Nothing waits for the device, and the same input gives the same bits.

    Args:
        deferred: as for `streamed_loss`; `CentersSGD` then moves the centres inside the second
            pass, so that their gradient never exists.
        precision: of what is multiplied; sums, the rows' own entries and all that belongs to rows
            are float32 in any case. None is "bf16" on a GPU, "fp32" in Triton's interpreter.

    Raises:
        UserError: triton is not installed, or the tensors are on a device it cannot use.
    """
    check_usable(center_CD.device)
    reason = unsuited(head, center_CD)
    if reason:
        _say_once(type(head).__qualname__, reason)
        return streamed_loss(
            embedding_ND,
            center_CD,
            label_N,
            head,
            active=active,
            extra_rows=extra_rows,
            entry_filter=entry_filter,
            deferred=deferred,
        )
    count = len(embedding_ND)
    embedding_MD, label_M = join(embedding_ND, label_N, extra_rows)
    norm_M, unit_MD = embedding_MD.norm(dim=1), unit_rows(embedding_MD)
    columns = Columns(center_CD.detach(), active, TILE, head.normalizes_centers)
    work = _TritonWork(columns, columns.of(label_M), label_M, count, deferred)
    work.prepare(unit_MD.detach(), entry_filter, precision)

    cosine_M = OwnCosine.apply(unit_MD, center_CD, work)
    batch = HeadBatch(cosine_M, norm_M, label_M, len(center_CD))
    if head.training:
        update_head(head, batch, count, work.statistic)
    scale_M = scale_of_rows(head, batch)
    target_M = head.target(cosine_M, batch)
    work.rule = Rule(
        head, RowValues.of(target_M, scale_M, batch), unit_MD, work.column_M, entry_filter
    )
    scale = head.scale(batch)
    work.rule_is(
        head.negative_rule(batch), scale_M, scale if isinstance(scale, int | float) else None
    )
    reduced_M = _Reduction.apply(unit_MD, scale_M, work)
    return finish(head, batch, count, scale_M, target_M, reduced_M)


def supports(head: Head) -> bool:
    """Whether triton is installed and has kernels for this head's rule."""
    return _installed() and has_rule(head) and head.reduction == "logsumexp"


def unsuited(head: Head, center_CD: Tensor) -> str:
    """Why the kernels do not do for these; empty if they do."""
    if not supports(head):
        return "its rule for the other columns is not one that the kernels know"
    if center_CD.dtype not in (torch.float32, torch.bfloat16):
        return f"its centres are {center_CD.dtype}, the kernels' are torch.float32 or bfloat16"
    if center_CD.shape[1] > WIDEST:
        return f"its dimension is {center_CD.shape[1]}, the kernels' at most {WIDEST}"
    return ""


def check_usable(device: torch.device) -> None:
    """Refuse what triton cannot run.

    Raises:
        UserError: triton is not installed, or `device` is a CPU outside its interpreter.
    """
    if not _installed():
        raise UserError(
            "the loss backend 'triton' without triton installed; allowed without it are 'dense' "
            "and 'streamed': pip install 'frcore[gpu]', or choose one of those"
        )
    if device.type != "cuda" and not _interpreted():
        raise UserError(
            f"the loss backend 'triton' on device '{device}'; its kernels run on an NVIDIA GPU: "
            "use 'streamed', or set TRITON_INTERPRET=1 before the start to run them slowly on a CPU"
        )


@cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interpreted() -> bool:
    from triton import knobs

    return bool(knobs.runtime.interpret)


@cache
def _say_once(head: str, reason: str) -> None:
    logger.info("head %s goes through the backend 'streamed': %s", head, reason)


class _TritonWork(Work):
    """What the passes of one loss share, and its launches."""

    problem: Problem
    moment: bool

    def prepare(
        self, unit_MD: Tensor, entry_filter: EntryFilter | None, precision: Precision | None
    ) -> None:
        """Operands and norms; the rule is not known yet, and is the plain cosine."""
        from frcore.loss import triton_launch as launch

        self.launch = launch
        if precision is None:
            precision = "bf16" if unit_MD.is_cuda else "fp32"
        columns = self.columns
        self.problem = launch.Problem(
            unit_MD=unit_MD.to(launch.OPERANDS[precision]).contiguous(),
            center_CD=columns.center_CD,
            norm_A=launch.column_norms(columns.center_CD, columns.active),
            active=columns.active,
            column_M=self.column_M.int(),
            scale_M=unit_MD.new_ones(len(unit_MD)),
            threshold_M=None,
            coefficients=unit_MD.new_ones(3),
            shift=False,
            entry_filter=entry_filter,
            normalizes=columns.normalizes,
            precision=precision,
        )

    def rule_is(self, rule: NegativeRule, scale_M: Tensor, scale: float | None) -> None:
        """Set the head's rule; `scale` is s where it is one known number."""
        threshold_M = rule.threshold_N
        like = self.problem.scale_M
        self.moment = scale_M.requires_grad
        self.problem = replace(
            self.problem,
            scale_M=scale_M.detach().float().contiguous(),
            threshold_M=None if threshold_M is None else threshold_M.detach().float().contiguous(),
            # Filled in on the device: a tensor made on the host would be waited for.
            coefficients=torch.stack(
                [
                    q.detach().to(like) if isinstance(q, Tensor) else like.new_full((), q)
                    for q in rule.coefficients
                ]
            ),
            shift=self.launch.shift_is_safe(rule, scale, normalizes=self.columns.normalizes),
        )

    def statistic(self, scale: Tensor | float) -> Tensor:
        """log Σ_{k≠y} exp(s cos θ_k) of the batch's rows, (N,), in float64."""
        count, problem = self.count, self.problem
        scale_N = torch.empty_like(problem.scale_M[:count]).copy_(
            scale if isinstance(scale, Tensor) else problem.scale_M.new_full((), scale)
        )
        batch = replace(
            problem,
            unit_MD=problem.unit_MD[:count],
            column_M=problem.column_M[:count],
            scale_M=scale_N,
        )
        return self.launch.reduce(batch, count, attend=False, moment=False).value_M.double()

    def gradient(self, cosine_M: Tensor, slope_M: Tensor) -> CenterGradient:
        """∂loss/∂centres, for a kernel that moves them or for `CentersSGD`'s tiles."""
        weights = self.weights
        if weights is None:  # the loss does not depend on the other columns
            none_M = torch.zeros_like(slope_M)
            weights = Weights(none_M, none_M)
        reduced_M = weights.reduced_M.masked_fill(weights.reduced_M == -torch.inf, 0.0)
        slopes = self.launch.Slopes(
            reduced_M, weights.slope_M.contiguous(), cosine_M, slope_M.contiguous()
        )
        return TritonCenterGradient(
            self.columns, self.rule, cosine_M, slope_M, self.weights, self.problem, slopes
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

    @torch.no_grad()
    def dense(self) -> Tensor:
        """The gradient as a tensor (C, D)."""
        from frcore.loss.triton_launch import center_gradient

        gradient_AD = center_gradient(self.problem, self.slopes)
        active = self.columns.active
        if active is None:
            return gradient_AD.contiguous()
        return torch.zeros_like(self.columns.center_CD).index_copy_(0, active, gradient_AD)

    @torch.no_grad()
    def apply_sgd(
        self,
        center_CD: Tensor,
        velocity_CD: Tensor | None,
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> bool:
        """Move the columns' centres in the second pass, in place; False for other tensors than
        contiguous float32 ones."""
        from frcore.loss.triton_launch import Move, move_centers

        ours = self.problem.center_CD
        state = [center_CD] if velocity_CD is None else [center_CD, velocity_CD]
        if center_CD.data_ptr() != ours.data_ptr() or not all(
            part.dtype == torch.float32 and part.is_contiguous() and part.shape == ours.shape
            for part in state
        ):
            return False
        move_centers(self.problem, self.slopes, Move(velocity_CD, lr, momentum, weight_decay))
        return True


class _Reduction(torch.autograd.Function):
    """R of each row over the other columns, and with it the embeddings' gradient."""

    @staticmethod
    def forward(ctx: Any, unit_MD: Tensor, scale_M: Tensor, work: _TritonWork) -> Tensor:
        reduced = work.launch.reduce(
            work.problem, work.count, attend=ctx.needs_input_grad[0], moment=work.moment
        )
        ctx.work, ctx.by_unit_ND, ctx.by_scale_M = work, reduced.by_unit_ND, reduced.by_scale_M
        ctx.save_for_backward(reduced.value_M)
        return reduced.value_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (reduced_M,) = ctx.saved_tensors
        work: _TritonWork = ctx.work
        slope_M = slope_M.where(reduced_M.isfinite(), 0.0)  # no column, no slope
        work.weights = Weights(reduced_M, slope_M)
        by_unit_MD = None
        if ctx.by_unit_ND is not None:
            by_unit_MD = ctx.by_unit_ND.new_zeros(len(slope_M), ctx.by_unit_ND.shape[1])
            by_unit_MD[: work.count] = slope_M[: work.count, None] * ctx.by_unit_ND
        return by_unit_MD, None if ctx.by_scale_M is None else slope_M * ctx.by_scale_M, None
