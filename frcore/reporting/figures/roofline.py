"""Roofline figures: measured step times and the minimum time a step needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.planning import Device, Plan, Workload, plan_step
from frcore.planning.measured import Measured
from frcore.reporting.figures.canvas import Message, look, put_legend, save, small_multiples
from frcore.reporting.figures.identities import against_identities
from frcore.reporting.figures.marks import log_axes
from frcore.reporting.figures.palette import INK, MUTED
from frcore.reporting.figures.planned import POINTS, known_device, planned_workload
from frcore.results.rows import Rows
from frcore.study.config import Study

SUBJECTS = {
    "triton": ("#d55e00", "o"),
    "streamed": ("#0072b2", "s"),
    "dense": ("#332288", "D"),
    "naive": ("#777777", "^"),
    "insightface": ("#009e73", "v"),
}
"""Colour and marker of a session's subjects; anything else is black."""


def roofline(study: Study, rows: Rows) -> Figure:
    """A study's step times against identities, one panel per sampler, with the planned bound."""
    usable, given = rows.usable("measurement"), study.measurement
    if given is None or usable["step_ms"].isna().all():
        return Message("Step time and roofline: not measured.")
    found = map(known_device, usable["gpu_name"].dropna().unique())
    known = list({device.name: device for device in found if device is not None}.values())
    samplers = {sampler.label: sampler for sampler in study.samplers}

    def bound(ax: Axes, sampler: str) -> tuple[Line2D, ...]:
        line = planned_workload(samplers[sampler], given)
        if len(known) != 1 or line is None:
            _remark(ax, f"nothing is planned for this {'sampler' if known else 'device'}")
        else:
            _draw_bound(ax, line, known[0], (min(given.identities), max(given.identities)))
        return ()

    return against_identities(study, rows, "step_ms", "time of one step [ms]", bound)


def _remark(ax: Axes, text: str) -> None:
    ax.annotate(text, (0.97, 0.04), xycoords="axes fraction", ha="right", fontsize="x-small",
                color=MUTED)  # fmt: skip


def _draw_bound(ax: Axes, workload: Workload, device: Device, limits: tuple[float, float]) -> None:
    """Draw the planned time of `workload` for any number of identities between the limits."""
    identities = np.geomspace(limits[0], limits[1], POINTS).round().astype(int)
    plans = [
        plan_step(dataclasses.replace(workload, identities=int(n)), device) for n in identities
    ]
    ax.plot(identities, [plan.step_ms for plan in plans], color=MUTED, lw=3, alpha=0.35, zorder=1)
    _remark(ax, f"lower bound, {device.name}, {workload.precision},\nstate {workload.state}")


def session_roofline(plan: Plan, measured: Sequence[Measured]) -> Figure:
    """Step times of a GPU session over the bound, one panel per sampling rate.

    Args:
        plan: the line is drawn for its batch, dimension, state and device, the points are the rows
            with its batch and dimension.
        measured: rows of that device.
    """
    workload, device = plan.workload, plan.device
    alike = [
        row
        for row in measured
        if (row.workload.batch, row.workload.dim) == (workload.batch, workload.dim)
        and workload.gpus == 1
    ]
    found = sorted({workload.rate, *(row.workload.rate for row in alike)}, reverse=True)
    rates = {"full softmax" if rate == 1 else f"rate {rate:g}": rate for rate in found}
    figure, grid = small_multiples(
        list(rates), ("time of one step [ms]",), limit=3, height=3.0, xlabel="identities",
        sharex=True, sharey=True,
    )  # fmt: skip
    sizes = [row.workload.identities for row in alike] + [workload.identities]
    limits = (min(1e5, *sizes) / 1.5, max(1e7, *sizes) * 1.5)
    looks = {row.subject: SUBJECTS.get(row.subject, (INK, "x")) for row in alike}
    for (title, _), ax in grid.items():
        line = dataclasses.replace(workload, rate=rates[title], backend="fused")
        _draw_bound(ax, line, device, limits)
        own = [row for row in alike if row.workload.rate == rates[title]]
        for row in own:
            colour, marker = looks[row.subject]
            ax.plot(row.workload.identities, row.step_ms, color=colour, marker=marker, ls="",
                    alpha=0.8)  # fmt: skip
        if not own:
            _remark(ax, "no measured steps")
    log_axes(grid.values(), limits)
    put_legend(figure, [Line2D([], [], color=colour, marker=marker, ls="", label=subject)
                        for subject, (colour, marker) in sorted(looks.items())])  # fmt: skip
    return figure


def write_figure(plan: Plan, rows: Sequence[Measured], path: Path) -> None:
    """Draw measured steps over the bound, as SVG and PNG.

    Raises:
        UserError: the file name does not end in .svg, or belongs to another file.
    """
    if path.suffix != ".svg":
        raise UserError(f"--figure {path}; give a name that ends in .svg; a PNG is written with it")
    png = path.with_suffix(".png")
    refuse_other_file(path, "frcore", "a figure of frcore")
    if not path.exists():  # a PNG does not identify its program, but the SVG next to it does
        refuse_other_file(png, None, "beside a figure of frcore")
    with look():
        save(session_roofline(plan, rows), path, png)
