"""The number that a claim is about, of a contrast of methods, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from frcore.evaluation.intervals.detectable import Errors
from frcore.heads import build_head
from frcore.heads.probability import head_curve
from frcore.results.column import Column, Method
from frcore.results.cost import MEMORY, is_disturbed, memory_column
from frcore.results.summary import Summary
from frcore.results.verdicts import Measured
from frcore.study.claims import Quantity

Weights = dict[Method, float]
PerSeed = dict[int, float]


class CannotTellError(Exception):
    """Why a claim's number is missing, or has no interval."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of methods: weights above 0 sum to 1, and those below to −1 or 0.

    Attributes:
        name: what it is, such as `a − b`.
        weights: by method.
    """

    name: str
    weights: Weights


def measure(summary: Summary, on: Quantity, contrast: Contrast, level: float) -> Measured:
    """The number of a contrast with its interval, in the unit of the quantity (ratios: logarithms).

    Raises:
        CannotTellError: it is missing, or has no interval.
    """
    if on.metric is not None:
        return _of_metric(summary, on.metric, contrast, level)
    if on.measured is not None:
        return _of_time(summary, on, contrast)
    if on.probability is not None:
        value = sum(w * computed(summary, on, method) for method, w in contrast.weights.items())
        return Measured(value, value, value, method="computed from the formula")
    values = {method: per_seed(summary, on, method) for method in contrast.weights}
    seeds = common_seeds(summary, values)
    differences = [sum(w * values[m][seed] for m, w in contrast.weights.items()) for seed in seeds]
    return student(differences, level)


def student(differences: Sequence[float], level: float) -> Measured:
    """The mean of a number of each seed with Student's interval.

    Raises:
        CannotTellError: fewer than two seeds.
    """
    count = len(differences)
    if count < 2:
        raise CannotTellError("one seed says nothing about how far seeds spread; two seeds or more")
    mean, variance = float(np.mean(differences)), float(np.var(differences, ddof=1)) / count
    half = float(special.stdtrit(count - 1, (1 + level) / 2)) * math.sqrt(variance)
    return Measured(mean, mean - half, mean + half, level, f"{count} seeds, Student t", count,
                    errors=Errors(0.0, variance, 1, count - 1))  # fmt: skip


def computed(summary: Summary, on: Quantity, method: Method) -> float:
    """P(θ) of a method's head, which no training changes."""
    (head,) = (one for one in summary.study.heads if one.label == method.head)
    built = build_head(head.name, num_classes=on.classes or 2, **head.parameters)
    built.attach(seed=0)
    built.eval()
    return float(head_curve(built, np.array([float(on.probability or 0.0)]))[0])


def _of_metric(summary: Summary, key: str, contrast: Contrast, level: float) -> Measured:
    column = _column(summary, key)
    if why := summary.why_unmarked(column):
        raise CannotTellError(why)
    runs = {
        method: {int(row.seed): str(row.run) for row in summary.part(method, column)
                 if pd.notna(row.value)}
        for method in contrast.weights
    }  # fmt: skip
    seeds = common_seeds(summary, runs)
    weights = [{runs[m][seed]: w for m, w in contrast.weights.items()} for seed in seeds]
    found = summary.scores.contrast(column, weights, level=level)
    if found is None:
        raise CannotTellError(
            summary.scores.why_not(column, [run for one in weights for run in one])
        )
    errors = found.errors._replace(people=1e4 * found.errors.people, seeds=1e4 * found.errors.seeds)
    return Measured(100 * found.value, 100 * found.low, 100 * found.high, level, found.method,
                    len(seeds), found.people, found.pairs, errors)  # fmt: skip


def _column(summary: Summary, key: str) -> Column:
    for column in summary.columns:
        if column.key == key:
            return column
    own = [column.key for column in summary.columns]
    raise CannotTellError(
        f"no run has {key} yet" + (f"; there are {', '.join(own)}" if own else "")
    )


def common_seeds(summary: Summary, found: Mapping[Method, Mapping[int, Any]]) -> list[int]:
    """The seeds that all methods have.

    Raises:
        CannotTellError: there are none.
    """
    missing = [summary.name(method) for method, seeds in found.items() if not seeds]
    if missing:
        raise CannotTellError(f"no results of {', '.join(missing)}")
    seeds = set.intersection(*(set(seeds) for seeds in found.values()))
    if not seeds:
        raise CannotTellError("the methods have no seed in common")
    return sorted(seeds)


