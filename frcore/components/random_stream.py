"""A component's own stream of random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class OwnGenerator:
    """Random numbers independent of everything else; saved and resumed with the component.

    The generator lives on the device that first asks, so that drawing needs no host sync.

    Args:
        seed: of the run.
        stream: path of numbers that separates components (or shards) with the same seed.
    """

    def __init__(self, seed: int, *stream: int) -> None:
        self.seed = seed if not any(stream) else mixed_seed(seed, *stream)
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
        """What `load` needs to continue the same stream."""
        drawn = self._saved if self._generator is None else self._generator.get_state()
        return {"seed": self.seed, "state": drawn}

    def load(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken; on the same kind of device."""
        self.seed = state["seed"]
        self._generator = None
        self._saved = state["state"]


def mixed_seed(seed: int, *stream: int) -> int:
    """One 63-bit seed from all numbers; neighbouring seeds give unrelated ones."""
    (word,) = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)
    return int(word) >> 1
