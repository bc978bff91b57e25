"""The official benchmarks: of how many trials and people a share is, and how dependent they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from scipy import special

ZOO = "InsightFace recognition/_datasets_/README.md @7fadd420"
IJB = "ArcFace (arXiv 1801.07698), section on IJB-B and IJB-C"


class Size(NamedTuple):
    """A benchmark's size.

    Attributes:
        pairs: of its list, on which accuracy is computed; None where only TARs are reported.
        genuine: pairs of one person, of which a TAR is the accepted share.
        people: in the pairs; at most, where a source counts those of the pictures only.
        source: where the counts were read.
    """

    pairs: int | None
    genuine: int
    people: int
    source: str


SIZES = {
    "LFW": Size(6000, 3000, 4281, "pairs.txt of View 2, as in results/reference/cpu/lfw"),
    "CFP-FP": Size(7000, 3500, 500, "Protocol/Split/FP of the data set"),
    "CFP-FF": Size(7000, 3500, 500, "Protocol/Split/FF of the data set"),
    "AgeDB-30": Size(6000, 3000, 570, ZOO),
    "CALFW": Size(6000, 3000, 5749, f"{ZOO}, which counts LFW's people"),
    "CPLFW": Size(6000, 3000, 5749, f"{ZOO}, which counts LFW's people"),
    "IJB-B": Size(None, 10_270, 1845, IJB),
    "IJB-C": Size(None, 19_557, 3531, IJB),
    "MFR-ALL": Size(None, 4_689_037, 242_143, "InsightFace challenges/mfr/README.md @7fadd420"),
}

SAME = {"AgeDB": "AgeDB-30", "MFR MR-All": "MFR-ALL"}
"""Other names of a benchmark in published tables."""

MEASURED = {"LFW": ("cpu/lfw", "view2")}
"""Benchmark -> folder below results/reference and name in its study."""


def trials(benchmark: str, metric: str) -> tuple[int, int] | None:
    """How many trials a metric is a share of, and how many people are in them.

    >>> trials("LFW", "accuracy"), trials("IJB-C", "TPR@FPR=1e-4"), trials("IJB-C", "rank-1")
    ((6000, 4281), (19557, 3531), None)
    """
    size = SIZES.get(SAME.get(benchmark, benchmark))
    if size is None:
        return None
    if re.match(r"(TAR@FAR|TPR@FPR)=", metric):
        return size.genuine, size.people
    if metric.partition(" (")[0] == "accuracy" and size.pairs is not None:
        return size.pairs, size.people
    return None


def design_effects(
    reference: Path, metric: str = "accuracy", far: float | None = None
) -> dict[tuple[str, str], float]:
    """By benchmark and metric the variance over the binomial one, median of the committed rows.

    The variance is that of their intervals, which are over people and include the choice of the
    threshold.

    Args:
        reference: the folder results/reference; without it nothing is known.
        metric, far: as in the rows.
    """
    found = {}
    for benchmark, (folder, name) in MEASURED.items():
        path = reference / folder / "evaluation.csv"
        if not path.is_file():
            continue
        rows = pd.read_csv(path)
        rows = rows[(rows["benchmark"] == name) & (rows["metric"] == metric)
                    & (rows["subset"] == "all") & rows["low"].notna()
                    & (rows["far"].isna() if far is None else rows["far"] == far)]  # fmt: skip
        half = (rows["high"] - rows["low"]) / 2 / special.ndtri((1 + rows["level"]) / 2)
        effects = half**2 * rows["n"] / (rows["value"] * (1 - rows["value"]))
        if len(effects):
            found[benchmark, metric] = float(effects.median())
    return found
