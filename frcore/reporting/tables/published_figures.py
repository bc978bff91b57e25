"""Published figures, and which of them belong beside a measured number.

The figures are in `published.csv`; `published.md` beside it says where they are from. What is here
is what they mean in this harness: which head and sampler a paper's method is, and which official
benchmark a study's is.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

METHODS: tuple[tuple[str, str, str], ...] = (
    (r"Softmax", "softmax", "full"),
    (r"NormFace.*|Norm-Softmax s=\d+|L_sl \(norm\. softmax\)", "normface", "full"),
    (r"SphereFace|SphereFace-20|SphereFace m=[\d.]+", "sphereface", "full"),
    (r"SphereFace2", "sphereface2", "full"),
    (r"CosFace [^(]*PFC(-[\d.]+)?|Glint360k PFC-[\d.]+ \(CosFace\)|Partial-FC-CosFace"
     r"|CosFace .* r=0\.\d+ .*", "cosface", "partial_fc"),
    (r"CosFace( s=\d+)?( m=[\d.]+)?( full FC)?|CosFace .* r=1\.0 .*|L_sl-m \(CosFace m=[\d.]+\)",
     "cosface", "full"),
    (r"BroadFace \(CosFace.*\)", "cosface", "broadface"),
    (r"Partial-FC-ArcFace", "arcface", "partial_fc"),
    (r"ArcFace( m=[\d.]+| (MS1MV3 )?R\d+)?|MS1MV3 \(ArcFace\)", "arcface", "full"),
    (r"BroadFace \(ArcFace\)( queue=[1-9]\d* with compensation)?", "arcface", "broadface"),
    (r"CM[12] \(.*\)", "combined", "full"),
    (r"Fixed AdaCos", "adacos_fixed", "full"),
    (r"AdaCos( \(spelled Adocos\))?|Dynamic[ -]AdaCos", "adacos", "full"),
    (r"MV-Softmax", "mv_softmax", "full"),
    (r"CurricularFace( \(from paper\))?", "curricularface", "full"),
    (r"MagFace", "magface", "full"),
    (r"AdaFace", "adaface", "full"),
    (r"ElasticFace-(Arc|Cos)\+?", "elasticface", "full"),
    (r"marginal UCE m=[\d.]+ negative sampling r=0\.\d+", "uniface", "partial_fc"),
    (r"(UniFace )?L_uce.*|marginal UCE .*", "uniface", "full"),
)  # fmt: skip
"""Pattern of a paper's method -> head and sampler here; the first that fits. What is not listed
(other losses, BroadFace without the name of its loss, two samplers at once) is nobody's here."""

BIN_FILES = {
    "lfw": "LFW", "cfp_fp": "CFP-FP", "agedb_30": "AgeDB-30", "calfw": "CALFW", "cplfw": "CPLFW",
}  # fmt: skip
"""Names of InsightFace's `.bin` sets and of official pair lists -> benchmark."""

OFFICIAL = frozenset((*BIN_FILES.values(), "IJB-B", "IJB-C"))
"""Benchmarks that figures are shown for."""

BACKBONE = re.compile(r"^(?:i?resnet|ires|ir|r)-?(\d+)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Method:
    """Head and sampler of a published method, by their names here."""

    head: str
    sampler: str


@functools.cache
def published() -> pd.DataFrame:
    """All rows with numbers as such, and `head` and `sampler` where the method is known here."""
    with files("frcore.reporting").joinpath("published.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype="str", keep_default_na=False)
    found = [method_of(name) for name in frame["method"]]
    frame["head"] = [method.head if method else None for method in found]
    frame["sampler"] = [method.sampler if method else None for method in found]
    return frame.assign(value=frame["value"].astype(float))


def method_of(name: str) -> Method | None:
    """Which head and sampler a paper's method is; None where it is none of this harness.

    >>> method_of("CosFace m=0.4 PFC-0.3")
    Method(head='cosface', sampler='partial_fc')
    >>> method_of("SCF-ArcFace") is None
    True
    """
    for pattern, head, sampler in METHODS:
        if re.fullmatch(pattern, name):
            return Method(head, sampler)
    return None


def official_benchmark(name: str, data: Any) -> str | None:
    """Which official benchmark a study's section is: as it says, else by kind and file name.

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
    """How papers write a metric: the texts that mean it; none where papers have no such number.

    >>> official_metric("tar", 1e-4)
    ('TAR@FAR=1e-4', 'TPR@FPR=1e-4')
    """
    if metric == "accuracy":
        return ("accuracy",)
    if metric == "tar" and far is not None:
        exponent = f"{far:e}".partition("e")
        if float(exponent[0]) == 1:
            text = f"1e-{abs(int(exponent[2]))}"
            return (f"TAR@FAR={text}", f"TPR@FPR={text}")
    return ()


def figures(benchmark: str, metric: str, far: float | None) -> pd.DataFrame:
    """The published rows of an official benchmark and metric."""
    frame = published()
    # SphereFace's README adds its five runs to the metric.
    plain = frame["metric"].str.partition(" (")[0]
    return frame[(frame["benchmark"] == benchmark) & plain.isin(official_metric(metric, far))]


def backbone_family(name: str) -> str:
    """A backbone's name without what papers write differently.

    >>> backbone_family("iresnet100"), backbone_family("IResNet-100"), backbone_family("R100")
    ('r100', 'r100', 'r100')
    """
    found = BACKBONE.match(name)
    return f"r{found[1]}" if found else name.lower().partition(" ")[0]
