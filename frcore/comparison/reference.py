"""Heads as they are now against the rows that a repository keeps of them.

Earlier runs have rows but no scores, so nothing is paired. What can vary between repetitions
depends on the benchmark:

- Its content is the same: so are its people, and the question is whether the *training* has become
  worse. If it has not, both sides are samples of seeds from one distribution, evaluated on the same
  people; the standard error is that of seeds only, without a contribution of test people.
- Its content differs: the standard errors of test people on both sides are added.

The spread over seeds is pooled over all methods of both sides, as in the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from frcore.comparison.paired import counting, family_level
from frcore.comparison.results import Number
from frcore.comparison.rules import REFERENCE_FILES
from frcore.comparison.spec import ComparisonSpec
from frcore.errors import UserError
from frcore.evaluation.intervals.estimates import SeedSpread, seed_spread
from frcore.results.frames import TYPES
from frcore.results.rows import (
    NUMBER_COLUMNS,
    Rows,
    why_few,
    without_unfounded_intervals,
)
from frcore.results.summary import Column, Method

METHOD = ["backbone", "head", "sampler"]
NEEDED = {
    "evaluation": (*METHOD, "seed", "benchmark", "status", "metric", "far", "subset", "value"),
    "training": (*METHOD, "seed", "status", "spec_hash"),
    "measurement": ("head", "sampler", "status", "identities", "step_ms"),
}
"""Columns that a study's rows must have; columns added later may be missing in older rows."""


def read_reference(folder: Path) -> Rows:
    """The rows that `frcore reference` kept in a folder, also those of earlier versions.

    Raises:
        UserError: a file is missing or was not written by a report.
    """
    frames = {Path(name).stem: _read(folder / name) for name in REFERENCE_FILES}
    evaluation = frames["evaluation"]
    for name in ("data_sha256", *NUMBER_COLUMNS):
        if name not in evaluation:
            evaluation[name] = None
    frames["evaluation"] = without_unfounded_intervals(evaluation)
    return Rows(frames["evaluation"], frames["training"], frames["measurement"], pd.DataFrame())


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
        missing = [name for name in NEEDED[path.stem] if name not in frame]
        wrong = f"has no column {', '.join(missing)}" if missing else ""
    except (OSError, ValueError, pd.errors.ParserError) as error:
        wrong = f"cannot be read: {error}"
    if wrong:
        raise UserError(
            f"'{path}' {wrong}; give --against a folder that `frcore reference` wrote, such as "
            "results/reference/cpu/quick"
        )
    numeric = {name for name, kind in TYPES.items() if kind in ("Int64", "float64")}
    for name in numeric & {*map(str, frame)}:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame


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


def reference_numbers(
    spec: ComparisonSpec, now: Rows, then: Rows, columns: list[Column]
) -> list[Number]:
    """Now minus then for every number that counts, with verdicts.

    Args:
        spec: with `against`.
        now: rows of `spec.study`.
        then: kept rows.
        columns: numbers of either side.

    Raises:
        UserError: `rule.metrics` names a number that does not exist.
    """
    frames = now.usable("evaluation"), then.usable("evaluation")
    few = {column: _few(frames, column) for column in columns}
    chosen = counting(columns, spec.rule, few.__getitem__)
    found = [item for column in chosen for item in _methods(spec, frames, column)]
    compared = sum(bool(one.values and other.values and not few[c]) for c, _, one, other in found)
    level = family_level(compared)
    pooled = {column: _pooled(frames, column) for column in chosen}
    same = {c.benchmark: same_data(*frames, c.benchmark) for c in chosen}
    return [
        _number(spec, column, method, one, other, level, pooled[column], same[column.benchmark],
                few[column])
        for column, method, one, other in found
    ]  # fmt: skip


def _few(frames: tuple[pd.DataFrame, pd.DataFrame], column: Column) -> str:
    """Why a column has no intervals, on either side; "" if it has them."""
    reasons = [why for frame in frames for why in why_few(frame[column.rows_in(frame)])]
    return next(filter(None, reasons), "")


