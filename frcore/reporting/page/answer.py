"""What was asked and the answer, in sentences made from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from frcore.reporting.tables.accuracy import interval_text, percent
from frcore.reporting.tables.cost import significant
from frcore.results.cost import MEMORY, comparable_identities, memory_column
from frcore.results.summary import Column, Method, Summary
from frcore.study import expansion

NAMED = 5
"""So many are named in a sentence; of more, the number."""


@dataclass(frozen=True)
class Answer:
    """What a reader in a hurry reads.

    Attributes:
        sentences: who is most accurate, what it costs, and what all of it rests on.
        details: a line per benchmark; empty where the first sentence says the same.
    """

    sentences: tuple[str, ...]
    details: tuple[str, ...] = ()


def answer(summary: Summary) -> Answer:
    """The answer to the study's question as far as the rows have one."""
    columns = summary.main_columns()
    details = tuple(_accuracy(summary, column) for column in columns)
    ranked = [column for column in columns if not summary.why_unmarked(column)]
    if len(details) < 2:
        (first,), details = details or ("No benchmark has a number yet.",), ()
    elif len(ranked) > 1:
        first = _over_all(summary, ranked)
    elif ranked:
        first = details[columns.index(ranked[0])]
        details = tuple(line for line in details if line != first)
    else:
        first = "No benchmark has the impostors that a ranking needs."
    if not summary.study.trains:
        return Answer((first, _basis_of_models(summary)), details)
    return Answer((first, _cost(summary), _basis(summary)), details)


def _over_all(summary: Summary, columns: Sequence[Column]) -> str:
    """Who is the best, or not told apart from the best, on every benchmark."""
    ranked = [m for m in summary.ranked if any(_valued(summary, m, c) for c in columns)]
    if not ranked:
        return f"No run of the study has a number yet.{_elsewhere(summary)}"
    if len(ranked) == 1:
        return f"{summary.name(ranked[0])} is the only one with a number.{_elsewhere(summary)}"
    on_top = {
        summary.name(method): sum(
            _verdict(summary, method, column) in ("best", "not told apart") for column in columns
        )
        for method in ranked
    }
    kind = "methods" if summary.study.trains else "models"
    return over_all(on_top, len(columns), kind)


def over_all(on_top: Mapping[str, int], count: int, kind: str) -> str:
    """Who is the highest, or not told apart from the highest, on every benchmark.

    Args:
        on_top: name -> on how many benchmarks; two names or more.
        count: of the benchmarks.
        kind: what they are, in the plural.

    >>> over_all({"a": 3, "b": 1}, 3, "methods")
    'Of 2 methods, a alone is the highest, or not told apart from the highest, on all 3 benchmarks.'
    """
    benchmarks = f"all {count} benchmarks" if count > 2 else "both benchmarks"
    leaders = [name for name, led in on_top.items() if led == count]
    others = [name for name in on_top if name not in leaders]
    if not others:
        return (
            f"On {benchmarks}, none of the {len(on_top)} {kind} is told apart from the one with "
            "the highest number: at this size the differences are noise."
        )
    if not leaders:
        most = max(on_top.values())
        names = [name for name, led in on_top.items() if led == most]
        verb = "are" if len(names) > 1 else "is"
        return (
            f"None of the {len(on_top)} {kind} is the highest, or not told apart from the highest, "
            f"on {benchmarks}: {_few(names, '')} {verb} on {most}."
        )
    if len(leaders) == 1:
        return (
            f"Of {len(on_top)} {kind}, {leaders[0]} alone is the highest, or not told apart from "
            f"the highest, on {benchmarks}."
        )
    start = f"On {benchmarks}, {len(leaders)} of {len(on_top)} {kind}"
    end = "are the highest or not told apart from the highest"
    if len(others) < min(len(leaders), NAMED):
        return f"{start} {end}: all but {listed(others)}."
    if len(leaders) > NAMED:
        return f"{start} {end}: {', '.join(leaders[:NAMED])} and {len(leaders) - NAMED} more."
    return f"{start} {end}: {listed(leaders)}."


def _valued(summary: Summary, method: Method, column: Column) -> bool:
    return summary.cell(method, column).value is not None


def _verdict(summary: Summary, method: Method, column: Column) -> str:
    found = (d.verdict for d in summary.differences(column) if d.method == method)
    return next(found, "without a number")


