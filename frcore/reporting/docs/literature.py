"""What docs/literature.md tells: the published figures, audited."""

from __future__ import annotations

import functools
import re
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from frcore.heads import HEADS
from frcore.reporting.audit.benchmarks import SAME, design_effects, trials
from frcore.reporting.audit.differences import GROUP, Effects, differences
from frcore.reporting.audit.tables import ranking_table, resolution_table, survival_table
from frcore.reporting.tables.published_figures import backbone_family, published
from frcore.reporting.tables.table import Column, Heading, Table, text_column, to_markdown
from frcore.results.frames import Row

UNSTATED = r"-$|not |large$|MS1M family$"
"""How published.csv says that rows of one table may differ in backbone or training data."""

THRESHOLD = ("tar", 0.01)
"""The TAR of our LFW rows whose design effect shows what the threshold adds."""


def literature(reference: Path) -> dict[str, Any]:
    """The tables and numbers of the page.

    Args:
        reference: the folder results/reference of a checkout.
    """
    effects, frame = design_effects(reference), audited(published())
    stated = ~(frame["backbone"].str.match(UNSTATED) | frame["train_data"].str.match(UNSTATED))
    found = differences(frame[stated], effects)
    several = several_values(frame, effects)
    rankings = ranking_table(found)
    return {
        "figures": len(published()), "tables": published().groupby(["paper", "table"]).ngroups,
        "found": found, "lfw": found[found["benchmark"] == "LFW"],
        "rankings": to_markdown(rankings), "places": rankings.data,
        "resolution": to_markdown(resolution_table(frame[stated], effects)),
        "survival": to_markdown(survival_table(found)),
        "several": to_markdown(several), "several_data": several.data,
        "effects": effects, "threshold": design_effects(reference, *THRESHOLD),
        "repeats": pd.Series(repeats(published())),
    }  # fmt: skip


def audited(frame: pd.DataFrame) -> pd.DataFrame:
    """The published shares of benchmarks whose size is known, as `differences` takes them."""
    frame = frame[frame["unit"] == "%"].assign(table=frame["paper"] + ": " + frame["table"])
    frame["benchmark"] = frame["benchmark"].replace(SAME)
    frame["metric"] = frame["metric"].str.partition(" (")[0].str.replace("TPR@FPR", "TAR@FAR")
    sizes = [trials(*key) for key in zip(frame["benchmark"], frame["metric"], strict=True)]
    frame[["trials", "people"]] = [size or (None, None) for size in sizes]
    frame = frame.dropna(subset=["trials"]).astype({"trials": int, "people": int})
    return frame.sort_values(["benchmark", "metric"], kind="stable")


def repeats(frame: pd.DataFrame) -> list[float]:
    """The only published repetitions of one training: SphereFace's README lists five."""
    (text,) = frame["metric"][frame["metric"].str.contains("5 runs: ")]
    return [float(number) for number in re.findall(r"\d\d\.\d+", text)]


def several_values(frame: pd.DataFrame, effects: Effects) -> Table:
    """One head, sampler, backbone and training set with different values in different tables.

    Rows of one table that differ in the margin alone are a sweep, not several values of one model.
    """
    frame = frame[frame["head"].notna() & ~frame.duplicated([*GROUP, "head", "sampler"], False)]
    same = frame.assign(
        method=frame["table"] + " " + frame["value"].map("{:.2f}".format),
        backbone=frame["backbone"].map(backbone_family),
        train_data=frame["train_data"].str.partition(" (")[0].str.replace("360k", "360K"),
        table=frame["head"] + frame.apply(_unusual_margin, axis=1) + ", " + frame["sampler"],
    )
    same = same[same["backbone"].str.match(r"r\d") & ~same["train_data"].str.match(UNSTATED)]
    found = differences(same, effects)
    widest = found.sort_values("difference", kind="stable").groupby(GROUP, sort=True).tail(1)
    widest = widest[widest["difference"] > 0].sort_values([*GROUP[3:], *GROUP[:3]])
    counts = same.groupby(GROUP)["value"].nunique()
    columns: list[Column[Row]] = [
        *(text_column(name, itemgetter(name)) for name in GROUP[3:]),
        text_column("head, sampler", itemgetter("table")),
        text_column("backbone, data", lambda row: f"{row['backbone']}, {row['train_data']}"),
        (Heading("values"), lambda row: str(counts[tuple(row[name] for name in GROUP)])),
        text_column("lowest", itemgetter("worse")),
        text_column("highest", itemgetter("better")),
        (Heading("points"), lambda row: f"{row['difference']:.2f}"),
        text_column("that difference is", itemgetter("verdict")),
    ]  # fmt: skip
    return Table.of("several_values", "Several published values", columns,
                    widest.to_dict("records"), [], widest)  # fmt: skip


def _unusual_margin(row: pd.Series) -> str:
    """The margin that a method states, unless it is the head's default."""
    stated = re.search(r"\bm=([\d.]+)", row["method"])
    return f" m={stated[1]}" if stated and float(stated[1]) != _margin(row["head"]) else ""


@functools.cache
def _margin(head: str) -> object:
    return HEADS.describe(head)[0]["parameters"].get("margin", {"default": None})["default"]
