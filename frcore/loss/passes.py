"""A loss in passes over the class centres, without ever storing a logit.

The first accumulates the reduction R over the other columns and the embeddings' gradient together,
as attention accumulates its output. The second, in the backward pass or in the optimiser's step,
recomputes each tile for the centres' gradient. In between only per-row values are kept, so that
memory is rows × (D + tile).

Everything that acts on one number per row (margin, scale, penalty, the loss itself) is ordinary
autograd, as in `dense`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from frcore.centers.autocast import without_autocast
from frcore.centers.gradient import CentersGradient
from frcore.centers.gradient_parts import GradientForm, GradientPart, RowsGradient
from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.deferred import CenterGradient, Weights, version_of
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision, operands_of, unit_rows
from frcore.loss.once import once
from frcore.loss.rows import join, loss_of_rows
from frcore.loss.tiles import Columns, RowValues, Rule, is_plain
from frcore.sharding.shard import Whole

TILE = 2048
"""Columns at a time. A tile of 256 rows is 2 MiB: it stays in a core's cache between its steps."""

GPU_ENTRIES = 2**24
"""Entries of a tile on a GPU, 64 MiB in float32: each of a tile's some 20 kernels then has more to
do than its launch takes, and 1,024 rows and a million columns are 62 tiles. Not measured."""


