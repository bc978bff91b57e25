"""Figures of the roofline: measured step times over the time that a step needs at least."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore.planning import Device, Plan, Shape, plan_step
from frcore.planning.measured import Measured
from frcore.reporting.figures.canvas import columns_for, hide_unused, message, panels, put_legend
from frcore.reporting.figures.identities import against_identities
from frcore.reporting.figures.palette import INK, MUTED
from frcore.reporting.figures.planned import POINTS, known_device, planned_shape
from frcore.reporting.figures.ticks import plain_log
from frcore.results.rows import Rows
from frcore.study.config import Study

SUBJECTS = {
    "triton": ("#d55e00", "o"),
    "streamed": ("#0072b2", "s"),
    "dense": ("#332288", "D"),
    "naive": ("#777777", "^"),
    "insightface": ("#009e73", "v"),
}
"""Colour and marker of what a session measures; anything else is black."""


def roofline(study: Study, rows: Rows) -> Figure:
    """A study's step times against identities, one panel per sampler, over the planned bound."""
    usable = rows.usable("measurement")
    if study.measurement is None or usable["step_ms"].notna().sum() == 0:
        return message("Step time over the roofline: not measured.")
    found = map(known_device, usable["gpu_name"].dropna().unique())
    known = list({device.name: device for device in found if device is not None}.values())
    given = study.measurement
    samplers = {sampler.label: sampler for sampler in study.samplers}

    def bound(ax: Axes, sampler: str) -> tuple[Line2D, ...]:
        line = planned_shape(samplers[sampler], given)
        if len(known) != 1 or line is None:
            where = "this device" if not known else "this sampler"
            ax.annotate(f"nothing is planned for {where}", (0.97, 0.04), ha="right",
                        xycoords="axes fraction", fontsize="x-small", color=MUTED)  # fmt: skip
        else:
            draw_bound(ax, line, known[0], (min(given.identities), max(given.identities)))
        return ()

    return against_identities(study, rows, "step_ms", "time of one step [ms]", bound)


def draw_bound(ax: Axes, shape: Shape, device: Device, limits: tuple[float, float]) -> None:
    """Draw the planned time of `shape` for any number of identities between the limits."""
    identities = np.geomspace(limits[0], limits[1], POINTS).round().astype(int)
    plans = [plan_step(dataclasses.replace(shape, identities=int(n)), device) for n in identities]
    ax.plot(identities, [plan.step_ms for plan in plans], color=MUTED, lw=3, alpha=0.35, zorder=1)
    ax.annotate(
        f"at least, {device.name}, {shape.precision},\nstate {shape.state}", (0.97, 0.04),
        xycoords="axes fraction", ha="right", fontsize="x-small", color=MUTED,
    )  # fmt: skip


def session_roofline(plan: Plan, measured: Sequence[Measured]) -> Figure:
    """Step times of a GPU session over the bound, one panel per sampling rate.

    Args:
        plan: its batch, dimension, state and device are the line's; those of its batch and
            dimension are the points.
        measured: rows of that device.
    """
    shape, device = plan.shape, plan.device
    alike = [
        row
        for row in measured
        if (row.shape.batch, row.shape.dim) == (shape.batch, shape.dim) and shape.gpus == 1
    ]
    rates = sorted({shape.rate, *(row.shape.rate for row in alike)}, reverse=True)
    n_columns = columns_for(len(rates), 3)
    figure, axes = panels(-(-len(rates) // n_columns), n_columns, sharex=True, sharey=True,
                          height=3.0)  # fmt: skip
    sizes = [row.shape.identities for row in alike] + [shape.identities]
    limits = (min(1e5, *sizes) / 1.5, max(1e7, *sizes) * 1.5)
    for ax, rate in zip(axes.flat, rates, strict=False):
        ax.set_title("full softmax" if rate == 1 else f"rate {rate:g}")
        draw_bound(ax, dataclasses.replace(shape, rate=rate, backend="fused"), device, limits)
        _points(ax, [row for row in alike if row.shape.rate == rate])
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(*limits)
        plain_log(ax)
        ax.set_xlabel("identities")
    axes.flat[0].set_ylabel("time of one step [ms]")
    hide_unused(list(axes.flat), len(rates))
    _legend(figure, alike)
    return figure


def _points(ax: Axes, rows: Sequence[Measured]) -> None:
    if not rows:
        ax.annotate("no measured step", (0.97, 0.04), xycoords="axes fraction", ha="right",
                    fontsize="x-small", color=MUTED)  # fmt: skip
    for row in rows:
        colour, marker = SUBJECTS.get(row.subject, (INK, "x"))
        ax.plot(row.shape.identities, row.step_ms, color=colour, marker=marker, ls="", alpha=0.8)


def _legend(figure: Figure, rows: Sequence[Measured]) -> None:
    handles = []
    for subject in sorted({row.subject for row in rows}):
        colour, marker = SUBJECTS.get(subject, (INK, "x"))
        handles.append(Line2D([], [], color=colour, marker=marker, ls="", label=subject))
    put_legend(figure, handles)
