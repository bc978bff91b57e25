"""From rows to table entries: one number with its interval per method and metric, and which methods
are statistically tied with the best.

A method is backbone × head × sampler; its seeds are averaged. Intervals and differences come from
the scores of the pairs (`frcore.evaluation.intervals.uncertainty`), so they cover both the choice
of test people and, with two or more seeds, the choice of seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, wraps
from typing import Any, Literal, TypeVar, cast

import numpy as np
import pandas as pd

from frcore.evaluation.intervals.estimates import Estimate
from frcore.machine import parallel
from frcore.results.column import Column, Mark, Method
from frcore.results.rows import Rows, why_few
from frcore.results.scores import Found, Scores
from frcore.study.config import Study

LEVEL = 0.95

Verdict = Literal["best", "not told apart", "lower", "not compared"]


def _first(metric: str) -> int:
    """The rank of a metric in reading order."""
    order = ("accuracy", "tar", "tpir", "rank")
    return order.index(metric) if metric in order else len(order)


@dataclass(frozen=True)
class Number:
    """A method's number in a column.

    Attributes:
        value: mean over seeds, a proportion; None if it could not be resolved or is missing.
        low, high: its interval; None if there is none.
        method: how the interval was computed.
        seeds: the seeds averaged.
        n, n_unit: sample size and its unit.
        why: why there is no value, or no interval.
        se_test: standard error due to the choice of test people; None if unknown.
        se_seed: standard error due to the choice of seeds; None with one seed.
        mark: best, tied (statistically, with the best), or nothing.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    seeds: tuple[int, ...] = ()
    n: int | None = None
    n_unit: str = ""
    why: str = ""
    mark: Mark = ""
    se_test: float | None = None
    se_seed: float | None = None


@dataclass(frozen=True)
class Difference:
    """The best method minus another, over the same pairs and seeds."""

    method: Method
    verdict: Verdict
    estimate: Estimate | None = None
    seeds: tuple[int, ...] = ()
    why: str = ""


Function = TypeVar("Function", bound=Callable[..., Any])


def _remembered(method: Function) -> Function:
    """Decorator of a `Summary` method: computes once per set of arguments."""
    name = method.__name__

    @wraps(method)
    def found(self: Summary, *key: Any) -> Any:
        memory = self._memory.setdefault(name, {})
        if key not in memory:
            memory[key] = method(self, *key)
        return memory[key]

    return cast(Function, found)


