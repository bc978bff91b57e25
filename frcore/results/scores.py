"""The scores of the runs on each benchmark, and the intervals computed from them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from frcore.errors import UserError
from frcore.evaluation.identification import searches_of
from frcore.evaluation.intervals.estimates import Estimate, Intervals
from frcore.evaluation.intervals.influences import (
    Accuracy,
    Metric,
    RankShare,
    SearchMetric,
    TarAt,
    TpirAt,
)
from frcore.evaluation.intervals.people import People, people_of_pairs
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs, intervals_of_searches
from frcore.evaluation.ranked import Ranked
from frcore.machine.faults import raise_refusal
from frcore.results.column import NONE, Column
from frcore.results.rows import Rows

Arrays = dict[str, NDArray[Any]]

PROTOCOL_ARRAYS = frozenset((
    "same", "fold", "identity_a", "identity_b", "subset_unseen",
    "search_person", "search_mated", "search_gallery",
))  # fmt: skip
"""Arrays that are equal in all runs of a benchmark: read and kept in memory only once."""

Known = dict[tuple[str, int, int], NDArray[Any]]
"""Arrays by name, size and CRC-32, as listed in the directory of a .npz."""


@dataclass(frozen=True)
class Found:
    """The intervals of a benchmark's columns, and why some are missing.

    Attributes:
        intervals: by column and whether they are of models; None if missing.
        reasons: by column.
    """

    intervals: Mapping[tuple[Column, bool], Intervals | None]
    reasons: Mapping[Column, str]


@dataclass
class Scores:
    """Loads `evaluation/<run>/<benchmark>.npz` and computes intervals, with caching.

    Args:
        root: `results/<study>`.
        rows: the study's rows; only runs whose evaluation is usable are read.
    """

    root: Path
    rows: Rows
    _files: dict[tuple[str, str], Arrays | None] = field(default_factory=dict)
    _intervals: dict[tuple[Column, bool], Intervals | None] = field(default_factory=dict)
    _protocols: dict[str, Known] = field(default_factory=dict)
    _sorted: dict[tuple[str, str, str], Ranked] = field(default_factory=dict)
    _people: dict[tuple[str, str, str], People] = field(default_factory=dict)
    _reasons: dict[Column, str] = field(default_factory=dict)

    def load(self, run: str, benchmark: str) -> Arrays | None:
        """The arrays of one run; None if the file is missing or damaged."""
        key = (run, benchmark)
        if key not in self._files:
            path = self.root / "evaluation" / run / f"{benchmark}.npz"
            self._files[key] = load_scores(path, self._protocols.setdefault(benchmark, {}))
        return self._files[key]

    def interval(self, column: Column, runs: Sequence[str]) -> Estimate | None:
        """The mean over runs with its 95 % interval; None if the scores do not allow one."""
        shared = self._shared(column, runs)
        if shared is None or not set(runs) <= set(shared.values):
            return None
        return shared.mean(runs)

    def difference(
        self, column: Column, runs_a: Sequence[str], runs_b: Sequence[str], *, level: float
    ) -> Estimate | None:
        """A − B over the same pairs, runs paired in order; may be None, as in `interval`."""
        shared = self._shared(column, [*runs_a, *runs_b])
        if shared is None or not {*runs_a, *runs_b} <= set(shared.values):
            return None
        return shared.difference(runs_a, runs_b, level=level)

    def found(self, benchmark: str) -> Found:
        """What has been computed for a benchmark so far, to pass to `take`."""
        return Found(
            {key: one for key, one in self._intervals.items() if key[0].benchmark == benchmark},
            {column: why for column, why in self._reasons.items() if column.benchmark == benchmark},
        )

    def take(self, found: Found) -> None:
        """Use what another process computed from the same scores."""
        self._intervals |= found.intervals
        self._reasons |= found.reasons

    def why_not(self, column: Column) -> str:
        """Why the scores give no interval in a column."""
        return self._reasons.get(column, "the scores of a run are missing")

    def _shared(self, column: Column, runs: Sequence[str]) -> Intervals | None:
        # Models trained elsewhere have no seeds, so they share no spread over seeds with the runs.
        models = set(runs) <= self._models
        key = (column, models)
        if key not in self._intervals:
            try:
                # The products are small: more threads would only wait for each other.
                with threadpool_limits(1):
                    self._intervals[key] = self._of_column(column, models)
            except UserError as error:
                self._reasons[column] = str(error)
                self._intervals[key] = None
        return self._intervals[key]

    @cached_property
    def _models(self) -> set[str]:
        """Labels of the models trained elsewhere."""
        frame = self.rows.evaluation
        return set(frame[frame["head"] == NONE]["run"])

    def _of_column(self, column: Column, models: bool) -> Intervals | None:
        frame = self.rows.usable("evaluation")
        frame = frame[frame["run"].isin(self._models) == models]
        chosen = frame[column.rows_in(frame) & frame["value"].notna()]
        if column.metric in ("rank", "tpir"):
            return self._of_searches(column, chosen)
        scores: dict[str, Ranked | NDArray[Any]] = {}
        metrics: dict[str, Metric] = {}
        protocol: Arrays | None = None
        first = ""
        for row in chosen.itertuples():
            arrays = self.load(str(row.run), column.benchmark)
            if arrays is None:
                continue
            arrays = _subset(arrays, column.subset)
            if protocol is None:
                protocol, first = arrays, str(row.run)
            if not same_protocol(protocol, arrays):
                self._reasons[column] = "runs were evaluated on different pairs"
                continue
            try:
                ranked = self._ranked(str(row.run), column, arrays)
            except UserError as error:
                self._reasons[column] = f"{row.run}: {error}"
                continue
            found = metric_of(column, arrays, ranked, row.value)
            if found is not None:
                metrics[str(row.run)], scores[str(row.run)] = found
        if protocol is None or not scores:
            self._reasons.setdefault(column, "no scores that reproduce the reported numbers")
            return None
        people = self._people_of(first, column, protocol)
        return intervals_of_pairs(scores, people, metrics=metrics, groups=_groups(chosen, scores))

    def _ranked(self, run: str, column: Column, arrays: Arrays) -> Ranked:
        """A run's scores, sorted once for all metrics of a benchmark."""
        key = (run, column.benchmark, column.subset)
        if key not in self._sorted:
            self._sorted[key] = Ranked(arrays["scores"], arrays["same"])
        return self._sorted[key]

    def _people_of(self, run: str, column: Column, arrays: Arrays) -> People:
        """The people of a run's pairs, coded once for all metrics of a benchmark."""
        key = (run, column.benchmark, column.subset)
        if key not in self._people:
            pairs = (arrays[name] for name in ("same", "identity_a", "identity_b"))
            self._people[key] = people_of_pairs(*pairs)
        return self._people[key]

    def _of_searches(self, column: Column, chosen: pd.DataFrame) -> Intervals | None:
        """The intervals of a 1:N metric."""
        if column.rank is not None:
            metric: SearchMetric = RankShare(column.rank)
        else:
            metric = TpirAt(column.fpir or 0.0)
        searches = {}
        for run in map(str, chosen["run"]):
            arrays = self.load(run, column.benchmark)
            found = None if arrays is None else searches_of(arrays, column.subset)
            if found is not None:
                searches[run] = found
        if not searches:
            self._reasons.setdefault(column, "no searches that reproduce the reported numbers")
            return None
        return intervals_of_searches(
            searches, metrics=dict.fromkeys(searches, metric), groups=_groups(chosen, searches)
        )


