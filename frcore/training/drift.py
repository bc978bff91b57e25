"""How far embeddings drift while they wait in a queue, with BroadFace's compensation and without.

A queued embedding was made by an older network. At some steps of a training a sample of its images
is embedded and kept with the class centres, as a queue would; some steps later the same images are
embedded again. The cosine of the two says how stale an embedding of that age is, and the cosine of
the compensated one whether the compensation points where the network went.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.records.diagnostics import DriftRow
from frcore.samplers.base import Centers
from frcore.samplers.broadface import compensated
from frcore.study.parts import Drift


class DriftProbe:
    """Follows one training; asked after each of its steps.

    Args:
        given: the starts and ages.
        label_P: of the images that are embedded.
        steps: of the whole training.
    """

    def __init__(self, given: Drift, label_P: Tensor, steps: int) -> None:
        self.label_P = label_P
        self.ages = frozenset(given.ages)
        self.starts = {max(1, round(start * steps)): start for start in sorted(given.starts)}
        self.rows: list[DriftRow] = []
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def after(self, step: int, embed: Callable[[], Tensor], centers: Centers) -> None:
        """Keep and compare what is due after optimiser step `step`.

        Args:
            step: counted from 1.
            embed: the images' embeddings (P, D) by the present network; called if needed.
            centers: the present class centres. With several processes all ask for them.
        """
        due = [kept for kept in self._kept if step - kept in self.ages]
        if not due and step not in self.starts:
            return
        embedding_PD, center_PD = embed(), centers(self.label_P)
        for kept in due:
            old_PD, old_center_PD = self._kept[kept]
            made_up_PD = compensated(old_PD, old_center_PD, center_PD)
            self.rows.append(
                DriftRow(
                    start=self.starts[kept],
                    step=kept,
                    age=step - kept,
                    images=len(embedding_PD),
                    queued=F.cosine_similarity(old_PD, embedding_PD).mean().item(),
                    compensated=F.cosine_similarity(made_up_PD, embedding_PD).mean().item(),
                )
            )
        if step in self.starts:
            self._kept[step] = embedding_PD, center_PD
        oldest = max(self.ages)
        self._kept = {k: pair for k, pair in self._kept.items() if step - k < oldest}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {
            "rows": [row.model_dump() for row in self.rows],
            "kept": [(step, *pair) for step, pair in self._kept.items()],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what was saved; the tensors are copied."""
        device = self.label_P.device
        self.rows = [DriftRow.model_validate(row) for row in state["rows"]]
        self._kept = {
            step: (embedding_PD.clone().to(device), center_PD.clone().to(device))
            for step, embedding_PD, center_PD in state["kept"]
        }
