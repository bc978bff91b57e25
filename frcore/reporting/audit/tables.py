"""The tables of an audit: what the benchmarks resolve, and which rankings survive it."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

import pandas as pd

from frcore.reporting.audit.differences import (
    BEYOND,
    GROUP,
    OPEN,
    TOO_SMALL,
    VERDICTS,
    Effects,
)
from frcore.reporting.audit.resolution import ALPHA, found_often, never, resolvable
from frcore.reporting.tables.table import (
    Cell,
    Column,
    Heading,
    Table,
    text_column,
    to_markdown,
)
from frcore.results.frames import Row

NAMED = 4
"""Methods listed by name in a cell; of more, only their number is told."""

BENCHMARK = ["benchmark", "metric"]


def to_page(frame: pd.DataFrame, found: pd.DataFrame, effects: Effects) -> str:
    """An audit in Markdown."""
    tables = resolution_table(frame, effects), survival_table(found), ranking_table(found)
    return "\n".join(map(to_markdown, tables))


def resolution_table(frame: pd.DataFrame, effects: Effects) -> Table:
    """For each benchmark and metric of an audited table the smallest differences.

    Args:
        frame: as for `differences.differences`.
        effects: the design effects that are known.
    """
    rows = []
    for (benchmark, metric), group in frame.groupby(BENCHMARK, sort=False):
        trials, people = (int(group[name].iloc[0]) for name in ("trials", "people"))
        share, known = group["value"].median() / 100, effects.get((str(benchmark), str(metric)))
        effect = known or 1.0
        numbers = {
            "design effect": known, "median value [%]": 100 * share,
            "never below": 100 * never() / trials,
            "independent errors": 100 * resolvable(share, trials, effect),
            "people as the sample": 100 * resolvable(share, trials, max(effect, trials / people)),
            "found 9 times in 10": 100 * found_often(share, trials, effect),
        }  # fmt: skip
        rows.append({"benchmark": benchmark, "metric": metric, "trials": trials, "people": people,
                     **numbers})  # fmt: skip
    columns: list[Column[Row]] = [
        *_what(),
        (Heading("trials"), lambda row: f"{row['trials']:,}"),
        (Heading("people"), lambda row: f"{row['people']:,}"),
        *((Heading(name), lambda row, name=name: _number(row[name])) for name in numbers),
    ]  # fmt: skip
    notes = [
        f"Differences in points. Never below: {never()} trials, the fewest that McNemar's exact "
        f"test finds at {100 * ALPHA:g} %, if all errors of the better model are errors of the "
        "other too.",
        "Independent errors: the smallest loss from the median value that is significant if the "
        "errors of the two models have nothing in common but chance, and nine times in ten: the "
        "loss to plan for. People as the sample: all trials of a person succeed or fail together.",
        "Design effect: variance over the binomial one, where rows of this project tell it; else "
        "trials count as independent, which makes all differences look more certain than they are.",
    ]
    return Table.of("audit_resolution", "The smallest difference that a benchmark can resolve",
                    columns, rows, notes, pd.DataFrame(rows))  # fmt: skip


def survival_table(found: pd.DataFrame) -> Table:
    """How many differences of each benchmark are beyond chance, and how many cannot be."""
    by_people = found["p_people"] * found["comparisons"] <= ALPHA
    counted = found.assign(**{name: found["verdict"] == name for name in VERDICTS},
                           people=by_people, all=True)  # fmt: skip
    counted["differences"] = counted.pop("all")
    data = counted.groupby(BENCHMARK, sort=False)[["differences", *VERDICTS, "people"]].sum()
    columns: list[Column[Row]] = [
        *_what(),
        *((Heading(name), lambda row, name=name: f"{row[name]:,}")
          for name in ("differences", TOO_SMALL, OPEN, BEYOND)),
        (Heading("with people as the sample"), lambda row: f"{row['people']:,}"),
    ]  # fmt: skip
    notes = [f"{name.capitalize()}: {text}." for name, text in reversed(VERDICTS.items())]
    notes[-1] += " All differences of one ranking hold together (Bonferroni)."
    return Table.of("audit_survival", "Differences between two models of one table", columns,
                    data.reset_index().to_dict("records"), notes, data.reset_index())  # fmt: skip


def ranking_table(found: pd.DataFrame) -> Table:
    """One line for each ranking: the first, and who is not told apart from it."""
    rows = []
    for key, group in found.groupby(GROUP, sort=False):
        pairs = group.to_dict("records")
        first = [pair for pair in pairs if pair["better"] == pairs[0]["better"]]
        tied = [pair["worse"] for pair in first if pair["verdict"] != BEYOND]
        counts = Counter(pair["verdict"] for pair in pairs)
        rows.append({
            **dict(zip(GROUP, key, strict=True)), "first": pairs[0]["better"],
            "value": pairs[0]["value"], "others": len(first), "not_told_apart": len(tied),
            "names": "; ".join(tied), **{name: counts[name] for name in VERDICTS},
        })  # fmt: skip
    columns: list[Column[Row]] = [
        *_what(),
        text_column("table", lambda row: row["table"] or Cell()),
        text_column("backbone, data", lambda row: ", ".join(
            filter(None, (row["backbone"], row["train_data"]))) or Cell()),
        text_column("first", lambda row: Cell(row["first"], f"{row['value']:.2f}")),
        text_column("not told apart from it", _tied),
        *((Heading(name), lambda row, name=name: f"{row[name]:,}")
          for name in (TOO_SMALL, OPEN, BEYOND)),
    ]  # fmt: skip
    return Table.of("audit_rankings", "Rankings", columns, rows, [], pd.DataFrame(rows))


def _tied(row: Row) -> str | Cell:
    if row["not_told_apart"] > NAMED:
        return f"{row['not_told_apart']} of {row['others']} others"
    return row["names"] or "nobody"


def _what() -> list[Column[Row]]:
    return [text_column(name, itemgetter(name)) for name in BENCHMARK]


def _number(value: float | None) -> str | Cell:
    """Two decimals, or three for what is smaller than one hundredth."""
    if value is None or pd.isna(value):
        return Cell()
    return f"{value:.2f}" if value >= 0.01 else f"{value:.2g}"