def _methods(
    spec: ComparisonSpec, frames: tuple[pd.DataFrame, pd.DataFrame], column: Column
) -> Iterator[tuple[Column, Method, Side, Side]]:
    """The study's methods for which either side has a value, with both sides."""
    parts = [frame[column.rows_in(frame)] for frame in frames]
    for backbone in spec.study.backbones:
        for head in spec.study.heads:
            for sampler in spec.study.samplers:
                method = Method(backbone.label, head.label, sampler.label)
                sides = _side(parts[0], method), _side(parts[1], method)
                if sides[0].values or sides[1].values:
                    yield column, method, *sides


def _side(part: pd.DataFrame, method: Method) -> Side:
    names = [method.backbone, method.head, method.sampler]
    own = part[(part[METHOD] == names).all(axis=1) & part["value"].notna()]
    if own.empty:
        return Side((), None, 0)
    error = own["se_test"].astype("float64")
    # Rows of earlier versions have a 95 % interval but no standard error.
    error = error.fillna((own["high"] - own["low"]).astype("float64") / (2 * special.ndtri(0.975)))
    se_test = None if error.isna().any() else float(error.mean())
    trials = pd.to_numeric(own["n"]).min()
    return Side(tuple(own["value"].astype(float)), se_test, 0 if pd.isna(trials) else float(trials))


def _pooled(frames: tuple[pd.DataFrame, pd.DataFrame], column: Column) -> SeedSpread | None:
    """The spread over seeds in a column, pooled over all methods of both sides."""
    groups: list[list[float]] = []
    for frame in frames:
        part = frame[column.rows_in(frame) & frame["value"].notna()]
        groups += [list(group.astype(float)) for _, group in part.groupby(METHOD)["value"]]
    return seed_spread(groups)


def _number(
    spec: ComparisonSpec, column: Column, method: Method, now: Side, then: Side, level: float,
    spread: SeedSpread | None, same_people: bool, few: str,
) -> Number:  # fmt: skip
    seeds = len(now.values), len(then.values)
    number = Number.of(method, column, now.mean, then.mean, seeds)
    if now.mean is None or then.mean is None:
        side = "now" if now.mean is None else "in the reference"
        return number.but(why=f"no value {side}")
    found = half_width(now, then, spread, level=level, same_people=same_people)
    if few or found is None:
        why = few or "one seed on each side, and rows without standard errors"
        return number.but(why=why)
    half, method_text = found
    difference = now.mean - then.mean
    ends = max(-1.0, difference - half), min(1.0, difference + half)
    return number.judged(spec.rule, difference, *ends, level=level, method=method_text)


def same_data(candidate: pd.DataFrame, baseline: pd.DataFrame, benchmark: str) -> bool:
    """Whether all rows of both sides were evaluated on the same content of a benchmark."""
    both = pd.concat([f[f["benchmark"] == benchmark]["data_sha256"] for f in (candidate, baseline)])
    return both.notna().all() and both.nunique() == 1


def half_width(
    now: Side, then: Side, spread: SeedSpread | None, *, level: float, same_people: bool
) -> tuple[float, str] | None:
    """Half-width of the interval of a difference of two means, and its method; None if unknown.

    Args:
        now, then: the two sides.
        spread: over seeds; None if no method has two.
        level: of the interval.
        same_people: whether both were evaluated on the same benchmark.
    """
    upper = (1 + level) / 2
    quantile, variance, parts = special.ndtri(upper), 0.0, []
    if spread is not None:
        # A proportion of n cannot resolve less than 1/n, so the spread is at least that.
        deviation = max(spread.deviation, 1 / max(now.trials, then.trials, 1))
        variance += deviation**2 * (1 / len(now.values) + 1 / len(then.values))
        quantile = special.stdtrit(spread.freedom, upper)
        parts.append(f"seeds, pooled over {spread.groups} groups, Student t")
    if spread is None or not same_people:
        if now.se_test is None or then.se_test is None:
            return None
        variance += now.se_test**2 + then.se_test**2
        parts.append("test people of both sides, treated as independent")
    how = f"unpaired; standard errors of {' and of '.join(parts)}"
    return float(quantile * np.sqrt(variance)), how
