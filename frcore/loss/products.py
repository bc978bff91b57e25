"""Matrix products with operands in 32 or 16 bits; sums are in 32 bits in both."""

from __future__ import annotations

import inspect
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["fp32", "tf32", "bf16"]
"""Of what is multiplied. "fp32" leaves operands as they are (float64 stays float64), and so does
"tf32" here, where torch's own setting says what a GPU makes of them; the fused kernels round
them."""

_HAS_WIDE_OUTPUT = "out_dtype" in (inspect.getdoc(torch.mm) or "")
"""torch.mm can keep the float32 sums of bfloat16 operands (torch ≥ 2.8, on CUDA)."""


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
