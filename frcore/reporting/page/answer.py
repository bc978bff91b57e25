"""The answer to the study's question, in sentences made from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from frcore.reporting.tables.accuracy import interval_text, percent
from frcore.reporting.tables.cost import significant
from frcore.reporting.tables.power import sentence, study_powers
from frcore.results.cost import MEMORY, comparable_identities, memory_column
from frcore.results.summary import Column, Number, Summary
from frcore.study import expansion

NAMED = 5
"""Names listed in one sentence; the rest is a count."""

OTHERS = 3
"""Names listed after a verdict; with more, only their number is given."""


@dataclass(frozen=True)
class Answer:
    """What a reader in a hurry reads.

    Attributes:
        sentences: which method is most accurate, what it costs, and how much data support this.
        details: a line per benchmark; empty where the first sentence already covers it.
    """

    sentences: tuple[str, ...]
    details: tuple[str, ...] = ()


def answer(summary: Summary) -> Answer:
    """The answer to the study's question, as far as the rows give one."""
    columns = summary.main_columns()
    details = tuple(_accuracy(summary, column) for column in columns)
    ranked = [column for column in columns if not summary.why_unmarked(column)]
    if len(details) < 2:
        (first,), details = details or ("No benchmark has results yet.",), ()
    elif len(ranked) > 1:
        first = _over_all(summary, ranked)
    elif ranked:
        first = details[columns.index(ranked[0])]
        details = tuple(line for line in details if line != first)
    else:
        first = "No benchmark has enough impostor pairs for a ranking."
    found = sentence(study_powers(summary))
    if not summary.study.trains:
        return Answer((first, f"{_basis_of_models(summary)} {found}".strip()), details)
    return Answer((first, _cost(summary), f"{_basis(summary)} {found}".strip()), details)


