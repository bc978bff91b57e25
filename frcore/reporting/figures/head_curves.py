"""P(θ) of the registered heads, for docs/heads.svg."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frcore.heads import build_head
from frcore.heads.probability import NUM_CLASSES, head_curve, scale_of

STEP = 0.5
"""Degrees between the points of a curve."""


def head_curves(names: list[str], *, num_classes: int = NUM_CLASSES) -> pd.DataFrame:
    """Curves of registered heads with default parameters and initial state.

    Returns:
        Columns `head`, `degrees`, `probability`, `scale` (s at `NORM`) and `binary`.
    """
    degrees = np.arange(0, 180 + STEP, STEP)
    return pd.concat([_rows(name, degrees, num_classes) for name in names], ignore_index=True)


def _rows(name: str, degrees: np.ndarray, num_classes: int) -> pd.DataFrame:
    head = build_head(name, num_classes=num_classes)
    head.attach(seed=0)
    # In eval mode, so that a head with a random margin uses its mean.
    head.eval()
    rows = {"head": name, "degrees": degrees, "probability": head_curve(head, degrees)}
    return pd.DataFrame(
        {**rows, "scale": scale_of(head), "binary": head.reduction == "softplus_sum"}
    )
