"""From scored pairs to the rows of an evaluation: one row per number, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.identification import FoundProbes, Searches, tpir_at_fpir
from frcore.evaluation.intervals.estimates import Intervals
from frcore.evaluation.intervals.influences import (
    Accuracy,
    RankShare,
    SearchMetric,
    TarAt,
    TpirAt,
)
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import (
    few_false_positives,
    intervals_of_pairs,
    intervals_of_searches,
)
from frcore.evaluation.metrics import TarAtFar
from frcore.evaluation.protocol import ScoredPairs
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import threshold_from, verification_accuracy
from frcore.records.evaluation import NumberRow

Row = dict[str, Any]

LEVEL = 0.95

SEARCH_NOTE = (
    "1:N search: a candidate is a person; rank-k is the share of mated searches with the mate "
    "among the first k, TPIR the share with the mate first and at or above the threshold, the "
    "lowest at which the share of this sample's non-mated searches with a candidate (FPIR) is not "
    "above the requested one. Means over galleries, each with its own threshold; intervals are "
    "over the people of probes, with the galleries held fixed."
)
SEARCH_METRICS: tuple[SearchMetric, ...] = (*map(RankShare, (1, 5)), *map(TpirAt, (0.01, 0.1)))

_EMPTY: Row = dict.fromkeys(NumberRow.model_fields)


def empty_row() -> Row:
    """A row with every column, all of them null."""
    return dict(_EMPTY)


@dataclass(frozen=True)
class Judged:
    """Rows, and the threshold applied to each pair (P,).

    NaN where accuracy is undefined; None where it was not requested.
    """

    rows: list[Row]
    threshold: NDArray[np.float64] | None


def accuracy_rows(pairs: ScoredPairs, subset: str) -> Judged:
    """Accuracy of the tested pairs: over folds, or with the threshold of the threshold split.

    If it is undefined (a fold or a kind of pair is empty), the row has a note instead of a value.
    """
    tested = pairs.take(pairs.tested)
    count = tested.scores.size
    row = _EMPTY | {"metric": "accuracy", "subset": subset, "n": count, "n_unit": "pairs"}
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
            threshold, metric = np.full(count, one), Accuracy(None, 0.0)
            # On the margin, as in the report: the sign of a difference of floats is exact.
            value = metric.value(Ranked(tested.scores - threshold, tested.same))
            row |= {"value": value, "threshold": one}
    except UserError as error:
        return Judged([row | {"note": str(error)}], np.full(count, np.nan))

    def intervals(places: list[str]) -> Intervals:
        margins = dict.fromkeys(places, tested.scores - threshold)
        people = people_of_pairs(tested.same, tested.identity_a, tested.identity_b)
        return intervals_of_pairs(margins, people, metrics=dict.fromkeys(places, metric))

    return Judged(_with_intervals([row], lambda _: "", intervals), threshold)


def tar_rows(pairs: ScoredPairs, subset: str, fars: Sequence[float]) -> list[Row]:
    """TAR at each FAR over the tested pairs; a FAR that cannot be resolved has no value, and one
    that allows too few false accepts (`frcore.evaluation.false_accepts`) has no interval.

    Args:
        pairs: only the tested ones are evaluated.
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

    def intervals(places: list[str]) -> Intervals:
        people = people_of_pairs(tested.same, tested.identity_a, tested.identity_b)
        metrics = {place: TarAt(fars[int(place)]) for place in places}
        return intervals_of_pairs(dict.fromkeys(places, ranked), people, metrics=metrics)

    # The highest FAR first: it determines how many impostor scores are sorted.
    columns = {far: _columns(partial(ranked.tar_at_fars, [far])) for far in sorted(fars)[::-1]}
    rows = [common | {"far": far} | columns[far] for far in fars]
    return _with_intervals(rows, lambda place: why_no_interval(fars[place], impostors), intervals)


def all_search_rows(found: FoundProbes | None) -> list[Row]:
    """`search_rows` for all probes and, if people were in training, for probes without them."""
    if found is None:
        return []
    unseen = found.unseen()
    return search_rows(found, "all") + (search_rows(unseen, "unseen") if unseen else [])


def search_rows(found: FoundProbes, subset: str) -> list[Row]:
    """Rank-k and TPIR at FPIR: the mean over galleries, then each gallery if there are several.

    A number that is undefined is a row without a value whose note says why.
    """
    galleries = list(found.galleries.values())
    rows = _search_rows(galleries, None, subset)
    if len(galleries) > 1:
        for number, one in found.galleries.items():
            rows += _search_rows([one], number, subset)
    return rows


def _search_rows(galleries: list[Searches], number: int | None, subset: str) -> list[Row]:
    mated = sum(int(one.mated.sum()) for one in galleries)
    others = sum(int((~one.mated).sum()) for one in galleries)
    common = _EMPTY | {
        "subset": subset,
        "gallery": number,
        "n": mated,
        "n_unit": "mated searches",
    }
    rows = []
    for metric in SEARCH_METRICS:
        if isinstance(metric, TpirAt):
            row = common | {"metric": "tpir", "fpir": metric.fpir, "impostors": others}
            row |= _columns(partial(_tpir, galleries, metric.fpir))
        else:
            row = common | {"metric": "rank", "rank": metric.rank}
            try:
                row["value"] = float(np.mean([metric.value(one) for one in galleries]))
            except UserError as error:
                row["note"] = str(error)
        rows.append(row)

    def intervals(places: list[str]) -> Intervals:
        metrics = {place: SEARCH_METRICS[int(place)] for place in places}
        return intervals_of_searches(dict.fromkeys(places, galleries), metrics=metrics)

    return _with_intervals(
        rows, lambda place: few_false_positives(galleries, SEARCH_METRICS[place]), intervals
    )


def _tpir(galleries: list[Searches], fpir: float) -> list[TarAtFar]:
    return [tpir_at_fpir(one, fpir) for one in galleries]


def _columns(operating_points: Callable[[], list[TarAtFar]]) -> Row:
    """The mean of operating points, each with its own threshold; or a note why there are none."""
    try:
        points = operating_points()
    except UserError as error:
        return {"note": str(error)}
    threshold = points[0].threshold
    return {
        "value": float(np.mean([point.tar for point in points])),
        "threshold": threshold if len(points) == 1 and math.isfinite(threshold) else None,
        "far_achieved": float(np.mean([point.far for point in points])),
        "false_accepts": sum(point.false_accepts for point in points),
    }


def _with_intervals(
    rows: list[Row], why_not: Callable[[int], str], intervals: Callable[[list[str]], Intervals]
) -> list[Row]:
    """`rows`, each value with its interval or with the reason why it has none.

    Args:
        rows: of one sample.
        why_not: row index -> why that row has no interval; "" if it may have one.
        intervals: row indices (as run names) -> their intervals.
    """
    reasons = {place: why_not(place) for place, row in enumerate(rows) if row["value"] is not None}
    able = [str(place) for place, why in reasons.items() if not why]
    try:
        shared = intervals(able) if able else None
    except UserError as error:
        shared = None
        reasons |= dict.fromkeys(map(int, able), str(error))
    found = list(rows)
    for place, why in reasons.items():
        if shared is None or why:
            note = "; ".join(filter(None, [rows[place]["note"], f"no interval: {why}"]))
            found[place] = rows[place] | {"note": note}
            continue
        estimate = shared.mean([str(place)], level=LEVEL)
        found[place] = rows[place] | {
            "low": estimate.low,
            "high": estimate.high,
            "level": LEVEL,
            "method": estimate.method,
            "se_test": estimate.se_test,
        }
    return found
