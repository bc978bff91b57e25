"""The ROC and DET figures: one row per benchmark, and one panel per sampler."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from frcore.reporting.figures.canvas import Message, columns_for, hover, legend, panels
from frcore.reporting.figures.curves import Curve
from frcore.reporting.figures.marks import plain_ticks
from frcore.reporting.figures.palette import MUTED, Palette
from frcore.results.summary import Method, Summary

Curves = Mapping[str, Mapping[Method, Curve]]
"""Benchmark -> method -> its curve."""

MARKERS_A_CURVE = 5
MOST_BANDS = 6
"""Most curves in a panel that all get a band; with more, bands would hide one another."""


def roc(curves: Curves, summary: Summary) -> Figure:
    """TAR against FAR."""
    return _panels(curves, summary, "ROC", "FAR", "TAR", error=False)


def det(curves: Curves, summary: Summary) -> Figure:
    """FNMR against FMR, both logarithmic: shows what a ROC hides where TAR is near 1."""
    return _panels(curves, summary, "DET", "FMR (FAR)", "FNMR (1 − TAR)", error=True)


def _panels(
    curves: Curves, summary: Summary, name: str, across: str, up: str, *, error: bool
) -> Figure:
    if not curves:
        return Message(f"{name}: no run has scores yet.")
    study = summary.study
    tracks = list(dict.fromkeys(_track(method) for method in summary.methods))
    width = columns_for(len(tracks), 4)
    per_benchmark = -(-len(tracks) // width)
    palette = Palette(study)
    figure, axes = panels(len(curves) * per_benchmark, width, height=2.6, sharey="row")
    for row, (benchmark, of_benchmark) in enumerate(curves.items()):
        block = axes[row * per_benchmark : (row + 1) * per_benchmark]
        for (backbone, sampler), ax in zip(tracks, block.flat, strict=False):
            own = {m: c for m, c in of_benchmark.items() if _track(m) == (backbone, sampler)}
            _panel(ax, own, palette, summary, error=error)
            behind = f" · {backbone}" if len(study.backbones) > 1 and backbone else ""
            ax.set_title(f"{benchmark} · {sampler}{behind}")
        for ax in block.flat[len(tracks) :]:
            ax.set_axis_off()
        if error:
            _shared_floor(block.flat, of_benchmark)
    for ax in axes[:, 0]:
        ax.set_ylabel(up)
    for ax in axes[-1]:
        ax.set_xlabel(across)
    present = {m.backbone if m.is_model else m.head for own in curves.values() for m in own}
    named = [one.label for one in (*study.heads, *study.models) if one.label in present]
    legend(figure, palette, named, [])
    return figure


def _track(method: Method) -> tuple[str, str]:
    """Key of a panel: backbone and sampler, or one for all models trained elsewhere."""
    return ("", "models") if method.is_model else (method.backbone, method.sampler)


def _panel(
    ax: Axes, curves: Mapping[Method, Curve], palette: Palette, summary: Summary, *, error: bool
) -> None:
    if not curves:
        ax.text(0.5, 0.5, "no scores yet", color=MUTED, ha="center", transform=ax.transAxes)
        ax.set_xticks([])
        return
    with_band = set(curves)
    if len(curves) > MOST_BANDS:
        with_band = {max(curves, key=lambda m: float(curves[m].tar.mean()))}
    for number, (method, curve) in enumerate(curves.items()):
        name = method.backbone if method.is_model else method.head
        colour = (palette.models if method.is_model else palette.heads)[name]
        # Zero errors cannot be drawn on a logarithmic axis.
        shown = np.where(curve.tar < 1, 1 - curve.tar, np.nan) if error else curve.tar
        # Markers of different curves are at different FARs.
        every = max(1, curve.far.size // MARKERS_A_CURVE)
        (line,) = ax.plot(
            curve.far, shown, color=colour, lw=1.4, marker=palette.marker(name), ms=4,
            ls="-" if method.is_model else palette.line(method.sampler),
            markevery=(number * 3 % every, every),
        )  # fmt: skip
        hover(line, f"{summary.name(method)}. Runs: {', '.join(curve.runs)}")
        if method in with_band and curve.low is not None and curve.high is not None:
            ends = (1 - curve.high, 1 - curve.low) if error else (curve.low, curve.high)
            ax.fill_between(curve.far, *ends, color=colour, alpha=0.16, lw=0)
    ax.set_xscale("log")
    plain_ticks(ax.xaxis)
    if error:
        ax.set_yscale("log")


def _shared_floor(axes: np.ndarray, curves: Mapping[Method, Curve]) -> None:
    """End the logarithmic error axes at the smallest error drawn, and label them."""
    errors = np.concatenate([1 - curve.tar for curve in curves.values()])
    for ax in axes:
        ax.set_ylim(errors[errors > 0].min(initial=1.0) / 1.5, 1.15)
        plain_ticks(ax.yaxis)
        ax.yaxis.set_minor_locator(NullLocator())
