"""All figures of a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from frcore.reporting import outputs
from frcore.reporting.figures import angles, classes, cost, identities, samplers
from frcore.reporting.figures import drift as plot_drift
from frcore.reporting.figures import roc as plot_roc
from frcore.reporting.figures import roofline as plot_roofline
from frcore.reporting.figures import scaling as plot_scaling
from frcore.reporting.figures import training as plot_training
from frcore.reporting.figures.canvas import Message, look, save
from frcore.reporting.figures.curves import Curve, benchmark_curves
from frcore.reporting.figures.palette import MUTED
from frcore.reporting.figures.selection import selection
from frcore.results.summary import Method, Summary
from frcore.study import expansion

EVERY_METHOD = ("accuracy_cost", "sampler_curves")
"""Figures with a point for each method, which never omit any."""


def curve_jobs(summary: Summary) -> dict[str, Callable[[], dict[Method, Curve]]]:
    """Functions that compute the ROC curves of each benchmark shown, for two figures."""
    some, _ = selection(summary)
    return {name: partial(benchmark_curves, some, name) for name in some.study.benchmarks}


def figure_jobs(
    summary: Summary, root: Path, rates: plot_roc.Curves
) -> dict[str, Callable[[], Drawn]]:
    """Functions that draw each figure of `frcore.reporting.outputs.FIGURES` and write it as SVG.

    Args:
        summary: the study's numbers and scores.
        root: `results/<study>`.
        rates: results of `curve_jobs`.

    Returns:
        By name.
    """
    rows = summary.rows
    some, note = selection(summary)
    fewer, fewer_note = selection(summary, all_methods=True)
    notes = dict.fromkeys(outputs.FIGURES, note) | dict.fromkeys(EVERY_METHOD, fewer_note)
    few = some.study
    finished = expansion.runs(few)
    curves = {run: lines for run, lines in rows.found.events.items() if run in finished}
    center_pairs = classes.center_pairs(few, rows)
    rates = {name: curves for name, curves in rates.items() if curves}
    draw: dict[str, Callable[[], Figure]] = {
        "accuracy_cost": lambda: cost.accuracy_cost(fewer),
        "roc": lambda: plot_roc.roc(rates, some),
        "det": lambda: plot_roc.det(rates, some),
        "sampler_curves": lambda: samplers.sampler_curves(fewer),
        "memory": lambda: identities.memory(few, rows),
        "throughput": lambda: identities.throughput(few, rows),
        "roofline": lambda: plot_roofline.roofline(few, rows),
        "scaling": lambda: plot_scaling.scaling(few, rows),
        "training": lambda: plot_training.training(few, curves),
        "head_state": lambda: plot_training.head_state(few, curves),
        "angle_distributions": lambda: angles.angle_distributions(few, curves),
        "angle_histograms": lambda: angles.angle_histograms(few, curves),
        "center_angles": lambda: plot_training.center_angles(few, curves),
        "center_cosines": lambda: classes.center_cosines(few, center_pairs),
        "long_tail": lambda: classes.long_tail(few, rows),
        "drift": lambda: plot_drift.drift(few, rows),
    }
    return {name: partial(_write, name, draw[name], notes[name], root) for name in outputs.FIGURES}


@dataclass(frozen=True)
class Drawn:
    """A figure as written.

    Attributes:
        svg: text of the file.
        absent: why it has nothing to show; else empty.
    """

    svg: str
    absent: str


def _write(name: str, draw: Callable[[], Figure], note: str, root: Path) -> Drawn:
    with look():
        figure = draw()
        absent = figure.message if isinstance(figure, Message) else ""
        if note and not absent:
            figure.suptitle(note, x=0.01, ha="left", fontsize="small", color=MUTED)
        return Drawn(save(figure, outputs.paths(root)[f"figure_{name}_svg"]), absent)
