"""Published throughput and memory of Partial FC, for the points beside measured ones."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from frcore.reporting.tables.published_figures import published
from frcore.results.rows import Rows
from frcore.study.config import Study

QUANTITIES = {
    "images_per_second": "throughput",
    "allocated_peak_mib": "GPU memory",
}
"""Measured column -> what `published.csv` calls it. Only a GPU's memory is published."""

METHODS = {
    "Data Parallel": ("full", None),
    "Model Parallel": ("full", None),
    "Partial FC 0.1": ("partial_fc", 0.1),
}
"""A published way to divide the classes -> sampler and rate here."""

IDENTITIES = re.compile(r"(\d+) ids synthetic")
"""How the one table that names its sampling rate says how many classes were trained."""


@dataclass(frozen=True)
class PublishedCost:
    """One published point.

    Attributes:
        identities: classes that were trained.
        value: images per second of all GPUs, or MB of one.
        quantity: one of `QUANTITIES`' values.
        method: how the classes were divided, without their number.
        sampler, rate: what it is here; no rate with the full softmax.
        text: all of it, in words.
    """

    identities: int
    value: float
    quantity: str
    method: str
    sampler: str
    rate: float | None
    text: str


@functools.cache
def published_costs() -> tuple[PublishedCost, ...]:
    """Every published point of throughput or memory whose sampler and rate are known."""
    found = []
    frame = published()
    for row in frame[frame["benchmark"].isin(QUANTITIES.values())].itertuples():
        counted = IDENTITIES.fullmatch(str(row.train_data))
        method = str(row.method)
        if counted is None or method not in METHODS:
            continue
        each = " per GPU" if row.benchmark == "GPU memory" else ""
        text = (
            f"published by {row.paper} (arXiv {row.arxiv}, {row.table}): {method}, "
            f"{row.backbone}, {row.train_data}: {row.value:,.0f} {row.unit}{each}; whole training, "
            f"backbone included. Read in {row.source}"
        )
        value, quantity = float(str(row.value)), str(row.benchmark)
        found.append(
            PublishedCost(
                int(counted[1]),
                value,
                quantity,
                method,
                *METHODS[method],
                text,
            )
        )
    return tuple(found)


def comparable_costs(
    study: Study, rows: Rows, sampler: str, column: str
) -> Sequence[PublishedCost]:
    """The published points that stand on the same axes as a sampler's measured ones.

    All are of GPUs: there are none beside a CPU, none outside the measured numbers of identities,
    and none of another sampling rate.

    Args:
        study: says what the sampler is.
        rows: of the study.
        sampler: its label.
        column: the measured one.
    """
    usable = rows.usable("measurement")
    sizes = usable[(usable["sampler"] == sampler) & usable["gpu_name"].notna()]["identities"]
    if sizes.empty or column not in QUANTITIES:
        return ()
    component = next(one for one in study.samplers if one.label == sampler)
    own = (component.name, component.parameters.get("rate"))
    return [
        point
        for point in published_costs()
        if point.quantity == QUANTITIES[column]
        and (point.sampler, point.rate) == own
        and sizes.min() <= point.identities <= sizes.max()
    ]
