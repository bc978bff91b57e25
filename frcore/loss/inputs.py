"""The further inputs of a loss besides embeddings, centres and labels; safe normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["fp32", "tf32", "bf16"]
"""Of the operands. "fp32" leaves them unchanged (float64 stays float64), and so does "tf32" outside
the fused kernels, where torch's own setting decides; the fused kernels round them."""


def operands_of(precision: Precision | None, like: Tensor) -> str:
    """What torch's products of `like` are computed from: "fp64", "fp32", "tf32" or "bf16".

    Args:
        precision: asked for; None is "fp32", which on a GPU torch's own setting may make TF32.
        like: an operand.
    """
    if precision == "bf16":
        return "bf16"
    if like.dtype == torch.float64:
        return "fp64"
    by_setting = like.is_cuda and torch.get_float32_matmul_precision() != "highest"
    return "tf32" if by_setting else "fp32"


@dataclass(frozen=True)
class ExtraRows:
    """Rows that move the class centres but not the encoder: BroadFace's queue.

    Attributes:
        embedding_QD: without gradient, not normalised.
        label_Q: their classes.
    """

    embedding_QD: Tensor
    label_Q: Tensor


@dataclass(frozen=True)
class EntryFilter:
    """Entries of the matrix that are removed because they look like the row's own identity.

    Acts on cos θ_ik, k ≠ y, before the head does, and carries no gradient of its own.

    Attributes:
        threshold: entries with cos θ_ik above it are removed.
        mode: "zero" makes their cosine 0, which still counts in the denominator (insightface's
            code); "drop" removes them from it.
    """

    threshold: float
    mode: Literal["zero", "drop"]


def inverse_norm(x_ND: Tensor) -> Tensor:
    """1/‖x‖ of each row, (N, 1); 0 for a row of norm 0."""
    norm_N1 = x_ND.norm(dim=1, keepdim=True)
    # √tiny: the backward pass squares the reciprocal, and a norm below it underflows to 0 anyway.
    floor = math.sqrt(torch.finfo(x_ND.dtype).tiny)
    return norm_N1.clamp_min(floor).reciprocal().where(norm_N1 > 0, 0.0)


def unit_rows(x_ND: Tensor) -> Tensor:
    """Each row divided by its norm; a row of norm 0 stays 0 and gets no gradient.

    `F.normalize` divides such a row by 1e-12 and returns a gradient of 1e12: one dead embedding
    (an exact zero, or an underflow in float16) would destroy the model at the next step.
    """
    return x_ND * inverse_norm(x_ND)
