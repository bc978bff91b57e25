"""Small multiples: panels by head and sampler, in blocks as wide as the page."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcore.reporting.figures.canvas import columns_for, hide_unused, panels
from frcore.reporting.figures.palette import Palette
from frcore.study.config import Study


def method_grid(
    study: Study, present: Set[tuple[str, str]], xlabel: str, height: float
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """One panel per head (across) and sampler (down), in the study's order, on common axes."""
    heads = [h.label for h in study.heads if any(head == h.label for head, _ in present)]
    samplers = [s.label for s in study.samplers if any(name == s.label for _, name in present)]
    palette = Palette(study)
    n_columns = columns_for(len(heads), 5)
    blocks = -(-len(heads) // n_columns)
    rows = blocks * len(samplers)
    figure, axes = panels(rows, n_columns, height=height, sharex=True, sharey=True)
    grid = {}
    for position, head in enumerate(heads):
        block, column = divmod(position, n_columns)
        for row, sampler in enumerate(samplers):
            ax = axes[block * len(samplers) + row, column]
            grid[head, sampler] = ax
            if row == 0:
                ax.set_title(head, color=palette.heads[head])
            if column == 0:
                ax.set_ylabel(sampler)
    last = len(heads) - (blocks - 1) * n_columns
    for row in range(len(samplers)):
        hide_unused(list(axes[(blocks - 1) * len(samplers) + row]), last)
    label_bottoms(axes, len(heads), len(samplers), xlabel)
    return figure, grid


def paired_grid(
    study: Study, present: Set[str], xlabel: str
) -> tuple[Figure, dict[str, tuple[Axes, Axes]], np.ndarray]:
    """Two panels per head, one above the other, of which each row has its own vertical axis.

    Returns:
        The figure, (upper, lower) by head in the study's order, and all axes.
    """
    heads = [h.label for h in study.heads if h.label in present]
    palette = Palette(study)
    n_columns = columns_for(len(heads), 5)
    blocks = -(-len(heads) // n_columns)
    figure, axes = panels(2 * blocks, n_columns, height=1.9, sharex=True, sharey="row")
    grid = {}
    for position, head in enumerate(heads):
        block, column = divmod(position, n_columns)
        grid[head] = (axes[2 * block, column], axes[2 * block + 1, column])
        grid[head][0].set_title(head, color=palette.heads[head])
    last = len(heads) - (blocks - 1) * n_columns
    for row in (-2, -1):
        hide_unused(list(axes[row]), last)
    label_bottoms(axes, len(heads), 2, xlabel)
    return figure, grid, axes


def bare(ax: Axes) -> None:
    """Leave a panel its outlines alone: heights that are areas need no scale."""
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)


def label_bottoms(axes: np.ndarray, panels_used: int, rows: int, label: str) -> None:
    """Label the horizontal axis of the lowest panel in use of each column."""
    n_columns = axes.shape[1]
    for column in range(min(n_columns, panels_used)):
        block = (panels_used - 1 - column) // n_columns
        lowest = axes[(block + 1) * rows - 1, column]
        lowest.set_xlabel(label)
        lowest.tick_params(labelbottom=True)