def tile_of(rows: int, device: torch.device) -> int:
    """Columns at a time for a matrix of `rows` rows."""
    return TILE if device.type == "cpu" else max(TILE, GPU_ENTRIES // max(1, rows))


def loss_in_passes(
    kind: Callable[..., Passes],
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    *,
    active: Tensor | None = None,
    extra_rows: ExtraRows | None = None,
    entry_filter: EntryFilter | None = None,
    gradient_form: GradientForm = "tensor",
    precision: Precision | None = None,
    shard: Whole | None = None,
    tile: int | None = None,
) -> LossOutput:
    """The loss in the passes of a backend; for the arguments see `frcore.loss.dense.dense_loss`.

    Args:
        kind: makes the backend's `Passes`.
        precision: of the operands of products with centres; sums and each row's own entry are
            always in 32 bits. None is "fp32".
        tile: columns in memory at a time; any gives the same numbers up to rounding. None =
            `tile_of` rows and device.
    """
    shard = shard or Whole(len(center_CD))
    count = len(embedding_ND)
    embedding_MD, label_M = join(embedding_ND, label_N, extra_rows)
    tile = tile or tile_of(len(embedding_MD), center_CD.device)
    columns = Columns(
        center_CD.detach(), active, tile, head.normalizes_centers, precision or "fp32"
    )
    norm_M, unit_MD = embedding_MD.norm(dim=1), unit_rows(embedding_MD)
    local_M = shard.local(label_M)
    passes = kind(columns, unit_MD.detach(), local_M, count, entry_filter, gradient_form)
    cosine_M = shard.sum(_OwnCosine.apply(unit_MD, center_CD, passes))
    batch = HeadBatch(cosine_M, norm_M, label_M, shard.num_classes)

    def reduce(target_M: Tensor, scale_M: Tensor, scale: Tensor | float) -> Tensor:
        passes.set_rule(head, batch, target_M, scale_M, scale)
        return _Reduction.apply(
            unit_MD, target_M, scale_M, cosine_M, norm_M, passes, *passes.parameters
        )

    output = loss_of_rows(head, batch, count, passes.statistic, reduce, shard)
    return replace(output, operands=passes.operands)


class Passes(ABC):
    """The common part of the passes of one loss; a backend implements the rest.

    Args:
        columns: of the matrix.
        unit_MD: directions of the rows, without gradient.
        local_M: the row of each one's class in the table; −1 where that is on another shard.
        count: rows of the batch, which come first.
        entry_filter: which entries are taken out.
        gradient_form: what the backward pass leaves for the centres.
    """

    rule: Rule

    @property
    def operands(self) -> str:
        """As in `LossOutput`."""
        return operands_of(self.columns.precision, self.unit_MD)

    def __init__(
        self,
        columns: Columns,
        unit_MD: Tensor,
        local_M: Tensor,
        count: int,
        entry_filter: EntryFilter | None,
        gradient_form: GradientForm,
    ) -> None:
        self.columns, self.unit_MD, self.local_M, self.count = columns, unit_MD, local_M, count
        self.entry_filter, self.gradient_form = entry_filter, gradient_form
        self.column_M = columns.of(local_M)
        self.version = version_of(columns.center_CD)
        self.weights: Weights | None = None
        """Of the other columns, once the backward pass has been at R."""

    def set_rule(
        self,
        head: Head,
        batch: HeadBatch,
        target_M: Tensor,
        scale_M: Tensor,
        scale: Tensor | float,
    ) -> None:
        """The head's rule for the other columns; `scale` is the head's value for `scale_M`."""
        rows = RowValues.of(target_M, scale_M, batch)
        if torch.is_grad_enabled() and head.training and not is_plain(head):
            # The backward pass applies the rule again, when another forward may have changed the
            # head's state; its parameters are the same tensors, for their gradient's sake.
            head = copy.deepcopy(head, {id(p): p for p in head.parameters()})
        precision = self.columns.precision
        self.rule = Rule(head, rows, self.unit_MD, self.column_M, self.entry_filter, precision)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Of the head, with a gradient through R."""
        return ()

    @abstractmethod
    def statistic(self, scale: Tensor | float) -> Tensor:
        """log Σ_{k≠y} exp(s cos θ_k) of the batch's rows, (N,); a pass of its own."""

    @abstractmethod
    def reduce(self, wanted: Sequence[bool]) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        """R (M,), and its slopes by x̂ (N, D) and by the rows' target, scale, cosine and norm.

        Args:
            wanted: which of those slopes are asked for, x̂'s first.
        """

    def parameter_gradients(self) -> list[Tensor | None]:
        """Gradients of `parameters` through R: a pass of its own."""
        return []

    def gradient(self, cosine_M: Tensor, slope_M: Tensor) -> CenterGradient:
        """∂loss/∂centres from each row's own entry and the loss's slope by it."""
        return CenterGradient(
            self.columns, self.rule, cosine_M, slope_M, self.weights, self.version
        )


class _OwnCosine(torch.autograd.Function):
    """Each row's entry in its own column; its backward pass comes after that of R."""

    @staticmethod
    def forward(ctx: Any, unit_MD: Tensor, center_CD: Tensor, passes: Passes) -> Tensor:
        """x̂ · ŵ_y, or x̂ · w_y, (M,); 0 where the class is on another shard."""
        own_MD = passes.columns.read_own(passes.local_M)
        own_MD = own_MD * passes.columns.inverse(own_MD)[:, None]
        cosine_M = (unit_MD * own_MD).sum(1)
        # The centres are saved so that torch refuses a backward pass after they were written to.
        ctx.save_for_backward(own_MD, cosine_M, center_CD)
        ctx.passes = passes
        return cosine_M

    @staticmethod
    @once
    @without_autocast()
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """By x̂; the centres' gradient, that of the other columns included, in its form."""
        own_MD, cosine_M, center_CD = ctx.saved_tensors
        passes: Passes = ctx.passes
        gradient_MD = slope_M[:, None] * own_MD if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return gradient_MD, None, None
        factors = passes.gradient(cosine_M, slope_M)
        passes.weights = None  # of this backward pass; there may be another
        factors.check_current()  # also where saved tensors are copies, as under save_on_cpu
        part: GradientPart = factors
        if passes.gradient_form == "tensor":
            return gradient_MD, part.dense(len(center_CD)), None
        if passes.gradient_form == "rows":
            part = RowsGradient(part.active, part.rows())
        elif passes.rule.parameters:
            # The head's parameters may move before the centres do, by their own optimiser.
            rule = copy.copy(passes.rule)
            rule.head = copy.deepcopy(rule.head)
            part = replace(factors, rule=rule)
        return gradient_MD, CentersGradient([part], center_CD), None


class _Reduction(torch.autograd.Function):
    """R of each row over the other columns, and with it the embeddings' gradient.

    The rows' own entries are an input so that the backward pass comes before theirs, which needs
    its result; and at all, where embeddings have no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        unit_MD: Tensor,
        target_M: Tensor,
        scale_M: Tensor,
        cosine_M: Tensor,
        norm_M: Tensor,
        passes: Passes,
        *parameters: Tensor,
    ) -> Tensor:
        # In inference mode nothing has a gradient, whatever a parameter that is an input says.
        off = torch.is_inference_mode_enabled()
        wanted = [needed and not off for needed in ctx.needs_input_grad[:5]]
        reduced_M, ctx.by_unit_ND, ctx.by_row = passes.reduce(wanted)
        ctx.passes, ctx.parameters = passes, len(parameters)
        ctx.save_for_backward(reduced_M, *parameters)  # they too must not have been written to
        return reduced_M

    @staticmethod
    @once
    @without_autocast()
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor | None, ...]:
        reduced_M, *_ = ctx.saved_tensors
        passes: Passes = ctx.passes
        # A row without any column has R = −∞ and no slope.
        slope_M = slope_M.where(reduced_M.isfinite(), 0.0)
        passes.weights = Weights(reduced_M, slope_M)
        gradient_MD = None
        if ctx.by_unit_ND is not None:
            gradient_MD = ctx.by_unit_ND.new_zeros(len(slope_M), ctx.by_unit_ND.shape[1])
            gradient_MD[: passes.count] = slope_M[: passes.count, None] * ctx.by_unit_ND
        rows = [None if by_M is None else slope_M * by_M for by_M in ctx.by_row]
        parameters = passes.parameter_gradients() if ctx.parameters else []
        return gradient_MD, *rows, None, *parameters