def per_seed(summary: Summary, on: Quantity, method: Method) -> PerSeed:
    """A number of a method's trainings, or of their class centres, by seed."""
    if on.drift is not None:
        return _drift_per_seed(summary, on, method)
    if on.centers is not None:
        frame = summary.rows.usable("diagnostics")
        own = frame[method.rows_in(frame) & (frame["quantity"] == on.centers)
                    & (frame["group"] == on.group) & frame["value"].notna()]  # fmt: skip
        cosine = own["cosine"].astype("float64")
        own = own[cosine.isna() if on.cosine is None else np.isclose(cosine, on.cosine)]
        scale = 100 if on.unit == "points" else 1
        return {int(seed): scale * float(value)
                for seed, value in zip(own["seed"], own["value"], strict=True)}  # fmt: skip
    frame = summary.rows.usable("training")
    own = frame[method.rows_in(frame)]
    values = own["seconds"] if on.training == "seconds" else [
        _of_epochs(summary, on, str(run)) for run in own["run"]
    ]  # fmt: skip
    return {int(seed): float(value) for seed, value in zip(own["seed"], values, strict=True)
            if value is not None and pd.notna(value)}  # fmt: skip


def _drift_per_seed(summary: Summary, on: Quantity, method: Method) -> PerSeed:
    frame = summary.rows.usable("diagnostics")
    own = frame[method.rows_in(frame) & (frame["age"] == on.age)
                & np.isclose(frame["start"].astype("float64"), on.start or 0)]  # fmt: skip
    table = own.pivot_table(index="seed", columns="quantity", values="value")
    if table.empty:
        return {}
    values = (table["compensated"] - table["queued"]) if on.drift == "gain" else table[on.drift]
    return {int(str(seed)): float(value) for seed, value in values.items()}


def _of_epochs(summary: Summary, on: Quantity, run: str) -> float | None:
    lines = summary.rows.found.events.get(run, [])
    epochs: dict[int, float | None] = {
        int(line["epoch"]): line.get(str(on.training)) for line in lines if line["event"] == "epoch"
    }
    if not epochs:
        return None
    first, last = epochs[min(epochs)], epochs[max(epochs)]
    if on.epoch == "change":
        return None if first is None or last is None else last - first
    return (
        epochs.get(on.epoch)
        if isinstance(on.epoch, int)
        else first
        if on.epoch == "first"
        else last
    )


def _of_time(summary: Summary, on: Quantity, contrast: Contrast) -> Measured:
    """The span of a ratio: geometric means, where a side has several methods."""
    weights: dict[tuple[str, str], float] = {}
    for method, weight in contrast.weights.items():  # the last layer is measured without backbone
        key = method.head, method.sampler
        weights[key] = weights.get(key, 0.0) + weight
    value = low = high = 0.0
    for (head, sampler), weight in weights.items():
        middle, *ends = map(math.log, reading(summary, on, head, sampler))
        value += weight * middle
        ends = ends if weight > 0 else ends[::-1]
        low, high = low + weight * ends[0], high + weight * ends[1]
    how = "20th to 80th percentile of steps" if on.measured == "step_ms" else "one reading each"
    return Measured(value, low, high, method=how)


def reading(summary: Summary, on: Quantity, head: str, sampler: str) -> tuple[float, float, float]:
    """Median, low and high of a measured point.

    Raises:
        CannotTellError: it is missing, or was taken while other programs were running.
    """
    rows = summary.rows
    frame = rows.measurement if on.processes == 1 else rows.of_several_processes
    name = f"{head} + {sampler}"
    if frame.empty:
        raise CannotTellError(f"{name} was not measured")
    own = frame[(frame["head"] == head) & (frame["sampler"] == sampler)
                & (frame["identities"] == on.identities)
                & (frame["processes"] == on.processes)]  # fmt: skip
    if own.empty or own.iloc[0]["status"] != "ok":
        why = "" if own.empty else f": {own.iloc[0]['reason'] or own.iloc[0]['status']}"
        raise CannotTellError(f"{name} was not measured{why}")
    row = own.iloc[0]
    if is_disturbed(row):
        raise CannotTellError(
            f"{name} was disturbed ({row['disturbed']}); measure it again on a quiet machine"
        )
    if on.measured == "memory":
        column = memory_column(frame)
        value = None if column is None else row[column]
        if value is None or pd.isna(value) or not value > 0:
            raise CannotTellError(f"no memory reading of {name} ({', '.join(MEMORY.values())})")
        return float(value), float(value), float(value)
    times = [float(row[key]) for key in ("step_ms", "step_ms_low", "step_ms_high")]
    if not min(times) > 0:
        raise CannotTellError(f"no step time of {name}")
    return times[0], times[1], times[2]


def value_of(summary: Summary, on: Quantity, method: Method) -> float | None:
    """A method's number, the mean over its seeds; None if it is missing."""
    try:
        if on.metric is not None:
            value = summary.cell(method, _column(summary, on.metric)).value
            return None if value is None else 100 * value
        if on.measured is not None:
            return reading(summary, on, method.head, method.sampler)[0]
        if on.probability is not None:
            return computed(summary, on, method)
    except CannotTellError:
        return None
    values = [*per_seed(summary, on, method).values()]
    return float(np.mean(values)) if values else None