@dataclass
class Summary:
    """Numbers and differences of a study, computed once and used by tables, figures and text."""

    study: Study
    rows: Rows
    scores: Scores
    _memory: dict[str, dict[tuple[Any, ...], Any]] = field(default_factory=dict, init=False)
    """Results of `_remembered` methods, by name and arguments."""

    def of_part(self, study: Study) -> Summary:
        """The same numbers for a part of the study, with differences computed anew."""
        part = Summary(study, self.rows, self.scores)
        part._memory["cell"] = self._memory.setdefault("cell", {})
        return part

    @cached_property
    def methods(self) -> list[Method]:
        """Every backbone × head × sampler of the study, then its models, in its order."""
        return [*self.trained, *(Method.of_model(model.label) for model in self.study.models)]

    @cached_property
    def ranked(self) -> list[Method]:
        """The methods that are compared with one another.

        Models trained elsewhere differ from the study's in data, backbone and everything else, so
        they are compared only in a study without training.
        """
        return self.trained or self.methods

    @cached_property
    def trained(self) -> list[Method]:
        """Every backbone × head × sampler of the study, in its order."""
        return [
            Method(backbone.label, head.label, sampler.label)
            for backbone in self.study.backbones
            for head in self.study.heads
            for sampler in self.study.samplers
        ]

    @cached_property
    def columns(self) -> list[Column]:
        """Every benchmark metric of any run, in the study's order."""
        usable = self.rows.usable("evaluation")
        found: list[Column] = []
        for benchmark in self.study.benchmarks:
            part = usable[(usable["benchmark"] == benchmark) & usable["metric"].notna()]
            part = part[part["gallery"].isna()]
            keys = part[["metric", "far", "subset", "rank", "fpir"]].drop_duplicates()
            for key in keys.astype(object).where(keys.notna(), None).itertuples(index=False):
                found.append(Column(benchmark, *key))
        return found

    def compute(self, processes: int) -> None:
        """Compute all numbers and differences now, several benchmarks in parallel."""
        jobs = {name: partial(self._of_benchmark, name) for name in self.study.benchmarks}
        for cells, differences, found in parallel.compute(jobs, processes).values():
            self._memory.setdefault("cell", {}).update(cells)
            self._memory.setdefault("differences", {}).update(differences)
            self.scores.take(found)

    def _of_benchmark(self, name: str) -> tuple[dict[Any, Number], dict[Any, Any], Found]:
        own = [column for column in self.columns if column.benchmark == name]
        cells = {(m, column): self.cell(m, column) for m in self.methods for column in own}
        differences = {(column,): self.differences(column) for column in own}
        return cells, differences, self.scores.found(name)

    def main_columns(self) -> list[Column]:
        """Per benchmark the metric to read first: accuracy, or TAR at the lowest FAR that allows
        enough false accepts for an interval (if none does, at the highest FAR)."""
        return [ranked[0] for name in self.study.benchmarks if (ranked := self.hardest(name))]

    def hardest(self, benchmark: str) -> list[Column]:
        """A benchmark's columns over all pairs that have numbers, the main one first."""
        own = [c for c in self.columns if c.benchmark == benchmark and c.subset == "all"]

        def place(column: Column) -> tuple[int, bool, float]:
            few, rate = bool(self.why_unmarked(column)), column.far or column.fpir or 0.0
            return _first(column.metric), few, -rate if few else rate

        return sorted(filter(self.has_numbers, own), key=place)

    @_remembered
    def why_unmarked(self, column: Column) -> str:
        """Why a column's numbers have no interval, mark or verdict: its FAR allows too few false
        accepts. Empty otherwise."""
        reasons = self._few[column.rows_in(self.rows.usable("evaluation"))]
        return next(filter(None, reasons), "")

    @cached_property
    def _few(self) -> pd.Series:
        return why_few(self.rows.usable("evaluation"))

    @cached_property
    def seeds_averaged(self) -> tuple[int, ...]:
        """The seeds averaged by the method that has the most; fewer than planned if runs are
        missing, empty without results."""
        cells = (self.cell(m, c).seeds for m in self.methods for c in self.columns)
        return max(cells, key=len, default=())

    def has_numbers(self, column: Column) -> bool:
        """Whether any method has a value."""
        return any(self.cell(method, column).value is not None for method in self.methods)

    def part(self, method: Method, column: Column) -> list[Any]:
        """The evaluation rows of a method in a column, one per seed, as named tuples."""
        return self._parts(column).get(method, [])

    @_remembered
    def _parts(self, column: Column) -> dict[Method, list[Any]]:
        """For all methods at once: with a hundred methods each is looked up many times."""
        frame = self.rows.usable("evaluation")
        found = frame[column.rows_in(frame)].sort_values("seed", kind="stable")
        parts: dict[Method, list[Any]] = {}
        for row in found.itertuples(index=False):
            method = Method(str(row.backbone), str(row.head), str(row.sampler))
            parts.setdefault(method, []).append(row)
        return parts

    def marked(self, method: Method, column: Column) -> Mark:
        """Best, tied with the best, or nothing."""
        if self.why_unmarked(column):
            return ""
        marks: dict[Verdict, Mark] = {"best": "best", "not told apart": "tied"}
        differences = self.differences(column)
        if len(differences) > 1 and all(one.verdict == "not compared" for one in differences[1:]):
            # If only the best were marked, all others would seem worse.
            return ""
        for difference in differences:
            if difference.method == method:
                return marks.get(difference.verdict, "")
        return ""

    @_remembered
    def cell(self, method: Method, column: Column) -> Number:
        """The number of a method in a column."""
        part = self.part(method, column)
        valued = [row for row in part if pd.notna(row.value)]
        if not valued:
            return Number(None, why=self._why_empty(method, column, part))
        first = valued[0]
        seeds = tuple(int(row.seed) for row in valued if pd.notna(row.seed))
        n = None if pd.isna(first.n) else int(first.n)
        unit = "" if pd.isna(first.n_unit) else str(first.n_unit)
        value = float(np.mean([row.value for row in valued]))
        if few := self.why_unmarked(column):
            return Number(value, seeds=seeds, n=n, n_unit=unit, why=few)
        estimate = self.scores.interval(column, [str(row.run) for row in valued])
        if estimate is not None:
            return Number(
                value, estimate.low, estimate.high, estimate.method, seeds, n, unit,
                se_test=estimate.se_test, se_seed=estimate.se_seed,
            )  # fmt: skip
        if len(valued) == 1 and pd.notna(first.low):
            low, high = float(first.low), float(first.high)
            error = None if pd.isna(first.se_test) else float(first.se_test)
            return Number(value, low, high, str(first.method), seeds, n, unit, se_test=error)
        return Number(value, seeds=seeds, n=n, n_unit=unit)

    def _why_empty(self, method: Method, column: Column, part: Sequence[Any]) -> str:
        notes = [str(row.note) for row in part if pd.notna(row.note) and str(row.note)]
        if notes:
            return notes[0]
        frame = self.rows.evaluation
        missing = frame[
            (frame["backbone"] == method.backbone)
            & (frame["head"] == method.head)
            & (frame["sampler"] == method.sampler)
            & (frame["benchmark"] == column.benchmark)
            & (frame["status"] != "ok")
        ]
        return str(missing["status"].iloc[0]) if len(missing) else "no value"

    @_remembered
    def comparison_level(self, column: Column) -> float:
        """The level of each difference: 95 % for all of a column together (Bonferroni)."""
        others = sum(self.cell(m, column).value is not None for m in self.ranked) - 1
        return 1 - (1 - LEVEL) / max(others, 1)

    @_remembered
    def differences(self, column: Column) -> list[Difference]:
        """Every method against the best of the column, the best first, then by value."""
        valued = [m for m in self.ranked if self.cell(m, column).value is not None]
        if not valued:
            return []
        ranked = sorted(valued, key=lambda m: -(self.cell(m, column).value or 0.0))
        best = ranked[0]
        found = [Difference(best, "best", seeds=self.cell(best, column).seeds)]
        return found + [self.difference(column, best, other) for other in ranked[1:]]

    def difference(self, column: Column, best: Method, other: Method) -> Difference:
        """`best` minus `other`, at the level of `comparison_level`."""
        level = self.comparison_level(column)
        estimate, seeds, why = self.paired(column, best, other, level=level)
        if estimate is None:
            return Difference(other, "not compared", why=why)
        verdict: Verdict = "lower" if estimate.low > 0 else "not told apart"
        return Difference(other, verdict, estimate, seeds)

    def paired(
        self, column: Column, one: Method, other: Method, *, level: float
    ) -> tuple[Estimate | None, tuple[int, ...], str]:
        """`one` − `other` over their common seeds, these seeds, and why there is no estimate."""
        seeds, *runs = self.common_runs(column, one, other)
        if not runs[0]:
            return None, (), "no seed in common"
        estimate = self.scores.difference(column, *runs, level=level)
        return estimate, seeds, "" if estimate else self.scores.why_not(column)

    def common_runs(
        self, column: Column, one: Method, other: Method
    ) -> tuple[tuple[int, ...], list[str], list[str]]:
        """The seeds for which both methods have a value, and the runs of each in that order."""
        if one.is_model:
            return (), [one.backbone], [other.backbone]
        seeds = sorted({*self.cell(one, column).seeds} & {*self.cell(other, column).seeds})
        return tuple(seeds), self._runs(one, column, seeds), self._runs(other, column, seeds)

    def _runs(self, method: Method, column: Column, seeds: Sequence[int]) -> list[str]:
        runs = {row.seed: row.run for row in self.part(method, column)}
        return [str(runs[seed]) for seed in seeds]

    def name(self, method: Method) -> str:
        """A method's name in running text; with the backbone only if there are several."""
        if method.is_model:
            return method.backbone
        parts = [method.head] + ([method.sampler] if len(self.study.samplers) > 1 else [])
        text = " + ".join(parts)
        return f"{text} ({method.backbone})" if len(self.study.backbones) > 1 else text