def _groups(chosen: pd.DataFrame, runs: Mapping[str, Any]) -> list[list[str]]:
    """The runs of each method, which differ only in the seed."""
    methods = chosen[chosen["run"].isin(list(runs))].groupby(["backbone", "head", "sampler"])
    return [list(group) for _, group in methods["run"]]


def load_scores(path: Path, known: Known | None = None) -> Arrays | None:
    """The arrays of a `<benchmark>.npz`; None if it is missing or damaged.

    Args:
        path: of the file.
        known: arrays of the same benchmark read before; new ones are added.
    """
    known = {} if known is None else known
    arrays: Arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for info in archive.zip.infolist():
                name = info.filename.removesuffix(".npy")
                key = (name, info.file_size, info.CRC)
                arrays[name] = known[key] if key in known else archive[name]
                if name in PROTOCOL_ARRAYS:
                    known[key] = arrays[name]
    # zipfile and zlib raise many kinds of exceptions for a damaged archive.
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile,
            zlib.error, AttributeError, RuntimeError) as error:  # fmt: skip
        raise_refusal(error)
        return None
    return arrays if _whole(arrays) else None


def _whole(arrays: Arrays) -> bool:
    """Whether a file has the arrays that intervals need, with one entry per pair."""
    needed = ("scores", "same", "identity_a", "identity_b")
    if any(name not in arrays or arrays[name].ndim != 1 for name in needed):
        return False
    optional = [arrays[name] for name in ("fold", "threshold", "subset_unseen") if name in arrays]
    return all(one.shape == arrays["scores"].shape
               for one in (*(arrays[name] for name in needed), *optional))  # fmt: skip


def _subset(arrays: Arrays, subset: str) -> Arrays:
    if subset != "unseen" or "subset_unseen" not in arrays:
        return arrays
    mask = arrays["subset_unseen"].astype(bool)
    return {name: values[mask] for name, values in arrays.items() if values.shape == mask.shape}


def same_protocol(one: Arrays, other: Arrays) -> bool:
    """Whether two runs were evaluated on the same pairs."""
    return all(
        np.array_equal(one[name], other[name]) for name in ("same", "identity_a", "identity_b")
    )


def metric_of(
    column: Column, arrays: Arrays, ranked: Ranked, value: Any
) -> tuple[Metric, Ranked | NDArray[Any]] | None:
    """The metric and scores that reproduce a row's value; None if no interpretation does.

    Accuracy is computed at each pair's own threshold, or (in a subset) at thresholds chosen anew on
    its other folds. The interval must belong to the number that is printed, so the number is
    recomputed and compared.
    """
    readings: list[tuple[Metric, Ranked | NDArray[Any]]] = []
    if column.metric == "tar" and column.far is not None:
        readings.append((TarAt(column.far), ranked))
    elif column.metric == "accuracy":
        scores = arrays["scores"].astype(np.float64)
        folds = arrays.get("fold", np.zeros(scores.size))
        many = (folds != folds[0]).any()
        if "threshold" in arrays:
            readings.append((Accuracy(folds if many else None, 0.0), scores - arrays["threshold"]))
        if many:
            readings.append((Accuracy(folds), scores))
    for metric, values in readings:
        try:
            computed = metric.value(Ranked.of(values, arrays["same"]))
        except UserError:
            continue
        if abs(computed - value) < 1e-6:
            return metric, values
    return None
