"""The ROC figure: TAR against FAR, one row per benchmark and one panel per sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from frcore.config import Study
from frcore.evaluation.metrics import tar_at_fars
from frcore.reporting.canvas import columns_for, legend, message, panels
from frcore.reporting.palette import MUTED, Palette
from frcore.reporting.scores import Arrays, Scores
from frcore.reporting.summary import Method, Summary

GRID_POINTS = 60


def roc(study: Study, scores: Scores, summary: Summary) -> Figure:
    """ROC curves: mean over seeds, with a band from the lowest to the highest seed."""
    curves = {
        (benchmark, method): found
        for benchmark in study.benchmarks
        for method in summary.methods
        if (found := _curves(summary, scores, benchmark, method)) is not None
    }
    if not curves:
        return message("ROC: no run has scores yet.")
    shown = [b for b in study.benchmarks if any(b == benchmark for benchmark, _ in curves)]
    tracks = list(dict.fromkeys(_track(method) for method in summary.methods))
    width = columns_for(len(tracks), 4)
    per_benchmark = -(-len(tracks) // width)
    palette = Palette(study)
    figure, axes = panels(len(shown) * per_benchmark, width, height=2.6, sharey="row")
    for row, benchmark in enumerate(shown):
        for place in range(per_benchmark * width):
            ax = axes[row * per_benchmark + place // width, place % width]
            if place >= len(tracks):
                ax.set_axis_off()
                continue
            own = {m: c for (b, m), c in curves.items()
                   if b == benchmark and _track(m) == tracks[place]}  # fmt: skip
            _panel(ax, own, palette)
            backbone, sampler = tracks[place]
            behind = f" · {backbone}" if len(study.backbones) > 1 and backbone else ""
            ax.set_title(f"{benchmark} · {sampler}{behind}")
            if place % width == 0:
                ax.set_ylabel("TAR")
    for ax in axes[-1]:
        ax.set_xlabel("FAR")
    present = {method.backbone if method.is_model else method.head for _, method in curves}
    named = [one.label for one in (*study.heads, *study.models) if one.label in present]
    legend(figure, palette, named, [])
    return figure


def _track(method: Method) -> tuple[str, str]:
    """What has a panel of its own: a backbone and sampler, or all models trained elsewhere."""
    return ("", "models") if method.is_model else (method.backbone, method.sampler)


def _panel(
    ax: Axes, curves: dict[Method, tuple[NDArray[Any], NDArray[Any]]], palette: Palette
) -> None:
    if not curves:
        ax.text(0.5, 0.5, "no scores yet", color=MUTED, ha="center", transform=ax.transAxes)
        ax.set_xticks([])
        return
    for method, (far, tar_SF) in curves.items():
        model = method.is_model
        colour = palette.models[method.backbone] if model else palette.heads[method.head]
        line = "-" if model else palette.line(method.sampler)
        ax.plot(far, tar_SF.mean(axis=0), color=colour, ls=line, lw=1.5)
        if len(tar_SF) > 1:
            low, high = tar_SF.min(axis=0), tar_SF.max(axis=0)
            ax.fill_between(far, low, high, color=colour, alpha=0.15, lw=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10, numticks=6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _curves(
    summary: Summary, scores: Scores, benchmark: str, method: Method
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """A FAR grid (F,) and the TAR of each seed on it (S, F)."""
    frame = summary.rows.usable("evaluation")
    runs = frame[
        (frame["backbone"] == method.backbone)
        & (frame["head"] == method.head)
        & (frame["sampler"] == method.sampler)
        & (frame["benchmark"] == benchmark)
    ]["run"].unique()
    loaded = [a for run in sorted(runs) if (a := scores.load(str(run), benchmark)) is not None]
    loaded = [a for a in loaded if a["same"].any() and not a["same"].all()]
    if not loaded:
        return None
    far = far_grid(int((~loaded[0]["same"]).sum()))
    return far, np.stack([_tar(arrays, far) for arrays in loaded])


def _tar(arrays: Arrays, far: Sequence[float] | NDArray[Any]) -> NDArray[Any]:
    genuine, impostor = arrays["scores"][arrays["same"]], arrays["scores"][~arrays["same"]]
    return np.array([point.tar for point in tar_at_fars(genuine, impostor, far)])


def far_grid(impostors: int) -> NDArray[np.float64]:
    """FARs from the lowest that `impostors` pairs resolve (one false accept) up to below 1.

    >>> grid = far_grid(100)
    >>> float(grid[0]), bool(grid[-1] < 1)
    (0.01, True)
    """
    counts = np.unique(np.geomspace(1, max(impostors - 1, 1), GRID_POINTS).round())
    return np.asarray(counts / impostors, dtype=np.float64)
