"""Where the noise of a study comes from, and which differences it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import pandas as pd

from frcore.evaluation.intervals.detectable import POWER
from frcore.reporting.tables.table import Cell, Column, Heading, Table, text_column
from frcore.results import column
from frcore.results.frames import Row
from frcore.results.power import Power, powers
from frcore.results.summary import Summary

PARTS = ("seeds", "people", "pairs")
RECORD = [
    *(field.name for field in fields(column.Column)), "methods", "seeds", "people", "trials",
    "paired", *(f"variance_{name}" for name in PARTS), "freedom", "level", "detectable",
    *(f"halved_by_{name}" for name in PARTS),
]  # fmt: skip
"""Columns of the CSV."""

FOUND = f"{round(10 * POWER)} times in 10"

NAMED = 2
"""Benchmarks named in the sentence."""

NONE_YET = (
    "No number has results of two methods with scores, so it is not known which difference would "
    "be found."
)


def study_powers(summary: Summary) -> list[Power]:
    """What the study can see in its main numbers."""
    columns = [one for one in summary.primary() if not summary.why_unmarked(one)]
    return powers(summary.scores, columns)


def power_table(found: Sequence[Power]) -> Table:
    """One row per number: parts of the variance, the difference that is found, what halves it."""
    columns: list[Column[Power]] = [
        text_column("number", lambda one: one.column.title),
        (Heading("methods × seeds"), lambda one: f"{one.methods} × {one.noise.seeds}"),
        (Heading("people"), lambda one: _count(one.people)),
        (Heading("pairs"), lambda one: _count(one.trials)),
        *((Heading(name, "variance [%]"), _share(name)) for name in PARTS),
        (Heading("found [points]"), lambda one: points(one.detectable)),
        *((Heading(name, "halved by"), _halved(name)) for name in PARTS),
    ]  # fmt: skip
    data = pd.DataFrame([_record(one) for one in found], columns=RECORD)
    return Table.of("power", "Which differences this study finds", columns, found, _notes(found),
                    data)  # fmt: skip


def sentence(found: Sequence[Power]) -> str:
    """The detectable differences in words; empty if none is known.

    The first number of each benchmark stands for it.
    """
    firsts = {one.column.benchmark: one for one in reversed(found)}
    chosen = [firsts[name] for name in dict.fromkeys(one.column.benchmark for one in found)]
    if not chosen:
        return ""
    named = chosen[:NAMED]
    told = [f"{points(one.detectable)} points in {one.column.title}"
            for one in named if one.detectable <= 1]  # fmt: skip
    blind = [one.column.title for one in named if one.detectable > 1]
    more = f" ({len(chosen) - NAMED} more benchmarks in the table)" if len(chosen) > NAMED else ""
    known = all(one.noise.training is not None for one in chosen)
    seeds = "" if known else ", as far as test people are concerned: what seeds do is unknown"
    said = [f"A loss of {', or of '.join(told)}, would be found {FOUND}"] if told else []
    said += [f"in {' and '.join(blind)} no loss is large enough for that"] if blind and told else []
    if not told:
        said = [f"In {' and '.join(blind)} no loss is large enough to be found {FOUND}"]
    return f"{'; '.join(said)}{seeds}{more}."


def points(value: float) -> str:
    """A difference in points; more than there are is said as that.

    >>> points(0.0312), points(2.0)
    ('3.1', '> 100')
    """
    return "> 100" if value > 1 else f"{100 * value:.1f}"


def _count(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _share(name: str) -> Callable[[Power], Cell]:
    def cell(one: Power) -> Cell:
        unknown = name == "seeds" and one.noise.training is None
        if unknown or (name == "pairs" and not one.paired):
            return Cell("not known")
        return Cell(f"{100 * one.shares[name]:.0f}")

    return cell


def _halved(name: str) -> Callable[[Power], Cell]:
    def cell(one: Power) -> Cell:
        value = one.halved_by[name]
        if value is None or (name == "pairs" and not one.paired):
            return Cell("–")
        if name == "people" and one.people is not None:
            return Cell(f"{round(one.people * value):,}")
        return Cell(f"{value:g}" if name == "seeds" else f"× {value:.1f}")

    return cell


def _record(one: Power) -> Row:
    """A row of the CSV; variances in squared proportions."""
    noise = one.noise
    halved = {f"halved_by_{name}": value for name, value in one.halved_by.items()}
    return {
        **vars(one.column), "methods": one.methods, "seeds": noise.seeds, "people": one.people,
        "trials": one.trials, "paired": one.paired,
        **{f"variance_{name}": part for name, part in noise.parts.items()},
        "freedom": noise.freedom, "level": one.level, "detectable": one.detectable, **halved,
    }  # fmt: skip


def _notes(found: Sequence[Power]) -> list[str]:
    if not found:
        return [NONE_YET]
    level = ", ".join(dict.fromkeys(f"{100 * one.level:.2f} %" for one in found))
    notes = [
        "Variance of the difference of two methods, each the mean over its seeds, on average over "
        "all two methods. Seeds: what another training is, on whatever people. People: what pairs "
        "have in common that share a person. Pairs: the rest.",
        f"Found: the true difference that an interval at {level} leaves 0 out of {FOUND}; at that "
        "level those of all methods against the best hold jointly at 95 % (Bonferroni).",
        "Halved by: so many seeds per method, so many people with as many pairs each, or so many "
        "times the pairs of the same people, each by itself; a dash where that cannot do it.",
    ]
    if any(not one.paired for one in found):
        notes.append(
            "Kept rows have no scores: people, with the pairs in it, are those of two independent "
            "test sets, which is too much where both methods find the same pairs hard."
        )
    return notes
