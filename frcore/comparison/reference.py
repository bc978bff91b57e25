"""Heads as they are now against the rows that a repository keeps of them.

Earlier runs have rows but no scores, so nothing is paired. What can vary between repetitions
depends on the benchmark:

- Its content is the same: so are its people, and the question is whether the *training* has become
  worse. If it has not, both sides are samples of seeds from one distribution, evaluated on the same
  people; the standard error is that of seeds only, without a contribution of test people.
- Its content differs: the standard errors of test people on both sides are added.

The spread over seeds is moderated by that of all methods of both sides, as in the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from frcore.comparison.paired import counting
from frcore.comparison.spec import ComparisonSpec
from frcore.comparison.verdict import judged, number_of
from frcore.evaluation.intervals.detectable import Errors
from frcore.evaluation.intervals.seeds import SeedSpread, seed_spread
from frcore.records.comparison import ComparedNumber
from frcore.results.column import Column, Method
from frcore.results.summary import Summary, joint_level

MANY = 10**6
"""Degrees of freedom of an error that is taken as known."""


@dataclass(frozen=True)
class Side:
    """One method's number on one side.

    Attributes:
        values: one per seed.
        se_test: standard error of one run due to the choice of test people; None if unknown.
        trials: the n that its values are proportions of.
    """

    values: tuple[float, ...]
    se_test: float | None
    trials: float

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return float(np.mean(self.values)) if self.values else None


def reference_numbers(spec: ComparisonSpec, now: Summary, then: Summary) -> list[ComparedNumber]:
    """Now minus then for every number that counts, with verdicts.

    Args:
        spec: with `against`.
        now: of `spec.study`.
        then: the same study's, over kept rows.

    Raises:
        UserError: `rule.metrics` names a number that does not exist.
    """

    def few(column: Column) -> str:
        return now.why_unmarked(column) or then.why_unmarked(column)

    every = list(dict.fromkeys([*now.columns, *then.columns]))
    both = dict.fromkeys([*now.primary(), *then.primary()])
    columns = counting(every, spec.rule, few, list(both))
    spreads = {column: _spread(now, then, column) for column in columns}
    frames = now.rows.usable("evaluation"), then.rows.usable("evaluation")
    same = {column: same_data(*frames, column.benchmark) for column in columns}
    sides = [(column, method, _side(now, method, column), _side(then, method, column))
             for column in columns for method in now.trained]  # fmt: skip
    compared = sum(bool(a.values and b.values and not few(column)) for column, _, a, b in sides)
    level, numbers = joint_level(compared), []
    for column, method, a, b in sides:
        if not (a.values or b.values):
            continue
        number = number_of(method, column, a.mean, b.mean, (len(a.values), len(b.values)))
        if a.mean is None or b.mean is None:
            side = "now" if a.mean is None else "in the reference"
            numbers.append(number.but(why=f"no value {side}"))
            continue
        found = errors_of(a, b, spreads[column], level=level, same_people=same[column])
        if few(column) or found is None:
            why = few(column) or "one seed on each side, and rows without standard errors"
            numbers.append(number.but(why=why))
            continue
        errors, how = found
        half, number = errors.half_width(level), number.but(detectable=errors.detectable(level))
        difference = a.mean - b.mean
        ends = max(-1.0, difference - half), min(1.0, difference + half)
        numbers.append(judged(number, spec.rule, difference, *ends, level=level, method=how))
    return numbers


def _side(summary: Summary, method: Method, column: Column) -> Side:
    own = [row for row in summary.part(method, column) if pd.notna(row.value)]
    errors = [error for row in own if (error := _test_error(row)) is not None]
    trials = [float(row.n) for row in own if pd.notna(row.n)]
    return Side(
        tuple(float(row.value) for row in own),
        float(np.mean(errors)) if own and len(errors) == len(own) else None,
        min(trials, default=0.0),
    )


def _test_error(row: Any) -> float | None:
    """Rows of earlier versions have a 95 % interval but no standard error."""
    if pd.notna(row.se_test):
        return float(row.se_test)
    return None if pd.isna(row.low) else float(row.high - row.low) / (2 * special.ndtri(0.975))


def _spread(now: Summary, then: Summary, column: Column) -> SeedSpread | None:
    """The spread over seeds in a column, of all methods of both sides."""
    groups = [*now.parts(column).values(), *then.parts(column).values()]
    return seed_spread([[row.value for row in group if pd.notna(row.value)] for group in groups])


def same_data(candidate: pd.DataFrame, baseline: pd.DataFrame, benchmark: str) -> bool:
    """Whether all rows of both sides were evaluated on the same content of a benchmark."""
    both = pd.concat([f[f["benchmark"] == benchmark]["data_sha256"] for f in (candidate, baseline)])
    return both.notna().all() and both.nunique() == 1


def errors_of(
    now: Side, then: Side, spread: SeedSpread | None, *, level: float, same_people: bool
) -> tuple[Errors, str] | None:
    """What the interval of a difference of two means is made of, and its method; None if unknown.

    Args:
        now, then: the two sides.
        spread: over seeds, of all methods; None if no method has two.
        level: of the interval.
        same_people: whether both were evaluated on the same benchmark.
    """
    parts, people = [], 0.0
    if spread is not None:
        parts.append(f"seeds, moderated over {spread.groups} groups, Student t")
    if spread is None or not same_people:
        if now.se_test is None or then.se_test is None:
            return None
        people = now.se_test**2 + then.se_test**2
        parts.append("test people of both sides, treated as independent")
    errors = Errors(people, 0.0, MANY, 1)
    if spread is not None:
        # A proportion of n cannot resolve less than 1/n, so the spread is at least that.
        least = 1 / max(now.trials, then.trials, 1)
        sides = [(1 / len(side.values), side.values) for side in (now, then)]
        seeds, freedom = spread.combined(sides, least**2)
        # One Student's t for both parts, as the spread over seeds is the less certain.
        errors = Errors(0.0, people + seeds, 1, freedom)
    how = f"unpaired; standard errors of {' and of '.join(parts)}"
    return errors, how
