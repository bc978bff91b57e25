"""What was asked and the answer, in sentences made from the rows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from frcore import plan
from frcore.reporting.cost import MEMORY, comparable_identities, memory_column
from frcore.reporting.summary import Column, Summary
from frcore.reporting.table_accuracy import interval_text, percent
from frcore.reporting.table_cost import significant


def answer(summary: Summary) -> list[str]:
    """A sentence per benchmark on who is most accurate, one on cost, and what it all rests on."""
    accuracy = [_accuracy(summary, column) for column in summary.main_columns()]
    if not accuracy:
        accuracy = ["No benchmark has a number yet."]
    if not summary.study.trains:
        return [*accuracy, _basis_of_models(summary)]
    return [*accuracy, _cost(summary), _basis(summary)]


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _accuracy(summary: Summary, column: Column) -> str:
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
    if len(names) > 5:
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
    return text + (f"; {failed} points ran out of memory." if failed else ".")


def _name(row: pd.Series) -> str:
    return f"{row['head']} + {row['sampler']}"


def _ms(row: pd.Series) -> str:
    return f"{significant(row['step_ms'])}\u00a0ms"


def _basis(summary: Summary) -> str:
    study, training = summary.study, summary.rows.training
    done, planned = int((training["status"] == "ok").sum()), len(plan.runs(study))
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
