"""All figures of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from frcore.reporting import (
    outputs,
    plot_angles,
    plot_classes,
    plot_cost,
    plot_identities,
    plot_roc,
    plot_roofline,
    plot_samplers,
    plot_training,
)
from frcore.reporting.canvas import Message, look, save
from frcore.reporting.summary import Summary


def write_figures(summary: Summary, root: Path) -> dict[str, str]:
    """Draw every figure of `frcore.reporting.outputs.FIGURES` and write it as SVG and PNG.

    Args:
        summary: the study's numbers and scores.
        root: `results/<study>`.

    Returns:
        Of the figures that have nothing to show: name -> why.
    """
    study, rows = summary.study, summary.rows
    curves = plot_training.read_curves(study, root, rows)
    center_pairs = plot_classes.read_center_pairs(study, root, rows)
    rates = plot_roc.read_curves(summary)
    draw: dict[str, Callable[[], Figure]] = {
        "accuracy_cost": lambda: plot_cost.accuracy_cost(study, rows, summary),
        "roc": lambda: plot_roc.roc(study, rates, summary),
        "det": lambda: plot_roc.det(study, rates, summary),
        "sampler_curves": lambda: plot_samplers.sampler_curves(study, summary),
        "memory": lambda: plot_identities.memory(study, rows),
        "throughput": lambda: plot_identities.throughput(study, rows),
        "roofline": lambda: plot_roofline.roofline(study, rows),
        "training": lambda: plot_training.training(study, curves),
        "head_state": lambda: plot_training.head_state(study, curves),
        "angle_distributions": lambda: plot_angles.angle_distributions(study, curves),
        "angle_histograms": lambda: plot_angles.angle_histograms(study, curves),
        "center_angles": lambda: plot_angles.center_angles(study, curves),
        "center_cosines": lambda: plot_classes.center_cosines(study, center_pairs),
        "long_tail": lambda: plot_classes.long_tail(study, rows),
    }
    files = outputs.paths(root)
    absent = {}
    with look():
        for name in outputs.FIGURES:
            figure = draw[name]()
            if isinstance(figure, Message):
                absent[name] = figure.message
            save(figure, files[f"figure_{name}_svg"], files[f"figure_{name}_png"])
    return absent
