"""From scored pairs to the rows of an evaluation: one row per number, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.intervals.estimates import Estimate
from frcore.evaluation.intervals.influences import Accuracy, TarAt
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import interval_of_mean, intervals_of_pairs
from frcore.evaluation.metrics import TarAtFar, allowed_false_accepts
from frcore.evaluation.protocol import ScoredPairs
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import threshold_from, verification_accuracy

Row = dict[str, Any]

PAIR_FARS = (1e-2, 1e-3)
"""FARs of pair benchmarks besides the headline's (`fars_of_pairs`)."""

LEVEL = 0.95

_EMPTY: Row = dict.fromkeys(
    ("metric", "far", "rank", "fpir", "gallery", "subset", "value", "low", "high", "level",
     "method", "se_test", "n", "n_unit", "threshold", "far_achieved", "false_accepts",
     "impostors", "note")
)  # fmt: skip


def empty_row() -> Row:
    """A row with every column, all of them null."""
    return dict(_EMPTY)


@dataclass(frozen=True)
class Judged:
    """Rows, and the threshold that each of the pairs was judged with (P,).

    NaN where accuracy could not be had; None where it was not asked for.
    """

    rows: list[Row]
    threshold: NDArray[np.float64] | None


def accuracy_rows(pairs: ScoredPairs, subset: str) -> Judged:
    """Accuracy of the tested pairs: over folds, or with the threshold of the threshold split.

    A number that cannot be had (a fold or a kind of pair is empty) is a row without a value that
    says so.
    """
    tested = pairs.take(pairs.tested)
    row = _EMPTY | {
        "metric": "accuracy",
        "subset": subset,
        "n": tested.scores.size,
        "n_unit": "pairs",
    }
    try:
        if pairs.tested.all():
            result = verification_accuracy(tested.scores, tested.same, tested.fold)
            threshold, metric = result.threshold_of_pair, Accuracy(tested.fold, 0.0)
            row |= {
                "value": result.accuracy,
                "threshold": float(result.thresholds.mean()),
                "note": f"mean of {result.fold_ids.size} folds, S_E {result.std_error:.4f}; "
                "threshold: mean over folds",
            }
        else:
            chosen = pairs.take(~pairs.tested)
            one = threshold_from(chosen.scores, chosen.same)
            threshold, metric = np.full(tested.scores.size, one), Accuracy(None, 0.0)
            # Judged on the margin, as the report does: the sign of a difference of floats is exact.
            value = metric.value(Ranked(tested.scores - threshold, tested.same))
            row |= {"value": value, "threshold": one}
    except UserError as error:
        row["note"] = str(error)
        return Judged([row], np.full(tested.scores.size, np.nan))
    estimate: Estimate | UserError
    try:
        estimate = interval_of_mean(
            tested.scores - threshold, tested.same, tested.identity_a, tested.identity_b,
            metric=metric, level=LEVEL,
        )  # fmt: skip
    except UserError as error:
        estimate = error
    return Judged([with_estimate(row, estimate)], threshold)


def tar_rows(pairs: ScoredPairs, subset: str, fars: Sequence[float]) -> list[Row]:
    """TAR at each FAR over the tested pairs; a FAR that cannot be resolved has no value, and one
    that allows too few false accepts (`frcore.evaluation.false_accepts`) no interval.

    Args:
        pairs: of which those that count are judged.
        subset: its name, for the rows.
        fars: false accept rates.
    """
    tested = pairs.take(pairs.tested)
    impostors = int(tested.same.size - np.count_nonzero(tested.same))
    common = _EMPTY | {
        "metric": "tar",
        "subset": subset,
        "n": tested.same.size - impostors,
        "n_unit": "genuine pairs",
        "impostors": impostors,
    }
    try:
        ranked = Ranked(tested.scores, tested.same)
    except UserError as error:  # pairs of one kind, or none
        return [common | {"far": far, "note": str(error)} for far in fars]
    rows, resolved = [], []
    for far in fars:
        row = common | {"far": far}
        try:
            allowed_false_accepts(far, impostors)
            resolved.append(far)
        except UserError as error:
            row["note"] = str(error)
        rows.append(row)
    if not resolved:
        return rows
    points = {point.far_asked: point for point in ranked.tar_at_fars(resolved)}
    rows = [row | _point_columns(points.get(row["far"])) for row in rows]
    estimates = _intervals(ranked, tested, resolved)
    return [
        with_estimate(row, estimates[row["far"]]) if row["far"] in estimates else row
        for row in rows
    ]


def _point_columns(point: TarAtFar | None) -> Row:
    if point is None:
        return {}
    return {
        "value": point.tar,
        "threshold": point.threshold if math.isfinite(point.threshold) else None,
        "far_achieved": point.far,
        "false_accepts": point.false_accepts,
    }


def _intervals(
    ranked: Ranked, pairs: ScoredPairs, fars: Sequence[float]
) -> dict[float, Estimate | UserError]:
    """The interval of the TAR at each FAR, or why there is none."""
    found: dict[float, Estimate | UserError] = {
        far: UserError(why) for far in fars if (why := why_no_interval(far, ranked.impostors))
    }
    names = {f"{far}": far for far in fars if far not in found}
    if not names:
        return found
    try:
        shared = intervals_of_pairs(
            dict.fromkeys(names, ranked),
            people_of_pairs(pairs.same, pairs.identity_a, pairs.identity_b),
            metrics={name: TarAt(far) for name, far in names.items()},
        )
    except UserError as error:
        return dict.fromkeys(fars, error) | found
    return found | {far: shared.mean([name], level=LEVEL) for name, far in names.items()}


def with_estimate(row: Row, estimate: Estimate | UserError) -> Row:
    """`row` with its interval, or with the reason why there is none."""
    if isinstance(estimate, UserError):
        note = "; ".join(filter(None, [row["note"], f"no interval: {estimate}"]))
        return row | {"note": note}
    return row | {
        "low": estimate.low,
        "high": estimate.high,
        "level": LEVEL,
        "method": estimate.method,
        "se_test": estimate.se_test,
    }
