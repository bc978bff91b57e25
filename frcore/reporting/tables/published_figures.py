"""Published figures, and which of them belong beside a measured number.

The figures are in `published.csv`; `published.md` next to it describes its columns. This module
maps a study's benchmarks to official ones, and metrics to the names that papers use.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from frcore.results.rows import Rows
from frcore.study.config import Study

BIN_FILES = {
    "lfw": "LFW", "cfp_fp": "CFP-FP", "agedb_30": "AgeDB-30", "calfw": "CALFW", "cplfw": "CPLFW",
}  # fmt: skip
"""Names of InsightFace's `.bin` sets and of official pair lists -> benchmark."""

OFFICIAL = frozenset((*BIN_FILES.values(), "IJB-B", "IJB-C"))
"""Benchmarks for which published figures are shown."""

BACKBONE = re.compile(r"^(?:i?resnet|ires|ir|r)-?(\d+)\b", re.IGNORECASE)

QUANTITIES = {"images_per_second": "throughput", "allocated_peak_mib": "GPU memory"}
"""Measured column -> its name in `published.csv`. Memory is published only for GPUs."""


@functools.cache
def published() -> pd.DataFrame:
    """All rows, with parsed numbers; `head` and `sampler` are None without a counterpart here."""
    with files("frcore.reporting").joinpath("published.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype="str", keep_default_na=False)
    ours = frame[["head", "sampler"]].replace("", None)
    numbers = {name: pd.to_numeric(frame[name]) for name in ("value", "rate")}
    return frame.assign(**ours, **numbers)


def official_benchmark(name: str, data: Any) -> str | None:
    """The official benchmark of a study's section: as stated there, else by kind and file name.

    Args:
        name: its key in the study.
        data: the section.
    """
    stated = getattr(data, "published_as", None)
    if stated is not None:
        return None if stated == "none" else str(stated)
    if data.kind == "lfw_pairs":
        return "LFW" if data.view == 2 else None
    if data.kind == "ijb":
        return {"ijbb": "IJB-B", "ijbc": "IJB-C"}[data.name]
    if data.kind == "pair_list":
        return BIN_FILES.get(data.format)
    if data.kind == "insightface_bin":
        return BIN_FILES.get(Path(data.path).stem.lower()) or BIN_FILES.get(name.lower())
    return None


def official_metric(metric: str, far: float | None) -> tuple[str, ...]:
    """The names that papers use for a metric; none if papers do not report it.

    >>> official_metric("tar", 1e-4)
    ('TAR@FAR=1e-4', 'TPR@FPR=1e-4')
    """
    if metric == "accuracy":
        return ("accuracy",)
    if metric == "tar" and far is not None:
        digits, _, exponent = f"{far:e}".partition("e")
        if float(digits) == 1:
            text = f"1e-{abs(int(exponent))}"
            return (f"TAR@FAR={text}", f"TPR@FPR={text}")
    return ()


def figures(benchmark: str, metric: str, far: float | None) -> pd.DataFrame:
    """The published rows of an official benchmark and metric."""
    frame = published()
    # For SphereFace's README the metric also lists its five runs.
    plain = frame["metric"].str.partition(" (")[0]
    return frame[(frame["benchmark"] == benchmark) & plain.isin(official_metric(metric, far))]


def backbone_family(name: str) -> str:
    """A backbone's name in a common spelling.

    >>> backbone_family("iresnet100"), backbone_family("IResNet-100"), backbone_family("R100")
    ('r100', 'r100', 'r100')
    """
    found = BACKBONE.match(name)
    return f"r{found[1]}" if found else name.lower().partition(" ")[0]


@functools.cache
def published_costs() -> pd.DataFrame:
    """Every published throughput or memory whose sampler and rate are known, with `identities`."""
    frame = published()
    frame = frame[frame["benchmark"].isin(QUANTITIES.values())]
    identities = frame["train_data"].str.extract(r"^(\d+) ids synthetic$")[0]
    return frame.assign(identities=pd.to_numeric(identities)).dropna(subset=["identities"])


def cost_text(row: pd.Series) -> str:
    """A row of `published_costs` in words."""
    each = " per GPU" if row["benchmark"] == "GPU memory" else ""
    return (
        f"published by {row['paper']} (arXiv {row['arxiv']}, {row['table']}): {row['method']}, "
        f"{row['backbone']}, {row['train_data']}: {row['value']:,.0f} {row['unit']}{each}; whole "
        f"training, backbone included. Read in {row['source']}"
    )


def comparable_costs(study: Study, rows: Rows, sampler: str, column: str) -> pd.DataFrame:
    """The published costs that can be drawn beside a sampler's measured ones.

    All are of GPUs: none are given for a CPU, outside the measured numbers of identities, or at
    another sampling rate.

    Args:
        study: defines the sampler.
        rows: of the study.
        sampler: its label.
        column: the measured one.
    """
    usable = rows.usable("measurement")
    sizes = usable[(usable["sampler"] == sampler) & usable["gpu_name"].notna()]["identities"]
    component = next(one for one in study.samplers if one.label == sampler)
    rate = component.parameters.get("rate")
    frame = published_costs()
    same_rate = frame["rate"].isna() if rate is None else frame["rate"] == rate
    return frame[
        (frame["benchmark"] == QUANTITIES.get(column)) & (frame["sampler"] == component.name)
        & same_rate & frame["identities"].between(sizes.min(), sizes.max())
    ]  # fmt: skip
