"""The kernels' inputs: operands, the head's rule in numbers, the filter, the step of SGD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frcore.centers.sgd import Rates
from frcore.centers.storage import LANES, PlainRows, RoundedRows, Rows, SplitRows, stream_key
from frcore.heads.base import NegativeRule
from frcore.loss.inputs import EntryFilter, Precision
from frcore.loss.triton import kernels

OPERANDS: dict[Precision, torch.dtype] = {
    "bf16": torch.bfloat16,
    "tf32": torch.float32,
    "fp32": torch.float32,
}
"""Types of what is multiplied; sums are fp32 in all."""


@dataclass(frozen=True)
class Problem:
    """What both passes read.

    Attributes:
        unit_MD: directions of batch and queue, in the operands' type.
        center_CD: all centres; cast to the operands' type when they are read.
        norm_A: ‖w‖ of each column.
        active: rows of `center_CD` that are the columns; None = all.
        column_M: each row's own column, int32.
        scale_M: s, fp32.
        threshold_M: of the head's rule, fp32, or None.
        coefficients: (q₂, q₁, q₀) of the rule, fp32, on the device.
        shift: whether exponents may be shifted by a constant.
        entry_filter: which entries are taken out.
        normalizes: whether entries are cosines, or x̂ · w.
        precision: of the operands.
    """

    unit_MD: Tensor
    center_CD: Tensor
    norm_A: Tensor
    active: Tensor | None
    column_M: Tensor
    scale_M: Tensor
    threshold_M: Tensor | None
    coefficients: Tensor
    shift: bool
    entry_filter: EntryFilter | None
    normalizes: bool
    precision: Precision

    @property
    def columns(self) -> int:
        """A."""
        return len(self.norm_A)

    @property
    def width(self) -> int:
        """D, padded to what the kernels load."""
        return padded(self.center_CD.shape[1])

    def inputs(self) -> tuple[Tensor, ...]:
        """The first arguments of both kernels; what a problem lacks is never read."""
        column_M, scale_M = self.column_M, self.scale_M
        index = column_M if self.active is None else self.active
        threshold_M = scale_M if self.threshold_M is None else self.threshold_M
        rows = (self.unit_MD, self.center_CD, self.norm_A, index, column_M, scale_M, threshold_M)
        return (*rows, self.coefficients)

    def switches(self) -> dict[str, Any]:
        """What kernels are compiled for."""
        mode = "keep" if self.entry_filter is None else self.entry_filter.mode
        return {
            "D": self.center_CD.shape[1],
            "WIDE": self.width,
            "GATHER": self.active is not None,
            "HARD": self.threshold_M is not None,
            "FILTER": {"keep": kernels.KEEP, "zero": kernels.ZERO, "drop": kernels.DROP}[
                mode
            ].value,
            "NORMALIZES": self.normalizes,
            "PRECISION": "tf32" if self.precision == "tf32" else "ieee",
        }

    def kind(self) -> str:
        """What a launch's time depends on besides the numbers of rows and columns."""
        types = f"{self.center_CD.dtype} as {self.precision}".removeprefix("torch.")
        return " ".join([types, *(f"{name}={value}" for name, value in self.switches().items())])

    @property
    def filter_threshold(self) -> float:
        """Of the filter; any number without one."""
        return 0.0 if self.entry_filter is None else float(self.entry_filter.threshold)


@dataclass(frozen=True)
class Reduced:
    """What pass 1 gives.

    Attributes:
        value_M: R.
        by_unit_ND: ∂R/∂x̂ of the rows that asked for it; None without.
        by_scale_M: ∂R/∂s; None unless asked for.
    """

    value_M: Tensor
    by_unit_ND: Tensor | None
    by_scale_M: Tensor | None


def padded(dim: int) -> int:
    """The power of two, at least 16, that a row of `dim` is loaded as."""
    return max(16, 1 << (dim - 1).bit_length())


def shift_is_safe(rule: NegativeRule, scale: float | None, *, normalizes: bool) -> bool:
    """Whether exp(z − max(0, s − 48)) can neither overflow in a sum nor vanish, for any cosines.

    exp and its sum over 10⁸ columns stay normal for z within (−82, 69) of the shift. Where the
    scale or the rule is known only on the device, this cannot be decided.
    """
    bounds = rule.bounds()
    if scale is None or bounds is None or not normalizes:
        return False
    shift = max(0.0, scale - 48.0)
    low, high = (scale * bound - shift for bound in bounds)
    return low > -82.0 and high < 69.0


@dataclass(frozen=True)
class Slopes:
    """What pass 2 needs of the rows, fp32, (M,) each.

    Attributes:
        reduced_M: R; any number where a row has no column.
        weight_M: ∂loss/∂R · s; 0 where a row has no column.
        own_M: ∂loss/∂ of each row's entry in its own column.
    """

    reduced_M: Tensor
    weight_M: Tensor
    own_M: Tensor


@dataclass(frozen=True)
class Move:
    """A step of SGD.

    Attributes:
        center_CD: w, moved in place; of split centres the high halves.
        low_CD: of split centres the low halves, moved in place; else None.
        velocity_CD: v, moved in place; None without momentum.
        rates: of the step.
        key: of the random bits that round the momentum of split centres.
    """

    center_CD: Tensor
    low_CD: Tensor | None
    velocity_CD: Tensor | None
    rates: Rates
    key: int = 0

    @classmethod
    def of(cls, values: Rows, velocities: Rows | None, rates: Rates) -> Move | None:
        """The step for these tables; None if they are not ones that the kernel moves.

        It moves float32 centres and momentum, and split centres with a rounded momentum, of
        contiguous tensors of one shape.
        """
        low_CD, key = None, 0
        if isinstance(values, PlainRows) and isinstance(velocities, PlainRows | None):
            center_CD, dtype = values.tensor_CD.data, torch.float32
        elif isinstance(values, SplitRows) and isinstance(velocities, RoundedRows | None):
            center_CD, dtype = values.high_CD.data, torch.bfloat16
            low_CD = values.low_CD
            if velocities is not None:
                words = -(-velocities.tensor_CD.shape[1] // LANES)
                key = stream_key(velocities.seed, velocities.time, velocities.first * words)
        else:
            return None
        velocity_CD = None if velocities is None else velocities.tensor_CD
        types = ((center_CD, dtype), (velocity_CD, dtype), (low_CD, torch.int16))
        if not all(
            t is None or (t.dtype == d and t.is_contiguous() and t.shape == center_CD.shape)
            for t, d in types
        ):
            return None
        return cls(center_CD, low_CD, velocity_CD, rates, key)
