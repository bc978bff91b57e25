"""The scores of the runs on each benchmark, and the intervals computed from them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from frcore.errors import UserError
from frcore.evaluation.identification import Searches, searches_of
from frcore.evaluation.intervals.estimates import Estimate, Intervals, Sample
from frcore.evaluation.intervals.influences import (
    Accuracy,
    Metric,
    RankShare,
    SearchMetric,
    TarAt,
    TpirAt,
)
from frcore.evaluation.intervals.noise import Noise
from frcore.evaluation.intervals.people import People, people_of_pairs
from frcore.evaluation.intervals.uncertainty import (
    intervals_of_pairs,
    intervals_of_searches,
    trials_of_pairs,
    trials_of_searches,
)
from frcore.evaluation.ranked import Ranked
from frcore.machine.faults import raise_refusal
from frcore.results.column import METHOD, NONE, Column
from frcore.results.rows import Rows

Arrays = dict[str, NDArray[Any]]

PROTOCOL_ARRAYS = frozenset((
    "same", "fold", "identity_a", "identity_b", "subset_unseen",
    "search_person", "search_mated", "search_gallery",
))  # fmt: skip
"""Arrays that are equal in all runs of a benchmark: read and kept in memory only once."""

PAIRS = ("same", "identity_a", "identity_b")
"""What defines the pairs of a benchmark."""

Known = dict[tuple[str, int, int], NDArray[Any]]
"""Arrays by name, size and CRC-32, as listed in the directory of a .npz."""


@dataclass(frozen=True)
class Trials:
    """The runs that were evaluated on the same pairs of a benchmark.

    Attributes:
        arrays: by run.
        ranked: run -> its scores, sorted once for all metrics.
        why: why a run with scores was left out; empty if none was.
    """

    arrays: Mapping[str, Arrays]
    ranked: Mapping[str, Ranked]
    why: str

    @cached_property
    def people(self) -> People:
        """The people of the pairs, coded once for all metrics.

        Raises:
            UserError: as `people_of_pairs`.
        """
        first = next(iter(self.arrays.values()))
        return people_of_pairs(*(first[name] for name in PAIRS))


class Found(NamedTuple):
    """The intervals of a column's runs, and why they, or those of some runs, are missing."""

    intervals: Intervals | None
    why: str = ""


