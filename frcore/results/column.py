"""What a result describes: a method, and a metric of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

NONE = "—"
"""Head and sampler of a model trained elsewhere; its label is used as run and backbone."""

METHOD = ["backbone", "head", "sampler"]
"""The columns of rows that name a method."""

Mark = Literal["", "best", "tied"]


@dataclass(frozen=True)
class Method:
    """A backbone × head × sampler, by label; or a model trained elsewhere (`Method.of_model`)."""

    backbone: str
    head: str
    sampler: str

    @classmethod
    def of_model(cls, label: str) -> Method:
        """A model trained elsewhere; `label` names the whole network."""
        return cls(label, NONE, NONE)

    @property
    def is_model(self) -> bool:
        """Whether it was trained elsewhere, without a head and sampler of the study."""
        return self.head == NONE

    def rows_in(self, frame: pd.DataFrame) -> pd.Series:
        """True for the rows of `frame` about this method."""
        return (
            (frame["backbone"] == self.backbone)
            & (frame["head"] == self.head)
            & (frame["sampler"] == self.sampler)
        )


METRIC_NAMES = {
    "accuracy": "accuracy",
    "accuracy_insightface": "accuracy by InsightFace's rule",
    "val_insightface": "VAL by InsightFace's rule",
}
"""Headings of metrics; others are abbreviations in capitals."""


@dataclass(frozen=True)
class Column:
    """One metric of one benchmark."""

    benchmark: str
    metric: str
    far: float | None
    subset: str
    rank: int | None = None
    fpir: float | None = None

    def rows_in(self, frame: pd.DataFrame) -> pd.Series:
        """True for the rows of `frame` with this number; with galleries, for their mean."""
        chosen = (
            (frame["benchmark"] == self.benchmark)
            & (frame["metric"] == self.metric)
            & (frame["subset"] == self.subset)
            & frame["gallery"].isna()
        )
        for name, asked in (("far", self.far), ("rank", self.rank), ("fpir", self.fpir)):
            given = frame[name].astype("float64")
            chosen &= given.isna() if asked is None else np.isclose(given, asked)
        return chosen

    @property
    def text(self) -> str:
        """The metric as a heading, such as 'TAR at FAR 0.001'."""
        name = METRIC_NAMES.get(self.metric, self.metric.upper())
        if self.rank is not None:
            name = f"rank-{self.rank}"
        at = "" if self.far is None else f" at FAR {self.far:g}"
        at += "" if self.fpir is None else f" at FPIR {self.fpir:g}"
        return f"{name}{at}" + ("" if self.subset == "all" else f", {self.subset}")

    @property
    def title(self) -> str:
        """The benchmark and the metric."""
        return f"{self.benchmark}: {self.text}"

    @property
    def key(self) -> str:
        """A machine-readable name: the prefix of its columns in the CSV table."""
        asked = (value for value in (self.far, self.rank, self.fpir) if value is not None)
        parts = [self.benchmark, self.metric, *(f"{value:g}" for value in asked)]
        parts.append("" if self.subset == "all" else self.subset)
        return ".".join(part for part in parts if part)
