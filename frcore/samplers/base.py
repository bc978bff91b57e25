"""The contract of a sampler: which columns (centres) and extra rows (past embeddings) exist."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from frcore.loss.base import ExtraRows


class Sampler(nn.Module):
    """Base of all samplers; by itself every column and no extra row.

    A classifier calls `attach` once. Then, in training mode only, for each batch: `rows`, `columns`
    with the labels of batch and rows, the loss, and `observe`.
    """

    def __init__(self) -> None:
        super().__init__()

    def attach(self, num_classes: int, dim: int, *, seed: int = 0) -> None:
        """Learn the shape of the logit matrix; randomness follows from `seed`."""
        self.num_classes = num_classes

    def rows(self, center_CD: Tensor) -> ExtraRows | None:
        """Extra rows for the centres' gradient, brought up to date with the centres."""
        return None

    def columns(self, label_M: Tensor) -> Tensor | None:
        """Sorted indices of the active centres, all of `label_M` among them; None = all."""
        return None

    def observe(self, embedding_ND: Tensor, label_N: Tensor, center_CD: Tensor) -> None:
        """See the batch and the centres its loss was computed with; without gradient."""


class OwnGenerator:
    """A random stream of a sampler's own: independent of everything else, saved and resumed.

    The generator lives on the device of the first labels, so that drawing needs no host sync.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._saved: Tensor | None = None

    def on(self, device: torch.device) -> torch.Generator:
        """The generator, created on `device` at the first call."""
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
            if self._saved is not None:
                # `torch.load(map_location=...)` may have moved it; a state is always on the CPU.
                self._generator.set_state(self._saved.cpu())
                self._saved = None
        return self._generator

    def state(self) -> dict[str, Any]:
        """What `load` needs to go on with the same stream."""
        drawn = self._saved if self._generator is None else self._generator.get_state()
        return {"seed": self.seed, "state": drawn}

    def load(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; on the same kind of device."""
        self.seed = state["seed"]
        self._generator = None
        self._saved = state["state"]
