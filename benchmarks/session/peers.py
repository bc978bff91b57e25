"""The same step by others: plain PyTorch, compiled, fused cross entropies, insightface.

Nothing of them is in this repository. Each is used where it is installed, or where a checkout is
given; those that know no margin run the plain softmax of scaled cosines (our head `normface`).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.session.cases import Case
from benchmarks.session.steps import CENTER_STD, TILE, Step, make_inputs
from frcore.centers.storage import tiles
from frcore.loss.triton import installed
from frcore.loss.triton.tiles import interpreted
from frcore.measurement.steps import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY

SCALE = 20.0
"""Of our `normface`, so that all take the same step."""

MARGIN_SCALE = 64.0
"""Of insightface's configurations, and of our heads with a margin."""

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Loss of embeddings (N, D), centres (C, D) and labels (N,)."""


def naive_loss(embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor) -> Tensor:
    """As everybody writes it first."""
    cosine_NC = F.normalize(embedding_ND) @ F.normalize(center_CD).T
    return F.cross_entropy(SCALE * cosine_NC, label_N)


def linear_ce_loss(embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor) -> Tensor:
    """torch's chunked linear cross entropy.

    One chunk of all rows: chunks divide the rows, and each reads and adds to the whole table of
    centres. Left to itself it takes one row at a time where there are far more classes than rows.
    """
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=len(embedding_ND))
    loss: Tensor = F.linear_cross_entropy(
        SCALE * F.normalize(embedding_ND), F.normalize(center_CD), label_N, options=options
    )
    return loss


def liger_loss(
    embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor, *, wide: bool = False
) -> Tensor:
    """Liger-Kernel's fused linear cross entropy.

    Its default holds as many logits as the embeddings have entries, which is one row at a time
    where there are far more classes than dimensions: every chunk then reads the whole table of
    centres and adds to a whole gradient. `wide` is one chunk of all rows, as torch's gets.
    """
    module = importlib.import_module("liger_kernel.transformers.functional")
    row_ND = (SCALE * F.normalize(embedding_ND)).bfloat16()
    center_CD = F.normalize(center_CD).bfloat16()
    # Logits may take this often the embeddings' memory: enough for all rows, or Liger's default.
    budget = -(-len(center_CD) // center_CD.shape[1]) if wide else 1
    loss: Tensor = module.liger_fused_linear_cross_entropy(
        row_ND, center_CD, label_N, chunk_mem_const=budget
    )
    return loss


def cce_loss(embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor) -> Tensor:
    """Cut cross entropy."""
    module = importlib.import_module("cut_cross_entropy")
    row_ND = (SCALE * F.normalize(embedding_ND)).bfloat16()
    loss: Tensor = module.linear_cross_entropy(row_ND, F.normalize(center_CD).bfloat16(), label_N)
    return loss


LOSSES: dict[str, Loss] = {
    "naive": naive_loss,
    "compiled": naive_loss,
    "linear_ce": linear_ce_loss,
    "liger": liger_loss,
    "liger_wide": partial(liger_loss, wide=True),
    "cce": cce_loss,
}

PACKAGES = {
    "liger": "liger_kernel",
    "liger_wide": "liger_kernel",
    "cce": "cut_cross_entropy",
}


def unavailable(case: Case, device: str, checkout: Path | None) -> str | None:
    """Why a case cannot be measured here; None if it can."""
    if case.subject in PACKAGES and importlib.util.find_spec(PACKAGES[case.subject]) is None:
        return f"{PACKAGES[case.subject]} is not installed"
    if case.subject == "linear_ce" and not hasattr(F, "linear_cross_entropy"):
        return f"torch {torch.__version__} has no linear_cross_entropy"
    if case.subject == "insightface":
        if checkout is None:
            return "needs --peer: a checkout of insightface, or a folder with its two files"
        if device != "cuda":
            return "insightface runs on CUDA alone"
    if case.backend == "triton" and device != "cuda" and not (installed() and interpreted()):
        return "the triton backend needs a GPU"
    return None


class PeerStep(Step):
    """A loss of plain tensors, autograd, and torch's SGD."""

    inside_timer = (
        "normalisation, logits, cross entropy, backward to embeddings and centres, torch.optim.SGD"
    )

    def __init__(self, case: Case, device: torch.device) -> None:
        super().__init__(case, device)
        self.center_CD = nn.Parameter(draw_centers(case, device))
        self.optimizer = torch.optim.SGD(
            [self.center_CD], lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self.inputs = make_inputs(case, device, lambda label_N: self.center_CD.detach()[label_N])
        loss = LOSSES[case.subject]
        self.loss = torch.compile(loss) if case.subject == "compiled" else loss

    def __call__(self) -> None:
        embedding_ND, label_N = next(self.inputs)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(embedding_ND.detach().requires_grad_(), self.center_CD, label_N).backward()
        self.optimizer.step()


def draw_centers(case: Case, device: torch.device) -> Tensor:
    """Normal centres (C, D), drawn in tiles on the device."""
    generator = torch.Generator(device).manual_seed(0)
    center_CD = torch.empty(case.identities, case.dim, device=device)
    for rows in tiles(case.identities, TILE):
        center_CD[rows].normal_(0, CENTER_STD, generator=generator)
    return center_CD


class InsightfaceStep(Step):
    """insightface's PartialFC_V2 as its train_v2.py runs it, in one process.

    Args:
        case: head cosface or arcface.
        device: CUDA.
        checkout: of the insightface repository, or a folder with `losses.py` and
            `partial_fc_v2.py` of its `recognition/arcface_torch`.
    """

    inside_timer = (
        "insightface's PartialFC_V2 forward, backward to embeddings and centres, torch.optim.SGD"
    )

    def __init__(self, case: Case, device: torch.device, checkout: Path) -> None:
        super().__init__(case, device)
        _start_group(device)
        inside = checkout / "recognition" / "arcface_torch"
        sys.path.insert(0, str(inside if inside.is_dir() else checkout))
        losses: Any = importlib.import_module("losses")
        partial_fc: Any = importlib.import_module("partial_fc_v2")
        margins = {"arcface": (1.0, 0.5, 0.0), "cosface": (1.0, 0.0, 0.4)}[case.head]
        margin = losses.CombinedMarginLoss(MARGIN_SCALE, *margins)
        # Its centres are drawn where torch makes tensors: on the CPU 10 million take a minute.
        with torch.device(device):
            self.layer = partial_fc.PartialFC_V2(margin, case.dim, case.identities, case.rate)
        self.layer.to(device).train()
        self.optimizer = torch.optim.SGD(
            self.layer.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        weight_CD = self.layer.weight
        self.inputs = make_inputs(case, device, lambda label_N: weight_CD.detach()[label_N])

    def __call__(self) -> None:
        embedding_ND, label_N = next(self.inputs)
        self.optimizer.zero_grad()
        self.layer(embedding_ND.detach().requires_grad_(), label_N).backward()
        self.optimizer.step()


def _start_group(device: torch.device) -> None:
    """A process group of this process alone."""
    meeting = Path(tempfile.mkdtemp(prefix="frcore-group-")) / "store"
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=0,
        world_size=1,
    )