def _elsewhere(summary: Summary) -> str:
    names = [model.label for model in summary.study.models] if summary.study.trains else []
    return f" Beside the study, models trained elsewhere: {listed(names)}." if names else ""


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _accuracy(summary: Summary, column: Column) -> str:
    if few := summary.why_unmarked(column):
        return f"On {column.benchmark}, nobody is ranked: {few}."
    differences = summary.differences(column)
    if not differences:  # the models have numbers, and the study's own runs are still to come
        return f"On {column.benchmark}, no run has a number yet.{_beside(summary, column)}"
    best = differences[0].method
    number = summary.cell(best, column)
    interval = interval_text(number)
    metric = "accuracy" if column.metric == "accuracy" else column.text
    start = f"On {column.benchmark}, {summary.name(best)}"
    value = f"{percent(number.value or 0.0)}\u00a0%" + (f" {interval}" if interval else "")
    if len(differences) == 1:
        only = f"{start} is the only one with a number: {metric} {value}."
        return only + _beside(summary, column)
    by = {
        verdict: [summary.name(d.method) for d in differences if d.verdict == verdict]
        for verdict in ("not told apart", "lower", "not compared")
    }
    parts = [f"{start} has the highest {metric}, {value}"]
    if by["not told apart"]:
        everyone = not by["lower"] and not by["not compared"]
        who = _few(by["not told apart"], "all others" if everyone else "")
        parts.append(f"not told apart from {who}")
    if by["lower"]:
        everyone = not by["not told apart"] and not by["not compared"]
        parts.append(f"above {_few(by['lower'], 'all others' if everyone else '')}")
    if by["not compared"]:
        parts.append(f"not compared with {_few(by['not compared'], '')}")
    return "; ".join(parts) + "." + _beside(summary, column)


def _beside(summary: Summary, column: Column) -> str:
    """What models trained elsewhere reach, which are not ranked with the study's own."""
    found = [
        f"{summary.name(method)} {percent(number.value)}\u00a0% {interval_text(number)}".strip()
        for method in summary.methods
        if method not in summary.ranked
        and (number := summary.cell(method, column)).value is not None
    ]
    return f" Trained elsewhere, on other data: {listed(found)}." if found else ""


def _basis_of_models(summary: Summary) -> str:
    usable = summary.rows.usable("evaluation")
    done, planned = usable["run"].nunique(), len(summary.study.models)
    text = f"Nothing was trained: this rests on {done} of {planned} models trained elsewhere"
    return (
        f"{text}, each as it is, so what their training data, backbones and seeds add to a "
        "difference is not known."
    )


def _few(names: list[str], everyone: str) -> str:
    if everyone and len(names) > 2:
        return f"{everyone} ({len(names)})"
    if len(names) > NAMED:
        return f"{len(names)} others"
    return listed(names)


def _cost(summary: Summary) -> str:
    identities = comparable_identities(summary.rows)
    if identities is None:
        return "Speed and memory were not measured."
    usable = summary.rows.usable("measurement")
    at = usable[(usable["identities"] == identities) & usable["step_ms"].notna()]
    in_order = at.sort_values("step_ms", kind="stable")
    fast, slow = in_order.iloc[0], in_order.iloc[-1]
    if len(at) == 1:
        text = f"At {identities:,} identities a step of {_name(fast)} takes {_ms(fast)}"
    else:
        text = (
            f"At {identities:,} identities a step takes from {_ms(fast)} ({_name(fast)}) to "
            f"{_ms(slow)} ({_name(slow)})"
        )
    column = memory_column(at)
    if column is not None:
        least, most = significant(at[column].min()), significant(at[column].max())
        span = f"{least} to {most}" if least != most else most
        text += f", with {span} MiB of {MEMORY[column]}"
    failed = int((summary.rows.measurement["status"] == "oom").sum())
    text += f"; {failed} point{'s' if failed > 1 else ''} ran out of memory" if failed else ""
    held_up = int(at["disturbed"].notna().sum())
    if held_up:
        text += (
            f"; something else held the machine up during {held_up} of the {len(at)} "
            "measurements, so differences in time may be its doing"
        )
    return f"{text}."


def _name(row: pd.Series) -> str:
    return f"{row['head']} + {row['sampler']}"


def _ms(row: pd.Series) -> str:
    return f"{significant(row['step_ms'])}\u00a0ms"


def _basis(summary: Summary) -> str:
    study, training = summary.study, summary.rows.training
    done, planned = int((training["status"] == "ok").sum()), len(expansion.runs(study))
    text = f"This rests on {done} of {planned} training runs"
    failed = int((training["status"] == "failed").sum())
    if failed:
        text += f" ({failed} failed)"
    seeds = len(summary.seeds_averaged)
    if not seeds:
        return f"{text}."
    if seeds == 1:
        return (
            f"{text} with one seed each, so how much the training's own luck moves the numbers is "
            "not known."
        )
    return (
        f"{text}, {seeds} seeds per method; differences whose interval contains zero are "
        "called not told apart, which is noise and not a ranking."
    )
