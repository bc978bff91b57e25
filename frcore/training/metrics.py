"""The course of a training: the lines of `metrics.jsonl`, and the values in them."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import Head
from frcore.loss import LossOutput
from frcore.machine.faults import refusals_told
from frcore.records.metrics import Event

ANGLE_EDGES_DEGREES = np.linspace(0, 180, 91)
"""Bins of the angle histograms: 2 degrees."""


class MetricsFile:
    """Writes JSON lines, from the beginning or after the `lines` stored in a checkpoint.

    The checkpoint stores them because the file may be gone: Snakemake removes a job's outputs
    before it reruns the job. `listener` is called with each new line after it was written.
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
        """Write and flush one line; values that are not finite become null."""
        self._put(json.dumps(_finite(event.line()), allow_nan=False) + "\n")
        if self._listener is not None:
            self._listener(event)

    def _put(self, text: str) -> None:
        with refusals_told(self._path):
            self._file.write(text)
            self._file.flush()

    def lines(self) -> str:
        """Everything written so far."""
        return self._path.read_text(encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        # Closing retries a write that failed on a full disk; `write` has already reported it.
        with contextlib.suppress(OSError):
            self._file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def head_state(head: Head) -> dict[str, Any]:
    """`{"head": {name: value}}` from `Head.diagnostics`; empty without any values.

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


class EpochFigures:
    """Running statistics of one epoch, in degrees, seconds and images."""

    def __init__(self, device: torch.device) -> None:
        bins = len(ANGLE_EDGES_DEGREES) - 1
        self._histograms = {name: np.zeros(bins, dtype=np.int64) for name in ("target", "negative")}
        self._sums = dict.fromkeys(self._histograms, (0.0, 0))
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._images = self._images_logged = 0
        self._scale = math.nan
        self._started = self._logged_at = time.perf_counter()

    def add(self, output: LossOutput) -> None:
        """Add one step, without waiting for the device."""
        self._images += len(output.row_loss_N)
        self._loss_sum += output.row_loss_N.detach().sum()

    def of_step(self, output: LossOutput, negative_angle: Tensor) -> dict[str, Any]:
        """Values of a logged step; the throughput is since the previous one."""
        target = self._take("target", output.target_cosine_N.float().clamp(-1, 1).arccos())
        negative = self._take("negative", negative_angle.float())
        now = time.perf_counter()
        throughput = (self._images - self._images_logged) / (now - self._logged_at)
        self._logged_at, self._images_logged = now, self._images
        self._scale = output.scale.item()
        return {
            "images_per_second": throughput,
            "scale": self._scale,
            "target_angle": target,
            "negative_angle": negative,
        }

    def state_dict(self) -> dict[str, Any]:
        """The figures so far, for a checkpoint within the epoch."""
        now = time.perf_counter()
        return {
            "histograms": {name: counts.tolist() for name, counts in self._histograms.items()},
            "sums": {name: (float(total), count) for name, (total, count) in self._sums.items()},
            "loss_sum": self._loss_sum,
            "images": (self._images, self._images_logged),
            "scale": self._scale,
            "seconds": (now - self._started, now - self._logged_at),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with saved figures; the time between saving and loading does not count."""
        now = time.perf_counter()
        for name, counts in state["histograms"].items():
            self._histograms[name][:] = counts
        self._sums = dict(state["sums"])
        self._loss_sum.copy_(state["loss_sum"])
        self._images, self._images_logged = state["images"]
        self._scale = state["scale"]
        self._started, self._logged_at = (now - seconds for seconds in state["seconds"])

    def _take(self, name: str, radians: Tensor) -> float:
        """Add angles; returns their mean."""
        angles = torch.rad2deg(radians).cpu().numpy()
        self._histograms[name] += np.histogram(angles, ANGLE_EDGES_DEGREES)[0]
        total, count = self._sums[name]
        self._sums[name] = (total + angles.sum(dtype=np.float64), count + angles.size)
        return float(angles.mean()) if angles.size else math.nan

    def of_epoch(self) -> dict[str, Any]:
        """Values of the whole epoch; angles over its logged steps."""
        seconds = time.perf_counter() - self._started
        return {
            "loss": self._loss_sum.item() / self._images,
            "seconds": seconds,
            "images_per_second": self._images / seconds,
            "scale": self._scale,
            **{f"{name}_angle": float(total / count) if count else math.nan
               for name, (total, count) in self._sums.items()},
            **{f"{name}_histogram": counts.tolist() for name, counts in self._histograms.items()},
        }  # fmt: skip
