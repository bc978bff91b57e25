"""The effect of a sampler's parameter on accuracy: sampling-rate curves, queue-size curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from frcore.reporting.figures.canvas import Message, hover, legend, panels
from frcore.reporting.figures.marks import bars, short_number
from frcore.reporting.figures.palette import Palette
from frcore.results.summary import Column, Method, Summary
from frcore.study.parts import Component
from frcore.study.section import dotted

NEUTRAL = {"rate": 1.0, "size": 0.0}
"""The value of a parameter at which the sampler is equivalent to `full`."""


YAML = {"True": "true", "False": "false"}
"""As a study has it."""


@dataclass(frozen=True)
class Sweep:
    """Samplers that differ in only one number.

    Attributes:
        name: of the sampler, including the one it wraps.
        parameter: which number, such as `rate` or `over.rate`.
        labels: sampler label at each value, in increasing order of values.
        rest: the other parameters given, which are the same at each value.
    """

    name: str
    parameter: str
    labels: Mapping[float, str]
    rest: Mapping[str, str]

    def title(self, among: Sequence[Sweep]) -> str:
        """What varies; and with which other parameters, where another sweep is of the same."""
        same = [one for one in among if (one.name, one.parameter) == (self.name, self.parameter)]
        apart = [f"{key}: {YAML.get(value, value)}" for key, value in self.rest.items()
                 if any(one.rest.get(key) != value for one in same)]  # fmt: skip
        return ", ".join([f"{self.parameter} of {self.name}", *apart])


def sweeps(samplers: tuple[Component, ...]) -> list[Sweep]:
    """Every number in which two or more samplers of a study differ, all else being equal.

    >>> half, tenth = ({"name": "partial_fc", "rate": r, "label": f"p{r}"} for r in (0.5, 0.1))
    >>> found = sweeps(tuple(Component.model_validate(s) for s in (half, "full", tenth)))
    >>> [(sweep.parameter, dict(sweep.labels)) for sweep in found]
    [('rate', {0.1: 'p0.1', 0.5: 'p0.5'})]
    """
    groups: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[float, str]] = {}
    for sampler in samplers:
        flat = dotted(sampler.parameters, without=["label"])
        for parameter, value in flat.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            rest = sorted((k, repr(v)) for k, v in flat.items() if k != parameter)
            key = (_full_name(sampler), parameter, tuple(rest))
            groups.setdefault(key, {}).setdefault(float(value), sampler.label)
    return [
        Sweep(name, parameter, dict(sorted(labels.items())), dict(rest))
        for (name, parameter, rest), labels in groups.items()
        if len(labels) > 1
    ]


def _full_name(sampler: Component) -> str:
    over = sampler.parameters.get("over")
    if over is None:
        return sampler.name
    inner = Component.model_validate(over)
    return f"{sampler.name} over {_full_name(inner)}"


def sampler_curves(summary: Summary) -> Figure:
    """Each benchmark's main number against each parameter that varies between samplers."""
    study = summary.study
    found, mains = sweeps(study.samplers), summary.main_columns()
    if not found:
        return Message(
            "Sampler curves: no two samplers of this study differ in only one number, such as "
            "partial_fc at several rates."
        )
    if not mains:
        return Message("Sampler curves: no benchmark has results yet.")
    palette = Palette(study)
    figure, axes = panels(len(found), len(mains), sharey="col")
    for sweep, row in zip(found, axes, strict=True):
        for column, ax in zip(mains, row, strict=True):
            _panel(ax, summary, sweep, column, palette)
            ax.set_xlabel(sweep.title(found))
            ax.set_ylabel(f"{column.text} [%]")
            if sweep is found[0]:
                ax.set_title(column.title)
    legend(figure, palette, [head.label for head in study.heads], [])
    return figure


def _panel(ax: Axes, summary: Summary, sweep: Sweep, column: Column, palette: Palette) -> None:
    study = summary.study
    values = list(sweep.labels)
    full = next((s.label for s in study.samplers if s.name == "full"), None)
    neutral = NEUTRAL.get(sweep.parameter.rpartition(".")[2])
    is_log = min(values) > 0 and max(values) > 20 * min(values)
    # Points of several heads at the same position would hide each other's intervals.
    span = np.log(max(values) / min(values)) if is_log else max(values) - min(values)
    tracks = [(b.label, h.label) for b in study.backbones for h in study.heads]
    for place, (backbone, head) in enumerate(tracks):
        aside = 0.012 * span * (place - (len(tracks) - 1) / 2)
        numbers = {
            value * np.exp(aside) if is_log else value + aside: number
            for value, label in sweep.labels.items()
            if (number := summary.cell(Method(backbone, head, label), column)).value is not None
        }
        drawn = bars(
            ax, np.array(list(numbers)), list(numbers.values()), palette.heads[head],
            marker=palette.marker(head), ms=5, elinewidth=1, lw=1.2, alpha=0.9,
        )  # fmt: skip
        hover(drawn.lines[0], head)
        if full is not None and neutral is not None and neutral not in sweep.labels:
            reference = summary.cell(Method(backbone, head, full), column).value
            if reference is not None:
                ax.axhline(100 * reference, color=palette.heads[head], lw=1, ls=":", alpha=0.8)
    if is_log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(values)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
