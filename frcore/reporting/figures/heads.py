"""docs/heads.svg: P(θ) of every head, one small panel each, over the same grey reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcore.heads import build_head
from frcore.heads.probability import NUM_CLASSES, crossing, head_curve
from frcore.reporting.figures.canvas import small_multiples
from frcore.reporting.figures.head_curves import head_curves
from frcore.reporting.figures.palette import HEAD_COLOURS, INK, MUTED

REFERENCE_SCALE = 64.0
"""Scale of the grey curve, a cosine softmax without margin, to show the effect of a margin."""

COLUMNS = 5


def plot_heads(names: list[str]) -> Figure:
    """The figure, with heads in the given order; draw and save it within `look()`."""
    curves = head_curves(names)
    figure, grid = small_multiples(names, limit=COLUMNS, height=1.55, sharex=True, sharey=True)
    plain = build_head("normface", num_classes=NUM_CLASSES, scale=REFERENCE_SCALE)
    reference = head_curve(plain, curves["degrees"].unique())
    for (name, _), ax in grid.items():
        _panel(ax, name, curves[curves["head"] == name], reference)
    figure.supxlabel("angle to the own class centre, degrees", fontsize="medium")
    figure.supylabel("probability of the own class", fontsize="medium")
    return figure


def _panel(ax: Axes, name: str, curve: pd.DataFrame, reference: np.ndarray) -> None:
    degrees, probability = curve["degrees"].to_numpy(), curve["probability"].to_numpy()
    ax.plot(degrees, reference, color=MUTED, alpha=0.6, lw=1.2, ls=(0, (2, 1.5)))
    ax.plot(degrees, probability, color=HEAD_COLOURS.get(name, INK), lw=2)
    half = crossing(degrees, probability)
    note = [f"s = {curve['scale'].iloc[0]:.3g}"]
    if half is not None:
        ax.plot(half, 0.5, "o", color=INK, ms=3.5)
        note.append(f"½ at {half:.0f}°")
    if curve["binary"].iloc[0]:
        note.append("binary")
    ax.text(0.97, 0.95, "\n".join(note), transform=ax.transAxes, ha="right", va="top", fontsize=7)
    ax.set_title(name, fontsize="small")
    ax.tick_params(labelsize=7.5)
    ax.set(xlim=(0, 180), ylim=(-0.03, 1.03), xticks=(0, 45, 90, 135, 180), yticks=(0, 0.5, 1))
