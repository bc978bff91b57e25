"""Verification accuracy over folds (LFW View 2), and with a threshold chosen elsewhere (View 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, FloatArray, IntArray, as_labels, as_scores

ThresholdRule = Literal["exact", "grid"]

GRID = np.arange(0, 4, 0.01)
"""The peers' thresholds on the squared distance of unit vectors (InsightFace, FaceNet)."""


class Interval(NamedTuple):
    """A confidence interval; unpacks as `low, high = interval`."""

    low: float
    high: float


@dataclass(frozen=True)
class VerificationAccuracy:
    """Accuracy over folds, each evaluated with a threshold chosen on the other folds.

    Attributes:
        accuracy: mean of `fold_accuracies`.
        fold_accuracies: share of correct decisions in each fold (F,).
        thresholds: the threshold used for each fold (F,).
        fold_ids: the fold of each entry (F,).
        std_error: standard error of the mean over folds, with the unbiased variance (LFW's S_E).
        interval: see `verification_accuracy`.
        level, method: of the interval.
        threshold_of_pair, correct: for each pair (P,), for further statistics.
    """

    accuracy: float
    fold_accuracies: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    fold_ids: NDArray[np.int64]
    std_error: float
    interval: Interval
    level: float
    method: str
    threshold_of_pair: NDArray[np.float64]
    correct: BoolArray


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion; its width is not zero at 0 or 1.

    >>> [round(bound, 4) for bound in wilson_interval(10, 10)]
    [0.7225, 1.0]
    """
    z = float(special.ndtri(0.5 + level / 2))
    return score_interval(successes / trials, z * z / trials)


def score_interval(share: float, c: float) -> Interval:
    """The shares p with (share − p)² ≤ c · p (1 − p): Wilson's interval, with c = z²/trials."""
    centre, half = share + c / 2, float(np.sqrt(c * share * (1 - share) + c * c / 4))
    return Interval(max(0.0, (centre - half) / (1 + c)), min(1.0, (centre + half) / (1 + c)))


def _exact_threshold(scores: FloatArray, same: BoolArray) -> float:
    """The middle of the widest gap between scores in which accuracy is highest."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    # right[i]: correct decisions gained by accepting the first i, over accepting nobody.
    right = np.concatenate([[0], np.cumsum(np.where(same[order], 1, -1))])
    cut_allowed = np.concatenate([[True], ordered[1:] < ordered[:-1], [True]])
    right = np.where(cut_allowed, right, -scores.size - 1)
    best = np.flatnonzero(right == right.max())
    # Cuts outside the scores have no gap to take the middle of, so they are the last resort.
    above = np.concatenate([ordered[:1], ordered])
    below = np.concatenate([ordered, ordered[-1:]])
    cut = int(best[np.argmax(above[best] - below[best])])
    if cut == 0:
        return float(np.nextafter(ordered[0], np.inf))
    if cut == ordered.size:
        return float(ordered[-1])
    middle = below[cut] + (above[cut] - below[cut]) / 2
    return float(middle if middle > below[cut] else above[cut])


def _grid_threshold(scores: FloatArray, same: BoolArray) -> float:
    """The peers' choice: first best of 400 squared distances; returned as a cosine."""
    distance = np.sort(2 - 2 * scores.astype(np.float64)[same])
    impostor = np.sort(2 - 2 * scores.astype(np.float64)[~same])
    accepted = np.searchsorted(distance, GRID, side="left")
    rejected = impostor.size - np.searchsorted(impostor, GRID, side="left")
    return float(GRID[int(np.argmax(accepted + rejected))])


