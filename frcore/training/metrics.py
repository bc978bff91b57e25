"""What a run tells about itself: JSON lines, and the distributions of the angles."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import Head
from frcore.machine.faults import refusals_told
from frcore.records.metrics import Event

ANGLE_EDGES_DEGREES = np.linspace(0, 180, 91)
"""Bins of the angle histograms: 2 degrees."""


class MetricsFile:
    """Writes JSON lines, from the beginning or after the `lines` that a checkpoint had seen.

    The checkpoint keeps them because the file may be gone: Snakemake removes a job's outputs before
    it runs the job again. `listener` is called with each new line, after it is in the file.
    """

    def __init__(
        self, path: Path, *, lines: str = "", listener: Callable[[Event], None] | None = None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._listener = listener
        self._file = path.open("w", encoding="utf-8")
        self._put(lines)

    def write(self, event: Event) -> None:
        """One line, readable by others at once; a value that is not finite becomes null."""
        self._put(json.dumps(_finite(event.line()), allow_nan=False) + "\n")
        if self._listener is not None:
            self._listener(event)

    def _put(self, text: str) -> None:
        with refusals_told(self._path):
            self._file.write(text)
            self._file.flush()

    def lines(self) -> str:
        """What was written so far."""
        return self._path.read_text(encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        # On a full disk what could not be written is tried again; `write` has told of it.
        with contextlib.suppress(OSError):
            self._file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def head_state(head: Head) -> dict[str, Any]:
    """`{"head": {name: value}}` of what `Head.diagnostics` offers; nothing if that is nothing.

    Raises:
        UserError: a value is not a scalar.
    """
    state = {name: torch.as_tensor(value) for name, value in head.diagnostics().items()}
    for name, value in state.items():
        if value.numel() != 1:
            raise UserError(
                f"diagnostics() of {type(head).__name__} gives {name!r} of shape "
                f"{tuple(value.shape)}; allowed are scalars: give its mean, or several names"
            )
    return {"head": {name: float(value) for name, value in state.items()}} if state else {}


class AngleStatistics:
    """Means and histograms of target and negative angles over an epoch, in degrees."""

    def __init__(self) -> None:
        bins = len(ANGLE_EDGES_DEGREES) - 1
        self.target_histogram = np.zeros(bins, dtype=np.int64)
        self.negative_histogram = np.zeros(bins, dtype=np.int64)
        self._sums = np.zeros((2, 2))  # (target, negative) × (sum, count)

    def add(self, target_cosine_N: Tensor, negative_angle: Tensor) -> tuple[float, float]:
        """Take in one batch; gives its mean target and negative angle in degrees."""
        target = torch.rad2deg(target_cosine_N.float().clamp(-1, 1).arccos()).cpu().numpy()
        negative = torch.rad2deg(negative_angle.float()).cpu().numpy()
        means = []
        for k, (angles, histogram) in enumerate(
            [(target, self.target_histogram), (negative, self.negative_histogram)]
        ):
            histogram += np.histogram(angles, ANGLE_EDGES_DEGREES)[0]
            self._sums[k] += angles.sum(dtype=np.float64), angles.size
            means.append(float(angles.mean()) if angles.size else math.nan)
        return means[0], means[1]

    def figures(self) -> dict[str, Any]:
        """The epoch's, for its line."""
        (target, negative) = (
            float(total / count) if count else math.nan for total, count in self._sums
        )
        return {
            "target_angle": target,
            "negative_angle": negative,
            "target_histogram": self.target_histogram.tolist(),
            "negative_histogram": self.negative_histogram.tolist(),
        }
