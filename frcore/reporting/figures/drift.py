"""How far embeddings drift while they wait in a queue, with and without compensation."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from frcore.reporting.figures.canvas import Message, put_legend, small_multiples
from frcore.reporting.figures.marks import short_number
from frcore.reporting.figures.palette import INK, MUTED, Palette, present
from frcore.results.rows import Rows
from frcore.results.rows_diagnostics import DRIFT_UNITS
from frcore.study.config import Study
from frcore.study.parts import Component


def drift(study: Study, rows: Rows) -> Figure:
    """Mean cosine to the present network's embeddings against age; heads × starts."""
    frame = rows.usable("diagnostics")
    frame = frame[frame["quantity"].isin(list(DRIFT_UNITS))]
    if frame.empty or study.training is None:
        return Message("Drift of queued embeddings: not recorded (training.drift).")
    palette, heads = Palette(study), present(study.heads, frame["head"])
    starts = {f"{100 * start:g} % of training": start for start in sorted(frame["start"].unique())}
    of_row = {f"{head}\nmean cosine": head for head in heads}
    figure, grid = small_multiples(
        list(starts),
        list(of_row),
        limit=4,
        height=1.9,
        xlabel="age [steps]",
        sharex=True,
        sharey="row",
    )
    ages = sorted(frame["age"].unique())
    for (title, row), ax in grid.items():
        head = of_row[row]
        own = frame[(frame["head"] == head) & (frame["start"] == starts[title])]
        for quantity, colour in (("queued", MUTED), ("compensated", palette.heads[head])):
            part = own[own["quantity"] == quantity].groupby("age")["value"]
            over_runs = part.agg(["mean", "min", "max"])
            x = over_runs.index.to_numpy()
            ax.plot(x, over_runs["mean"], color=colour, lw=1.3, marker=".")
            ax.fill_between(x, over_runs["min"], over_runs["max"], color=colour, alpha=0.18, lw=0)
        for steps in _oldest(study):
            ax.axvline(steps, color=INK, lw=0.7, ls=":")
        ax.set_xscale("log")
        ax.set_xticks(ages)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    first = palette.heads[heads[0]]
    lines = [
        Line2D([], [], color=MUTED, marker=".", label="as it was queued (grey)"),
        Line2D([], [], color=first, marker=".", label="compensated (head's colour)"),
        Line2D([], [], color=INK, lw=0.7, ls=":", label="oldest row of a queue"),
    ]
    put_legend(figure, lines[: 3 if _oldest(study) else 2])
    return figure


def _oldest(study: Study) -> list[float]:
    """Age in steps of the oldest row of each queue of the study."""
    assert study.training is not None, "the study trains"
    sizes = {size for sampler in study.samplers if (size := _queue(sampler))}
    return sorted(size / study.training.batch_size for size in sizes)


def _queue(sampler: Component) -> int:
    return int(sampler.parameters.get("size", 0)) if sampler.name == "broadface" else 0