def threshold_from(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold with the highest accuracy on these pairs (accept iff score ≥ threshold).

    Every cut between two different scores is tried. Among equally accurate cuts the widest gap
    wins, then the higher threshold; the threshold is the middle of the gap. The choice does not
    depend on the order of the pairs.

    >>> round(threshold_from([0.9, 0.7, 0.3, 0.1], [True, True, False, False]), 6)
    0.5

    Raises:
        UserError: unusable scores or labels, or only one kind of pair.
    """
    array = as_scores(scores, "pair")
    return _exact_threshold(array, as_labels(same, array.size))


def accuracy_at(threshold: float | ArrayLike, scores: ArrayLike, same: ArrayLike) -> float:
    """Share of correct decisions when pairs with score ≥ threshold (one, or one per pair) pass.

    >>> accuracy_at(0.5, [0.9, 0.4, 0.3, 0.1], [True, True, False, False])
    0.75
    """
    array = as_scores(scores, "pair")
    return float(((array >= np.asarray(threshold)) == as_labels(same, array.size)).mean())


def fold_of_pair(folds: int | ArrayLike, pairs: int) -> IntArray:
    """The fold of each pair: contiguous blocks in list order for a number, or the given ids (P,).

    Blocks differ in size by at most one, the larger first, as `sklearn.model_selection.KFold`.

    >>> fold_of_pair(3, 7).tolist()
    [0, 0, 0, 1, 1, 2, 2]
    """
    array = np.asarray(folds)
    if array.ndim == 0:
        count = int(array)
        if count != array or not 2 <= count <= pairs:
            raise UserError(f"{array} folds of {pairs} pairs; give between 2 and {pairs} folds")
        blocks = np.array_split(np.arange(pairs), count)
        return np.repeat(np.arange(count), [block.size for block in blocks])
    if array.shape != (pairs,) or array.dtype.kind not in "iu":
        raise UserError(
            f"fold ids have shape {array.shape} and type {array.dtype}; give one integer for each "
            f"of the {pairs} pairs, or the number of folds"
        )
    if (array == array[0]).all():
        raise UserError(
            "all pairs are in one fold; the threshold is chosen on the other folds, so give at "
            "least 2 folds, or choose it on other pairs with threshold_from"
        )
    return array.astype(np.int64)


def _judge_fold(
    scores: FloatArray, same: BoolArray, test: BoolArray, rule: ThresholdRule
) -> tuple[float, BoolArray]:
    """The threshold from the pairs outside `test`, and which decisions inside it are correct."""
    if rule == "grid":
        threshold = _grid_threshold(scores[~test], same[~test])
        accepted = 2 - 2 * scores[test].astype(np.float64) < threshold
        return 1 - threshold / 2, accepted == same[test]
    threshold = _exact_threshold(scores[~test], same[~test])
    return threshold, (scores[test].astype(np.float64) >= threshold) == same[test]


def _interval_over_folds(
    accuracies: NDArray[np.float64], std_error: float, pairs: int, level: float
) -> tuple[Interval, str]:
    mean, count = float(accuracies.mean()), accuracies.size
    if std_error == 0:
        return wilson_interval(mean * pairs, pairs, level), "Wilson over pairs (all folds equal)"
    half = float(special.stdtrit(count - 1, 0.5 + level / 2)) * std_error
    return Interval(max(0.0, mean - half), min(1.0, mean + half)), f"t over {count} folds"


def verification_accuracy(
    scores: ArrayLike,
    same: ArrayLike,
    folds: int | ArrayLike = 10,
    *,
    rule: ThresholdRule = "exact",
    level: float = 0.95,
) -> VerificationAccuracy:
    """LFW-style accuracy: each fold is evaluated with the threshold chosen on all other folds.

    Args:
        scores: score of each pair (P,); higher means more similar.
        same: True for genuine pairs (P,).
        folds: a number of contiguous blocks in list order (LFW lists 300 genuine and 300 impostor
            pairs ten times, so ten blocks are its folds), or the fold id of each pair (P,).
        rule: "exact" as `threshold_from`. "grid" is the peers': the first best of 400 thresholds
            0, 0.01, ..., 3.99 on the squared distance 2 − 2·score, strictly below; only for
            cosines, and with a threshold that depends on where the grid happens to fall.
        level: of the interval.

    The interval is mean ± t·S_E over folds. It is valid where no person is in two folds, as in LFW:
    pairs share people, but folds do not. Otherwise use `frcore.evaluation.intervals.uncertainty`.
    Where all folds are equally accurate (all perfect), Wilson's interval over pairs replaces an
    interval of width zero.

    Raises:
        UserError: unusable scores, labels or folds; a fold outside which one kind of pair is
            missing; "grid" with scores that are not cosines.

    >>> scores, same = [0.9, 0.2, 0.8, 0.1, 0.3, 0.4], [1, 0, 1, 0, 1, 0]
    >>> result = verification_accuracy(scores, same, folds=3)
    >>> round(result.accuracy, 3), result.fold_accuracies.tolist()
    (0.833, [1.0, 1.0, 0.5])
    """
    array = as_scores(scores, "pair")
    labels = as_labels(same, array.size)
    fold = fold_of_pair(folds, array.size)
    if rule not in ("exact", "grid"):
        raise UserError(f"rule '{rule}' is not known; allowed: exact, grid")
    if rule == "grid" and np.abs(array).max() > 1 + 1e-3:
        raise UserError(
            f"rule 'grid' is for cosines, but a score is {array[np.argmax(np.abs(array))]}; "
            "use rule 'exact', or normalise the embeddings"
        )
    ids = np.unique(fold)
    correct, thresholds = np.empty(array.size, dtype=np.bool_), np.empty(ids.size)
    threshold_of_pair = np.empty(array.size)
    for index, fold_id in enumerate(ids):
        test = fold == fold_id
        if labels[~test].all() or not labels[~test].any():
            raise UserError(
                f"outside fold {fold_id} all pairs are of one kind, so no threshold can be chosen; "
                "mix genuine and impostor pairs in the folds"
            )
        thresholds[index], correct[test] = _judge_fold(array, labels, test, rule)
        threshold_of_pair[test] = thresholds[index]
    accuracies = np.array([correct[fold == fold_id].mean() for fold_id in ids])
    std_error = float(accuracies.std(ddof=1) / np.sqrt(ids.size))
    interval, method = _interval_over_folds(accuracies, std_error, array.size, level)
    return VerificationAccuracy(
        accuracy=float(accuracies.mean()),
        fold_accuracies=accuracies,
        thresholds=thresholds,
        fold_ids=ids,
        std_error=std_error,
        interval=interval,
        level=level,
        method=method,
        threshold_of_pair=threshold_of_pair,
        correct=correct,
    )
