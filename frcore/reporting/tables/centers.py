"""The tables of class centres: passive updates by class size, and suspected label conflicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from frcore.reporting.tables.accuracy import method_columns, percent, unique
from frcore.reporting.tables.cost import significant
from frcore.reporting.tables.table import ABSENT, Cell, Heading, Table, text_column
from frcore.results.frames import Row
from frcore.results.rows_diagnostics import CONFLICT_UNITS, GROUP_UNITS
from frcore.results.summary import Method, Summary

GROUPS = {
    "head": "most images (head)",
    "middle": "middle",
    "tail": "fewest images (tail)",
    "all": "equally many images",
}
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

METHOD = ("backbone", "head", "sampler")
NOTHING = "No run has recorded diagnostics of its class centres."


def passive_table(summary: Summary) -> Table:
    """Method × class group: images, positive and passive updates, angle to the nearest centre."""
    frame = summary.rows.usable("diagnostics")
    frame = frame[frame["quantity"].isin(GROUP_UNITS) & frame["cosine"].isna()]
    means = seed_means(frame, [*METHOD, "group"], list(GROUP_UNITS))
    rows = _by_method(means, "group")
    # With groups, only angles, not counts, are recorded for all classes together.
    items = [
        (method, group)
        for method in summary.methods
        for group in GROUPS
        if pd.notna(rows.get((method, group), {}).get("images"))
    ]

    def quantity(name: str) -> Callable[[tuple[Method, str]], str]:
        return lambda item: _figure(rows[item][name])

    columns = [
        *method_columns(summary.study, lambda item: item[0]),
        text_column("classes with", lambda item: GROUPS[item[1]]),
        *((Heading(title), quantity(name)) for name, title in UPDATE_COLUMNS.items()),
    ]
    seeds = unique(str(seed) for seed in sorted(frame["seed"].dropna().unique()))
    notes = [
        f"Means per class over the whole run, averaged over the classes of a group and over seeds "
        f"{', '.join(seeds)}.",
        "Positive: batch rows that belong to the class. Queue: queue rows that do. "
        "Passive: steps in which the class was a column of the softmax but no row of batch or "
        "queue belonged to it, so that its centre was only pushed, not pulled.",
        "Nearest centre: angle to the nearest other class centre after training.",
        *unique(frame["note"].dropna()),
    ]
    title = "How often class centres are pulled and pushed"
    return Table.of("passive_updates", title, columns, items, notes if items else [NOTHING],
                    means.reset_index())  # fmt: skip


def _figure(value: float) -> str:
    """Three significant digits; a whole number has no decimals."""
    return f"{value:,.0f}" if value == round(value, 0) else significant(value)


def conflicts_table(summary: Summary) -> Table:
    """Method × cosine: how many pairs of centres are that close, and how many are one person."""
    frame = summary.rows.usable("diagnostics")
    pairs = frame[frame["cosine"].notna()]
    split = frame[frame["quantity"] == "split_pairs"]["value"]
    means = seed_means(pairs, [*METHOD, "cosine"], list(CONFLICT_UNITS))
    rows = _by_method(means, "cosine")
    known = bool((split > 0).any())

    def counted(cosine: float) -> Callable[[Method], Cell]:
        return lambda method: _conflict_cell(rows.get((method, cosine)))

    columns = [
        *method_columns(summary.study),
        *((Heading(f"cosine > {cosine:g}", "pairs of centres"), counted(cosine))
          for cosine in sorted(pairs["cosine"].unique()) if known),
    ]  # fmt: skip
    found = {method for method, _ in rows} if known else set()
    return Table.of(
        "conflicts", "Pairs of class centres that may be the same person", columns,
        [method for method in summary.methods if method in found], _conflict_notes(split, frame),
        means.reset_index(),
    )  # fmt: skip


def _conflict_cell(row: Row | None) -> Cell:
    if row is None:
        return Cell()
    shares = (row["precision"], row["recall"])
    texts = (ABSENT if pd.isna(share) else percent(share) for share in shares)
    return Cell(_figure(row["pairs"]), " · ".join(texts))


def _conflict_notes(split: pd.Series, frame: pd.DataFrame) -> list[str]:
    said = unique(frame["note"].dropna())
    if frame.empty:
        return [NOTHING]
    if split.isna().all():
        return [*said, "Whether people of the training set have two labels is unknown, so close "
                "centres are only counted (rows/diagnostics)."]  # fmt: skip
    if not (split > 0).any():
        return [*said, "No person of the training set has two labels, so there is nothing to "
                "find; close centres are counted in rows/diagnostics."]  # fmt: skip
    known = int(split.dropna().max())
    classes = float(frame[frame["quantity"] == "classes"]["value"].max())
    chance = known / (classes * (classes - 1) / 2)
    pairs = "1 pair of labels belongs" if known == 1 else f"{known:,} pairs of labels belong"
    return [
        f"{pairs} to one person, which is hidden from training (a label's person is the one that "
        f"most of its images show). A random pair is one of them with a probability of "
        f"{percent(chance)} %.",
        "Number of pairs of class centres after training with a cosine above the threshold, "
        "followed by two percentages: precision (share of these pairs that are the same person; a "
        "dash without pairs) · recall (share of the pairs of the same person that are found). "
        "Means over seeds.",
        *said,
    ]


def seed_means(frame: pd.DataFrame, keys: list[str], quantities: Sequence[str]) -> pd.DataFrame:
    """Quantities of the diagnostics as columns, averaged over everything not in `keys`."""
    plain = frame.astype({name: object for name in frame.columns if frame[name].dtype == "string"})
    table = plain.pivot_table(
        index=keys, columns="quantity", values="value", aggfunc="mean", sort=False
    )
    table.columns.name = None
    return table.reindex(columns=list(quantities))


def _by_method(means: pd.DataFrame, key: str) -> dict[tuple[Method, Any], Row]:
    """Each row of `seed_means` by its method and `key`."""
    return {
        (Method(*map(str, index[:3])), index[3]): dict(zip(means.columns, row, strict=True))
        for index, row in zip(means.index, means.to_numpy(), strict=True)
    }
