"""The tables of class centres: passive updates by frequency of a class, and suspected conflicts."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from frcore.reporting.tables.accuracy import method_cells, method_headings, percent, unique
from frcore.reporting.tables.cost import significant
from frcore.reporting.tables.table import Cell, Heading, Table
from frcore.results.records import Record
from frcore.results.rows_diagnostics import CONFLICT_UNITS, GROUP_UNITS
from frcore.results.summary import Method, Summary

GROUPS = ("head", "middle", "tail", "all")

UPDATE_COLUMNS = {
    "classes": "classes",
    "images": "images",
    "positive": "positive",
    "queue": "queue",
    "passive": "passive",
    "passive_per_positive": "passive / positive",
    "nearest_angle_mean": "nearest centre [°]",
}
"""Quantity -> heading."""

SHARES = ("precision", "recall")

INDEX = ["backbone", "head", "sampler"]


def passive_table(summary: Summary) -> Table:
    """Method × group of classes: images, positive and passive touches, angle to the nearest."""
    frame = summary.rows.usable("diagnostics")
    frame = frame[frame["quantity"].isin(GROUP_UNITS) & frame["cosine"].isna()]
    means = _seed_means(frame, ["group"])
    headings = [*method_headings(summary.study), Heading("classes with", numeric=False)]
    headings += [Heading(text) for text in UPDATE_COLUMNS.values()]
    rows = _by_method(means, "group")
    body: list[list[Cell]] = []
    for method in summary.methods:
        for group in GROUPS:
            row = rows.get((method, group), {})
            # A study with groups has no counts of all classes together, only their angles.
            if pd.isna(row.get("images", math.nan)):
                continue
            cells = [Cell(_figure(row[name])) for name in UPDATE_COLUMNS]
            body.append([*method_cells(summary.study, method), Cell(_group_name(group)), *cells])
    title = "How often class centres are pulled and pushed"
    return Table("passive_updates", title, headings, body, _passive_notes(body, frame),
                 means.reset_index())  # fmt: skip


def _figure(value: float) -> str:
    """Three significant digits; a whole number has no decimals."""
    return f"{value:,.0f}" if value == round(value, 0) else significant(value)


def _group_name(group: str) -> str:
    return {
        "head": "most images (head)",
        "middle": "middle",
        "tail": "fewest images (tail)",
        "all": "equally many images",
    }[group]


def _passive_notes(body: list[list[Cell]], frame: pd.DataFrame) -> list[str]:
    if not body:
        return ["No run has told about its class centres."]
    seeds = unique(str(seed) for seed in sorted(frame["seed"].dropna().unique()))
    return [
        f"Means per class over the whole run, over the classes of a group and over seeds "
        f"{', '.join(seeds)}.",
        "Positive: rows of the batches that were of the class. Queue: extra rows that were. "
        "Passive: steps in which the class was a column of the softmax while no row, of batch or "
        "queue, was of it, so that its centre was pushed and not pulled.",
        "Nearest centre: angle to the nearest other class centre after training.",
        *unique(note for note in frame["note"].dropna() if note),
    ]


def conflicts_table(summary: Summary) -> Table:
    """Method × cosine: how many pairs of centres are that close, and how many are one person."""
    frame = summary.rows.usable("diagnostics")
    pairs = frame[frame["cosine"].notna()]
    split = frame[frame["quantity"] == "split_pairs"]["value"]
    means = _seed_means(pairs, ["cosine"])
    headings, body = method_headings(summary.study), []
    if (split > 0).any():
        cosines = sorted(pairs["cosine"].unique())
        rows = _by_method(means, "cosine")
        headings += [Heading(f"cosine > {cosine:g}", "pairs of centres") for cosine in cosines]
        body = [
            [*method_cells(summary.study, method), *_conflict_cells(rows, method, cosines)]
            for method in summary.methods
            if any(known == method for known, _ in rows)
        ]
    title = "Pairs of class centres that may be one person"
    notes = _conflict_notes(split, frame)
    return Table("conflicts", title, headings, body, notes, means.reset_index())


def _conflict_cells(
    rows: dict[tuple[Method, Any], Record], method: Method, cosines: list[float]
) -> list[Cell]:
    cells = []
    for cosine in cosines:
        row = rows.get((method, cosine))
        if row is None:
            cells.append(Cell("—"))
            continue
        shares = ("—" if pd.isna(row[name]) else percent(row[name]) for name in SHARES)
        cells.append(Cell(_figure(row["pairs"]), " · ".join(shares)))
    return cells


def _conflict_notes(split: pd.Series, frame: pd.DataFrame) -> list[str]:
    said = unique(note for note in frame["note"].dropna() if note)
    if frame.empty:
        return ["No run has told about its class centres."]
    if split.isna().all():
        return [*said, "It is not known whether people of the training set have two labels, so "
                "close centres are counted in rows/diagnostics and not judged."]  # fmt: skip
    if not (split > 0).any():
        return [*said, "No person of the training set has two labels, so there is nothing to "
                "find; how many centres are close is in rows/diagnostics."]  # fmt: skip
    known = int(split.dropna().max())
    classes = float(frame[frame["quantity"] == "classes"]["value"].max())
    chance = known / (classes * (classes - 1) / 2)
    pairs = "1 pair of labels is" if known == 1 else f"{known:,} pairs of labels are"
    return [
        f"{pairs} one person, which training does not know (the person of a label is whom most of "
        f"its images show). A pair drawn by chance is one of them with a "
        f"probability of {percent(chance)} %.",
        "The number of pairs of class centres after training with a cosine above the threshold, "
        "and beside it two shares in percent: precision (of them, how many are one person; a dash "
        "where there is no pair) · recall (of the pairs that are one person, how many are among "
        "them). Means over seeds.",
        *said,
    ]


def _seed_means(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Quantities as columns, averaged over seeds; indexed by method and `keys`."""
    quantities = list(CONFLICT_UNITS if "cosine" in keys else GROUP_UNITS)
    plain = frame.astype({name: object for name in frame.columns if frame[name].dtype == "string"})
    table = plain.pivot_table(
        index=[*INDEX, *keys], columns="quantity", values="value", aggfunc="mean", sort=False
    )
    table.columns.name = None
    return table.reindex(columns=quantities)


def _by_method(means: pd.DataFrame, key: str) -> dict[tuple[Method, Any], Record]:
    """Each row of `_seed_means` by its method and `key`."""
    return {
        (Method(row["backbone"], row["head"], row["sampler"]), row[key]): {
            str(name): value for name, value in row.items()
        }
        for row in means.reset_index().to_dict("records")
    }
