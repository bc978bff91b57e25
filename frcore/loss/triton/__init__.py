"""The loss in fused GPU kernels: `streamed` with its two passes each in one kernel.

For heads whose rule for the other columns has the form of `NegativeRule` (all that do not override
`negative`, CurricularFace, MV-Softmax); others fall back to `streamed`, as do centres whose
dtype or dimension the kernels do not support. Triton itself is imported at the first call.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import Head, has_rule
from frcore.loss.base import LossOutput
from frcore.loss.inputs import Precision
from frcore.loss.passes import loss_in_passes
from frcore.loss.streamed import streamed_loss
from frcore.loss.triton.tiles import CONSUMER, KIB, WIDEST, interpreted, shared_memory

OLDEST = "3.4"
"""The first triton that the kernels are compiled with; pyproject.toml asks for it too."""

logger = logging.getLogger(__name__)


def triton_loss(
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    *,
    precision: Precision | None = None,
    **options: Any,
) -> LossOutput:
    """`streamed_loss`, in fused kernels; see `loss_in_passes` for the options.

    Nothing waits for the device, and the same input gives the same bits. Where the backward pass
    leaves the centres' gradient to `CentersSGD`, that moves the centres inside the second pass, so
    that their gradient never exists.

    Args:
        precision: of what is multiplied; sums, the rows' own entries and all that belongs to rows
            are float32 in any case. None is "bf16" on a GPU, "fp32" in Triton's interpreter.

    Raises:
        UserError: triton is not installed, or the tensors are on a device it cannot use.
    """
    check_usable(center_CD.device)
    reason = unsuited(head, center_CD)
    if reason:
        _say_once(type(head).__qualname__, reason)
        return streamed_loss(embedding_ND, center_CD, label_N, head, precision=precision, **options)
    from frcore.loss.triton.step import TritonPasses

    kind = partial(TritonPasses, precision or ("bf16" if center_CD.is_cuda else "fp32"))
    return loss_in_passes(kind, embedding_ND, center_CD, label_N, head, **options)


def supports(head: Head) -> bool:
    """Whether triton is installed and has kernels for this head's rule."""
    return installed() and has_rule(head) and head.reduction == "logsumexp"


def unsuited(head: Head, center_CD: Tensor) -> str:
    """Why the kernels cannot be used for these; empty if they can."""
    if not supports(head):
        return "the kernels do not support its rule for the other columns"
    if center_CD.dtype not in (torch.float32, torch.bfloat16):
        return f"its centres are {center_CD.dtype}, the kernels' are torch.float32 or bfloat16"
    if center_CD.shape[1] > WIDEST:
        return f"its dimension is {center_CD.shape[1]}, the kernels' at most {WIDEST}"
    shared = shared_memory(center_CD.device)
    if shared < CONSUMER:
        return (
            f"its GPU has {shared // KIB} KiB of shared memory for a program, the kernels need "
            f"{CONSUMER // KIB}"
        )
    return ""


def check_usable(device: torch.device) -> None:
    """Refuse what triton cannot run.

    Raises:
        UserError: triton is not installed, or `device` is a CPU outside its interpreter.
    """
    if not installed():
        raise UserError(
            f"the loss backend 'triton' without triton {OLDEST} or newer; allowed without it are "
            "'dense' and 'streamed': pip install 'frcore[gpu]', or choose one of those"
        )
    if device.type != "cuda" and not interpreted():
        raise UserError(
            f"the loss backend 'triton' on device '{device}'; its kernels run on an NVIDIA GPU: "
            "use 'streamed', or set TRITON_INTERPRET=1 before the start to run them slowly on a CPU"
        )


@cache
def installed() -> bool:
    """Whether triton can be imported, and is `OLDEST` or newer."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        return Version(version("triton")) >= Version(OLDEST)
    except PackageNotFoundError:
        return True  # under another name, such as the pytorch-triton of torch's nightly builds


@cache
def _say_once(head: str, reason: str) -> None:
    logger.info("head %s uses the backend 'streamed': %s", head, reason)
