"""From rows to table entries: one number with its interval per method and metric, and which methods
are statistically tied with the best.

A method is backbone × head × sampler; its seeds are averaged. Intervals and differences come from
the scores of the pairs (`frcore.evaluation.intervals.uncertainty`), so they cover both the choice
of test people and, with two or more seeds, the choice of seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, wraps
from itertools import product
from typing import Any, Literal, TypeVar, cast

import numpy as np
import pandas as pd

from frcore.evaluation.intervals.estimates import Estimate
from frcore.machine import parallel
from frcore.results.column import Column, Mark, Method
from frcore.results.columns import Columns
from frcore.results.rows import Rows
from frcore.results.scores import Scores
from frcore.study.config import Study

LEVEL = 0.95

Verdict = Literal["best", "not told apart", "lower", "not compared"]


def joint_level(count: int) -> float:
    """The level of each of `count` intervals at which all hold jointly at 95 % (Bonferroni).

    >>> round(joint_level(10), 4)
    0.995
    """
    return 1 - (1 - LEVEL) / max(count, 1)


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
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    seeds: tuple[int, ...] = ()
    n: int | None = None
    n_unit: str = ""
    why: str = ""
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

    @wraps(method)
    def found(self: Summary, *arguments: Any) -> Any:
        key = (method.__name__, *arguments)
        if key not in self._memory:
            self._memory[key] = method(self, *arguments)
        return self._memory[key]

    return cast(Function, found)


@dataclass
class Summary:
    """Numbers and differences of a study, computed once and used by tables, figures and text."""

    study: Study
    rows: Rows
    scores: Scores
    _memory: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False)
    """Results of `_remembered` methods, by name and arguments."""

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
        parts = product(self.study.backbones, self.study.heads, self.study.samplers)
        return [Method(*(part.label for part in chosen)) for chosen in parts]

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.rows.usable("evaluation"), list(self.study.benchmarks))

    @property
    def columns(self) -> list[Column]:
        """Every benchmark metric of any run, in the study's order."""
        return self._columns.every

    def compute(self, processes: int) -> None:
        """Compute all intervals now, several benchmarks in parallel; the rest is quick."""
        columns = {name: [column for column in self.columns if column.benchmark == name]
                   for name in self.study.benchmarks}  # fmt: skip
        jobs = {name: partial(self.scores.compute, own) for name, own in columns.items()}
        for found in parallel.compute(jobs, processes).values():
            self.scores.take(found)

    def main_columns(self) -> list[Column]:
        """Each benchmark's number to read first (`Columns.main`)."""
        return self._columns.main

    def primary(self) -> list[Column]:
        """The numbers that are judged unless others are named (`Columns.primary`)."""
        return self._columns.primary

    @_remembered
    def hardest(self, benchmark: str) -> list[Column]:
        """A benchmark's columns over all pairs that have numbers, the main one first."""
        return self._columns.hardest(benchmark)

    @_remembered
    def why_unmarked(self, column: Column) -> str:
        """Why a column's numbers have no interval, mark or verdict (`Columns.why_unmarked`)."""
        return self._columns.why_unmarked(column)

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
        return self.parts(column).get(method, [])

    @_remembered
    def parts(self, column: Column) -> dict[Method, list[Any]]:
        """`part` of all methods that have rows."""
        frame = self.rows.usable("evaluation")
        found = frame[column.rows_in(frame)].sort_values("seed", kind="stable")
        parts = defaultdict(list)
        for row in found.itertuples(index=False):
            parts[Method(str(row.backbone), str(row.head), str(row.sampler))].append(row)
        return parts

    def marked(self, method: Method, column: Column) -> Mark:
        """Best, tied with the best, or nothing."""
        if self.why_unmarked(column):
            return ""
        verdicts = {one.method: one.verdict for one in self.differences(column)}
        if len(verdicts) > 1 and set(verdicts.values()) == {"best", "not compared"}:
            # If only the best were marked, all others would seem worse.
            return ""
        marks: dict[Verdict | None, Mark] = {"best": "best", "not told apart": "tied"}
        return marks.get(verdicts.get(method), "")

    @_remembered
    def cell(self, method: Method, column: Column) -> Number:
        """The number of a method in a column."""
        part = self.part(method, column)
        valued = [row for row in part if pd.notna(row.value)]
        if not valued:
            return Number(None, why=self._why_empty(method, column, part))
        first = valued[0]
        number = Number(
            float(np.mean([row.value for row in valued])),
            seeds=tuple(int(row.seed) for row in valued if pd.notna(row.seed)),
            n=None if pd.isna(first.n) else int(first.n),
            n_unit="" if pd.isna(first.n_unit) else str(first.n_unit),
            why=self.why_unmarked(column),
        )
        if number.why:
            return number
        found: Any = self.scores.interval(column, [str(row.run) for row in valued])
        if found is None and len(valued) == 1 and pd.notna(first.low):
            found = first  # of one run, the evaluation's own interval
        if found is None:
            return number
        error = None if pd.isna(found.se_test) else float(found.se_test)
        number = replace(number, low=float(found.low), high=float(found.high), se_test=error)
        return replace(number, method=str(found.method), se_seed=getattr(found, "se_seed", None))

    def _why_empty(self, method: Method, column: Column, part: Sequence[Any]) -> str:
        notes = [str(row.note) for row in part if pd.notna(row.note) and str(row.note)]
        if notes:
            return notes[0]
        if method.is_model and column.subset == "unseen":
            return "not known"  # whom it was trained on
        frame = self.rows.evaluation
        own = frame[method.rows_in(frame) & (frame["benchmark"] == column.benchmark)]
        return next((str(status) for status in own["status"] if status != "ok"), "no value")

    @_remembered
    def comparison_level(self, column: Column) -> float:
        """The level of each difference: 95 % for all of a column together (Bonferroni)."""
        return joint_level(sum(self.cell(m, column).value is not None for m in self.ranked) - 1)

    @_remembered
    def differences(self, column: Column) -> list[Difference]:
        """Every method against the best of the column, the best first, then by value."""
        valued = [m for m in self.ranked if self.cell(m, column).value is not None]
        if not valued:
            return []
        ranked = sorted(valued, key=lambda m: -(self.cell(m, column).value or 0.0))
        best, *others = ranked
        first = Difference(best, "best", seeds=self.cell(best, column).seeds)
        return [first, *(self.difference(column, best, other) for other in others)]

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
        why = "" if estimate else self.scores.why_not(column, [*runs[0], *runs[1]])
        return estimate, seeds, why

    def common_runs(
        self, column: Column, one: Method, other: Method
    ) -> tuple[tuple[int, ...], list[str], list[str]]:
        """The seeds for which both methods have a value, and the runs of each in that order."""
        if one.is_model:
            return (), [one.backbone], [other.backbone]
        ours, theirs = (
            {int(row.seed): str(row.run) for row in self.part(m, column) if pd.notna(row.value)}
            for m in (one, other)
        )
        seeds = sorted(ours.keys() & theirs.keys())
        return tuple(seeds), [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]

    def name(self, method: Method) -> str:
        """A method's name in running text; with the backbone only if there are several."""
        if method.is_model:
            return method.backbone
        parts = [method.head] + ([method.sampler] if len(self.study.samplers) > 1 else [])
        text = " + ".join(parts)
        return f"{text} ({method.backbone})" if len(self.study.backbones) > 1 else text