@dataclass
class Scores:
    """Loads `evaluation/<run>/<benchmark>.npz` and computes intervals, with caching.

    Models trained elsewhere have intervals of their own: without seeds, they share no spread over
    seeds with the runs.

    Args:
        root: `results/<study>`.
        rows: the study's rows; only runs whose evaluation is usable are read.
        elsewhere: evaluation rows of further methods. Their spread over seeds joins that of the
            study's, where backbone and benchmark are the same.
    """

    root: Path
    rows: Rows
    elsewhere: pd.DataFrame | None = None
    _files: dict[tuple[str, str], Arrays | None] = field(default_factory=dict)
    _protocols: dict[str, Known] = field(default_factory=dict)
    _trials: dict[tuple[str, str, bool], Trials] = field(default_factory=dict)
    _found: dict[tuple[Column, bool], Found] = field(default_factory=dict)
    _noises: dict[Column, tuple[Noise, int, Sample] | None] = field(default_factory=dict)

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
        return None if shared is None else shared.mean(runs)

    def difference(
        self, column: Column, runs_a: Sequence[str], runs_b: Sequence[str], *, level: float
    ) -> Estimate | None:
        """A − B over the same pairs, runs paired in order; may be None, as in `interval`."""
        shared = self._shared(column, [*runs_a, *runs_b])
        return None if shared is None else shared.difference(runs_a, runs_b, level=level)

    def contrast(
        self, column: Column, weights: Sequence[Mapping[str, float]], *, level: float
    ) -> Estimate | None:
        """A weighted sum of runs for each seed (`Intervals.contrast`); may be None, as above."""
        runs = list(dict.fromkeys(run for one in weights for run in one))
        shared = self._shared(column, runs)
        return None if shared is None else shared.contrast(weights, level=level)

    def noise(self, column: Column) -> tuple[Noise, int, Sample] | None:
        """Where differences in a column get their variance from, of how many methods, and the test
        set; may be None, as in `interval`.

        It is for the methods of the study, or where it trains nothing, for its models.
        """
        if column not in self._noises:
            self._noises[column] = self._noise(column)
        return self._noises[column]

    def _noise(self, column: Column) -> tuple[Noise, int, Sample] | None:
        models = all(run in self._models for run in self.rows.usable("evaluation")["run"])
        shared = self._of(column, models).intervals
        if shared is None:
            return None
        chosen = self._chosen(column, models)
        with threadpool_limits(1):
            if column.metric in ("rank", "tpir"):
                searches, of_searches = self._searches(column, chosen)
                alone = trials_of_searches(searches, metrics=of_searches)
            else:
                scores, metrics = self._pairs(column, chosen, models)
                people = self.trials(column.benchmark, column.subset, models=models).people
                alone = trials_of_pairs(scores, people, metrics=metrics)
            noise = shared.noise(alone)
        return None if noise is None else (noise, len(shared.groups), shared.sample)

    def why_not(self, column: Column, runs: Sequence[str]) -> str:
        """Why the scores of `runs` give no interval in a column."""
        return self._of(column, self._are_models(runs)).why or "the scores of a run are missing"

    def compute(self, columns: Sequence[Column]) -> dict[tuple[Column, bool], Found]:
        """All intervals of `columns`, to pass to `take` in another process."""
        keys = [(column, models) for column in columns for models in (False, True)]
        return {key: self._of(*key) for key in keys}

    def take(self, found: Mapping[tuple[Column, bool], Found]) -> None:
        """Use what another process computed from the same scores."""
        self._found |= found

    def trials(self, benchmark: str, subset: str = "all", *, models: bool = False) -> Trials:
        """The runs (or models trained elsewhere) evaluated on the same pairs as the first."""
        key = (benchmark, subset, models)
        if key not in self._trials:
            arrays: dict[str, Arrays] = {}
            ranked: dict[str, Ranked] = {}
            why = ""
            for run in self._runs(benchmark, models):
                if (found := self.load(run, benchmark)) is None:
                    continue
                arrays[run] = _subset(found, subset)
                if not same_protocol(next(iter(arrays.values())), arrays[run]):
                    why = "runs were evaluated on different pairs"
                    del arrays[run]
                    continue
                try:
                    ranked[run] = Ranked(arrays[run]["scores"], arrays[run]["same"])
                except UserError as error:
                    why = f"{run}: {error}"
            self._trials[key] = Trials(arrays, ranked, why)
        return self._trials[key]

    def _runs(self, benchmark: str, models: bool) -> list[str]:
        frame = self.rows.usable("evaluation")
        runs = map(str, frame[frame["benchmark"] == benchmark]["run"].unique())
        return [run for run in runs if (run in self._models) == models]

    @cached_property
    def _models(self) -> set[str]:
        """Labels of the models trained elsewhere."""
        frame = self.rows.evaluation
        return set(frame[frame["head"] == NONE]["run"])

    def _are_models(self, runs: Sequence[str]) -> bool:
        return not self._models.isdisjoint(runs)

    def _shared(self, column: Column, runs: Sequence[str]) -> Intervals | None:
        """The intervals of a column, if all of `runs` have one."""
        found = self._of(column, self._are_models(runs)).intervals
        return found if found is not None and set(runs) <= set(found.values) else None

    def _of(self, column: Column, models: bool) -> Found:
        key = (column, models)
        if key not in self._found:
            of_metric = self._of_searches if column.metric in ("rank", "tpir") else self._of_pairs
            try:
                # The products are small: more threads would only wait for each other.
                with threadpool_limits(1):
                    self._found[key] = of_metric(column, self._chosen(column, models), models)
            except UserError as error:
                self._found[key] = Found(None, str(error))
        return self._found[key]

    def _chosen(self, column: Column, models: bool) -> pd.DataFrame:
        """The rows with a value in a column."""
        frame = self.rows.usable("evaluation")
        frame = frame[frame["run"].isin(self._models) == models]
        return frame[column.rows_in(frame) & frame["value"].notna()]

    def _of_pairs(self, column: Column, chosen: pd.DataFrame, models: bool) -> Found:
        trials = self.trials(column.benchmark, column.subset, models=models)
        scores, metrics = self._pairs(column, chosen, models)
        if not scores:
            return Found(None, trials.why or "no scores that reproduce the reported numbers")
        shared = intervals_of_pairs(
            scores, trials.people, metrics=metrics, groups=_groups(chosen, scores),
            elsewhere=self._elsewhere(column, chosen),
        )  # fmt: skip
        return Found(shared, trials.why)

    def _pairs(
        self, column: Column, chosen: pd.DataFrame, models: bool
    ) -> tuple[dict[str, Ranked | NDArray[Any]], dict[str, Metric]]:
        """Run -> scores, and metric, that reproduce its value."""
        trials = self.trials(column.benchmark, column.subset, models=models)
        read = {run: metric_of(column, trials.arrays[run], trials.ranked[run], value)
                for run, value in zip(chosen["run"], chosen["value"], strict=True)
                if run in trials.ranked}  # fmt: skip
        found = {run: both for run, both in read.items() if both is not None}
        scores = {run: both[1] for run, both in found.items()}
        return scores, {run: both[0] for run, both in found.items()}

    def _of_searches(self, column: Column, chosen: pd.DataFrame, models: bool) -> Found:
        """The intervals of a 1:N metric."""
        searches, metrics = self._searches(column, chosen)
        if not searches:
            return Found(None, "no searches that reproduce the reported numbers")
        groups, elsewhere = _groups(chosen, searches), self._elsewhere(column, chosen)
        return Found(
            intervals_of_searches(searches, metrics=metrics, groups=groups, elsewhere=elsewhere)
        )

    def _searches(
        self, column: Column, chosen: pd.DataFrame
    ) -> tuple[dict[str, list[Searches]], dict[str, SearchMetric]]:
        """Run -> searches of each gallery, and metric."""
        if column.rank is not None:
            metric: SearchMetric = RankShare(column.rank)
        else:
            metric = TpirAt(column.fpir or 0.0)
        loaded = {run: self.load(run, column.benchmark) for run in map(str, chosen["run"])}
        read = {run: searches_of(arrays, column.subset) for run, arrays in loaded.items() if arrays}
        searches = {run: found for run, found in read.items() if found is not None}
        return searches, dict.fromkeys(searches, metric)

    def _elsewhere(self, column: Column, chosen: pd.DataFrame) -> list[list[float]]:
        """The values of further methods on the same benchmark, by method."""
        frame = self.elsewhere
        if frame is None or chosen["data_sha256"].isna().any():
            return []
        same = frame["data_sha256"].isin(chosen["data_sha256"].unique())
        same &= frame["backbone"].isin(chosen["backbone"].unique())
        # A run of the same name is the same draw, or its copy.
        same &= ~frame["run"].isin(self.rows.evaluation["run"].unique())
        found = frame[column.rows_in(frame) & same & frame["value"].notna()]
        return [list(group) for _, group in found.groupby(METHOD)["value"]]


def _groups(chosen: pd.DataFrame, runs: Mapping[str, Any]) -> list[list[str]]:
    """The runs of each method, which differ only in the seed, in its order."""
    methods = chosen[chosen["run"].isin(list(runs))].sort_values("seed", kind="stable")
    return [list(group) for _, group in methods.groupby(METHOD)["run"]]


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
    needed = ("scores", *PAIRS)
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
    return all(np.array_equal(one[name], other[name]) for name in PAIRS)


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