def listed(names: Sequence[str]) -> str:
    """Names as written in a sentence; a long list is cut short.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed("abcdefgh")
    ('a', 'a, b and c', 'a, b, c, d, e and 3 more')
    """
    if len(names) > NAMED:
        names = [*names[:NAMED], f"{len(names) - NAMED} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _over_all(summary: Summary, columns: Sequence[Column]) -> str:
    """Which methods are best, or statistically tied with the best, on every benchmark."""
    ranked = [m for m in summary.ranked
              if any(summary.cell(m, c).value is not None for c in columns)]  # fmt: skip
    models = [model.label for model in summary.study.models] if summary.study.trains else []
    beside = f" Models trained elsewhere are not ranked: {listed(models)}." if models else ""
    if not ranked:
        return f"No run of the study has results yet.{beside}"
    if len(ranked) == 1:
        return f"{summary.name(ranked[0])} is the only one with results.{beside}"
    on_top = dict.fromkeys(map(summary.name, ranked), 0)
    for column in columns:
        for difference in summary.differences(column):
            on_top[summary.name(difference.method)] += difference.verdict in (
                "best", "not told apart",
            )  # fmt: skip
    return over_all(on_top, len(columns), "methods" if summary.study.trains else "models")


def over_all(on_top: Mapping[str, int], count: int, kind: str) -> str:
    """Which methods are best, or statistically tied with the best, on every benchmark.

    Args:
        on_top: name -> number of benchmarks; two names or more.
        count: number of benchmarks in all.
        kind: what the names are, in the plural.

    >>> over_all({"a": 3, "b": 1}, 3, "methods")
    'Of 2 methods, only a is best, or statistically tied with the best, on all 3 benchmarks.'
    """
    benchmarks = f"all {count} benchmarks" if count > 2 else "both benchmarks"
    leaders = [name for name, led in on_top.items() if led == count]
    others = [name for name in on_top if name not in leaders]
    if not others:
        return (
            f"On {benchmarks}, {f'all {len(on_top)}' if len(on_top) > 2 else 'both'} {kind} are "
            "statistically tied: at this study's size, their differences cannot be distinguished "
            "from noise."
        )
    if not leaders:
        most = max(on_top.values())
        names = [name for name, led in on_top.items() if led == most]
        return (
            f"None of the {len(on_top)} {kind} is best, or statistically tied with the best, on "
            f"{benchmarks}; {listed(names)} {'are' if len(names) > 1 else 'is'} on {most}."
        )
    if len(leaders) == 1:
        return (
            f"Of {len(on_top)} {kind}, only {leaders[0]} is best, or statistically tied with the "
            f"best, on {benchmarks}."
        )
    few = len(others) < min(len(leaders), NAMED)
    return (
        f"On {benchmarks}, {len(leaders)} of {len(on_top)} {kind} are best or statistically tied "
        f"with the best: {f'all but {listed(others)}' if few else listed(leaders)}."
    )


def _accuracy(summary: Summary, column: Column) -> str:
    if few := summary.why_unmarked(column):
        return f"On {column.benchmark}, methods are not ranked: {few}."
    differences = summary.differences(column)
    found = [
        f"{summary.name(method)} {_number_text(number)}"
        for method in summary.methods
        if method not in summary.ranked
        and (number := summary.cell(method, column)).value is not None
    ]
    beside = f" Trained elsewhere, on other data: {listed(found)}." if found else ""
    if not differences:  # only the models trained elsewhere have results so far
        return f"On {column.benchmark}, no run has results yet.{beside}"
    best = differences[0].method
    metric = "accuracy" if column.metric == "accuracy" else column.text
    value = _number_text(summary.cell(best, column))
    start = f"On {column.benchmark}, {summary.name(best)}"
    if len(differences) == 1:
        return f"{start} is the only one with results: {metric} {value}.{beside}"
    groups = {
        phrase: [summary.name(d.method) for d in differences if d.verdict == verdict]
        for phrase, verdict in (("statistically tied with", "not told apart"), ("above", "lower"),
                                ("not compared with", "not compared"))
    }  # fmt: skip
    parts = [f"{start} has the highest {metric}, {value}"]
    for phrase, names in groups.items():
        if names:
            everyone = len(names) == len(differences) - 1
            many = f"{'all ' if everyone else ''}{len(names)} others"
            parts.append(f"{phrase} {many if len(names) > OTHERS else listed(names)}")
    return "; ".join(parts) + "." + beside


def _number_text(number: Number) -> str:
    return f"{percent(number.value or 0.0)}\u00a0% {interval_text(number)}".strip()


def _cost(summary: Summary) -> str:
    identities = comparable_identities(summary.rows)
    if identities is None:
        return "Speed and memory were not measured."
    usable = summary.rows.usable("measurement")
    at = usable[(usable["identities"] == identities) & usable["step_ms"].notna()]
    in_order = at.sort_values("step_ms", kind="stable")
    (fast, fast_name), (slow, slow_name) = (
        (f"{significant(row['step_ms'])}\u00a0ms", f"{row['head']} + {row['sampler']}")
        for row in (in_order.iloc[0], in_order.iloc[-1])
    )
    takes = f"takes between {fast} ({fast_name}) and {slow} ({slow_name})"
    if len(at) == 1:
        takes = f"of {fast_name} takes {fast}"
    text = f"At {identities:,} identities, a training step {takes}"
    column = memory_column(at)
    if column is not None:
        ends = dict.fromkeys((significant(at[column].min()), significant(at[column].max())))
        text += f", with {' to '.join(ends)} MiB of {MEMORY[column]}"
    failed = int((summary.rows.measurement["status"] == "oom").sum())
    text += f"; {failed} measurement{'s' * (failed > 1)} ran out of memory" if failed else ""
    disturbed = int(at["disturbed"].notna().sum())
    if disturbed:
        text += (
            f"; {disturbed} of the {len(at)} measurements were disturbed, for example by other "
            "programs, which may explain differences in time"
        )
    return f"{text}."


def _basis_of_models(summary: Summary) -> str:
    done = summary.rows.usable("evaluation")["run"].nunique()
    return (
        f"Nothing was trained: this is based on {done} of {len(summary.study.models)} models "
        "trained elsewhere, used as they are, so how much of a difference comes from their "
        "training data, backbones and seeds is unknown."
    )


def _basis(summary: Summary) -> str:
    status: pd.Series = summary.rows.training["status"]
    planned, failed = len(expansion.runs(summary.study)), int((status == "failed").sum())
    text = f"This is based on {int((status == 'ok').sum())} of {planned} training runs"
    text += f" ({failed} failed)" if failed else ""
    seeds = len(summary.seeds_averaged)
    if not seeds:
        return f"{text}."
    if seeds == 1:
        return (
            f"{text} with one seed each, so how much of a difference is due to the seed is unknown."
        )
    return (
        f"{text}, {seeds} seeds per method. Methods are called statistically tied when the "
        "interval of their difference contains zero: the difference may be noise."
    )
