"""Figures of classes: those with many and with few images, and those that are one person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from frcore.records.diagnostics import DiagnosticsRecord
from frcore.reporting.figures.canvas import (
    hover,
    message,
    put_legend,
    same_range,
)
from frcore.reporting.figures.grids import bare, method_grid, paired_grid
from frcore.reporting.figures.palette import INK, MUTED, Palette
from frcore.reporting.figures.ticks import plain_ticks
from frcore.results.reading import read
from frcore.results.rows import Rows
from frcore.study import expansion
from frcore.study.config import Study

UNEQUAL = ("head", "middle", "tail")
ANGLES = ("target_angle_mean", "target_angle_p5", "target_angle_p95")
TOUCHES = "passive_per_positive"
ASIDE = 1.06
"""Factor by which neighbouring samplers stand apart, so that their bars are seen."""


def long_tail(study: Study, rows: Rows) -> Figure:
    """Angle to the own centre and passive updates against images per identity, by head."""
    frame = rows.usable("diagnostics")
    frame = frame[frame["group"].isin(UNEQUAL)]
    table = _seed_means(frame)
    if table.empty:
        return message("Long tail: every identity trained on has as many images as the others.")
    samplers = [s.label for s in study.samplers if s.label in set(table["sampler"])]
    palette = Palette(study)
    figure, grid, axes = paired_grid(study, set(table["head"]), "images per identity")
    for head, (upper, lower) in grid.items():
        for place, sampler in enumerate(samplers):
            own = table[(table["head"] == head) & (table["sampler"] == sampler)]
            aside = ASIDE ** (place - (len(samplers) - 1) / 2)
            _groups(upper, own, ANGLES[0], palette, aside)
            _groups(lower, own, TOUCHES, palette, aside)
    for upper, lower in zip(axes[::2, 0], axes[1::2, 0], strict=True):
        upper.set_ylabel("angle to own\ncentre [°]")
        lower.set_ylabel("passive updates\nper own image")
    for row in (0, 1):
        same_range(pair[row] for pair in grid.values())
    axes[0, 0].set_xscale("log")
    for ax in axes.flat:
        plain_ticks(ax.xaxis)
    _sampler_legend(figure, palette, samplers)
    return figure


def _seed_means(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per head, sampler and group, its quantities averaged over backbones and seeds."""
    plain = frame.astype({name: object for name in frame.columns if frame[name].dtype == "string"})
    table = plain.pivot_table(
        index=["head", "sampler", "group"], columns="quantity", values="value", aggfunc="mean"
    )
    return table.reindex(columns=["images", *ANGLES, TOUCHES]).reset_index()


def _groups(ax: Axes, own: pd.DataFrame, quantity: str, palette: Palette, aside: float) -> None:
    """A method's groups as points, with the spread over their identities where it is known."""
    own = own.dropna(subset=["images", quantity]).sort_values("images")
    if own.empty:
        return
    head, sampler = own["head"].iloc[0], own["sampler"].iloc[0]
    spread = None
    if quantity == ANGLES[0]:
        low, high = own[quantity] - own[ANGLES[1]], own[ANGLES[2]] - own[quantity]
        # A mean can lie outside two percentiles of a few identities.
        spread = [low.clip(lower=0.0), high.clip(lower=0.0)]
    bars = ax.errorbar(
        own["images"] * aside, own[quantity], yerr=spread, color=palette.heads[head],
        ls=palette.line(sampler), marker=palette.marker(head), ms=5, lw=1.2, elinewidth=0.8,
        fillstyle=palette.fill(sampler),
    )  # fmt: skip
    hover(bars.lines[0], f"{head} + {sampler}")


def _sampler_legend(figure: Figure, palette: Palette, samplers: list[str]) -> None:
    handles = [
        Line2D([], [], color=INK, ls=palette.line(name), marker="o", ms=5, label=name,
               fillstyle=palette.fill(name))
        for name in samplers
    ]  # fmt: skip
    put_legend(figure, handles)


@dataclass(frozen=True)
class CenterPairs:
    """Cosines between the class centres of a head × sampler, summed over seeds.

    Attributes:
        edges: of the bins.
        pairs: all pairs of centres (B,).
        same: those that are one person; None where that is not known.
    """

    edges: NDArray[np.float64]
    pairs: NDArray[np.int64]
    same: NDArray[np.int64] | None


def read_center_pairs(
    study: Study, root: Path, rows: Rows
) -> Mapping[tuple[str, str], CenterPairs]:
    """(head, sampler) -> its histograms, of the runs whose diagnostics count."""
    found: dict[tuple[str, str], CenterPairs] = {}
    specs = expansion.runs(study)
    for name in map(str, rows.usable("diagnostics")["run"].unique()):
        if name not in specs:
            continue
        record = read(root / "runs" / name / "diagnostics.json", DiagnosticsRecord).record
        histogram = record and record.conflicts and record.conflicts.histogram
        if not histogram:
            continue
        pairs = np.asarray(histogram.pairs)
        same = None if histogram.same_person is None else np.asarray(histogram.same_person)
        key = (specs[name].head.label, specs[name].sampler.label)
        if key in found:
            before = found[key]
            pairs = pairs + before.pairs
            same = None if same is None or before.same is None else same + before.same
        found[key] = CenterPairs(np.asarray(histogram.edges, dtype=float), pairs, same)
    return found


def center_cosines(study: Study, found: Mapping[tuple[str, str], CenterPairs]) -> Figure:
    """Cosines between centres: of one person's labels, and of all pairs; heads × samplers."""
    if not found:
        return message("Conflicts: no finished run has told the cosines between its class centres.")
    if all(one.same is not None and not one.same.any() for one in found.values()):
        return message("Conflicts: no person of the training set has two labels.")
    palette = Palette(study)
    figure, grid = method_grid(study, set(found), "cosine", 1.35)
    for (head, sampler), ax in grid.items():
        bare(ax)
        if (head, sampler) in found:
            _outlines(ax, found[head, sampler], palette.heads[head])
    every = next(iter(found.values())).edges
    counted = np.flatnonzero(np.sum([one.pairs for one in found.values()], axis=0))
    first = next(iter(grid.values()))
    first.set_xlim(every[counted[0]], every[counted[-1] + 1])
    # The outer labels of neighbouring panels would meet.
    first.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    handles = [
        Line2D([], [], color=INK, lw=5, alpha=0.6, label="labels of one person (head's colour)"),
        Line2D([], [], color=MUTED, lw=5, alpha=0.5, label="any two labels (grey)"),
    ]
    put_legend(figure, handles)
    return figure


def _outlines(ax: Axes, found: CenterPairs, colour: str) -> None:
    """Two outlines of the same area, since pairs of one person are few."""
    drawn = ((found.pairs, MUTED, 0.3, ""), (found.same, colour, 0.55, " of one person"))
    for counts, tint, alpha, kind in drawn:
        if counts is not None and counts.any():
            density = counts / (counts.sum() * np.diff(found.edges))
            ax.stairs(density, found.edges, fill=True, color=tint, alpha=alpha, lw=0)
            outline = ax.stairs(density, found.edges, color=tint, lw=1.1)
            hover(outline, f"{counts.sum():,} pairs of centres{kind}")
