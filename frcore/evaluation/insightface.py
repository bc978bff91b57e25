"""Verification by InsightFace's rules, to compare with published tables.

Restated from insightface, `recognition/arcface_torch/eval/verification.py` (`calculate_roc`,
`calculate_val`, `evaluate`), whose tables of LFW, CFP-FP and AgeDB-30 most papers follow: pairs are
compared by the squared distance d = 2 − 2·cos of unit embeddings, "same" is d < threshold, folds
are ten consecutive blocks, and the mean and population standard deviation over folds are reported.
Two things are worth knowing about these numbers:

- Accuracy takes the first best of 400 thresholds, 0, 0.01, …, 3.99; the position of the grid can
  flip a decision or two. `frcore.evaluation.verification`'s rule "exact" tries every threshold.
- VAL (their TAR at FAR 1e-3) takes the threshold where the FAR of the other folds, as a function of
  4,000 thresholds, crosses 1e-3; the FAR on the fold itself may be above or below 1e-3. Their code
  interpolates with `interp1d(kind="slinear")`, which raises on repeated values, and with fewer than
  4,000 impostor pairs values repeat (insightface#2152): since SciPy checks for that, the function
  fails. Here the last of the equal FARs counts, as in linear interpolation between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError
from frcore.evaluation.inputs import FloatArray, as_labels, as_scores
from frcore.evaluation.judge import Row, empty_row
from frcore.evaluation.protocol import ScoredPairs
from frcore.evaluation.verification import fold_of_pair, verification_accuracy

VAL_GRID = np.arange(0, 4, 0.001)
"""Thresholds on the squared distance for VAL."""


@dataclass(frozen=True)
class OverFolds:
    """A number as InsightFace reports it.

    Attributes:
        mean: over folds.
        std: the population standard deviation over folds (their "±").
        folds: the value of each fold (F,).
        thresholds: on the cosine, of each fold (F,).
        far: mean FAR achieved on the folds; None for accuracy.
    """

    mean: float
    std: float
    folds: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    far: float | None = None

    @property
    def text(self) -> str:
        """Mean ± standard deviation, in percent."""
        return f"{100 * self.mean:.3f} ± {100 * self.std:.3f} %"


def insightface_accuracy(
    scores: ArrayLike, same: ArrayLike, folds: int | ArrayLike = 10
) -> OverFolds:
    """Accuracy with the first best of 400 thresholds of the other folds.

    Args:
        scores: cosine of each pair (P,).
        same: True for genuine pairs (P,).
        folds: a number of consecutive blocks, or the fold of each pair (P,).

    Raises:
        UserError: unusable scores, labels or folds; scores that are not cosines.

    >>> result = insightface_accuracy([0.9, 0.2, 0.8, 0.1, 0.3, 0.4], [1, 0, 1, 0, 1, 0], folds=3)
    >>> result.text
    '66.667 ± 23.570 %'
    """
    result = verification_accuracy(scores, same, folds, rule="grid")
    accuracies = result.fold_accuracies
    return OverFolds(result.accuracy, float(accuracies.std()), accuracies, result.thresholds)


def insightface_val(
    scores: ArrayLike, same: ArrayLike, folds: int | ArrayLike = 10, *, far: float = 1e-3
) -> OverFolds:
    """VAL: the share of accepted genuine pairs where the other folds' FAR crosses `far`.

    Where the other folds never reach `far`, the threshold on the distance is 0: none is accepted.

    Args:
        scores, same, folds: as for `insightface_accuracy`.
        far: the FAR requested on the other folds.

    Raises:
        UserError: as `insightface_accuracy`, or a fold has pairs of one kind only.
    """
    array = as_scores(scores, "pair")
    labels = as_labels(same, array.size)
    fold = fold_of_pair(folds, array.size)
    distance = 2 - 2 * array.astype(np.float64)
    points = []
    for number in np.unique(fold):
        test = fold == number
        for part, name in ((test, "in"), (~test, "outside")):
            if labels[part].all() or not labels[part].any():
                raise UserError(
                    f"{name} fold {number} all pairs are of one kind, so FAR or TAR is undefined; "
                    "mix genuine and impostor pairs in the folds"
                )
        threshold = _crossing(distance[~test & ~labels], far)
        accepted = distance[test] < threshold
        points.append((accepted[labels[test]].mean(), accepted[~labels[test]].mean(), threshold))
    val, fars, thresholds = np.array(points).T
    return OverFolds(
        float(val.mean()), float(val.std()), val, 1 - thresholds / 2, float(fars.mean())
    )


def _crossing(impostor: FloatArray, far: float) -> float:
    """The distance at which the FAR of these impostor pairs crosses `far`; 0 if it never does."""
    accepted = np.searchsorted(np.sort(impostor), VAL_GRID, side="left")
    rates = accepted / impostor.size
    if rates.max() < far:
        return 0.0
    return float(np.interp(far, rates, VAL_GRID))


VAL_FAR = 1e-3

NOTE = (
    "accuracy_insightface and val_insightface: by InsightFace's rules, to compare with published "
    "tables: mean over folds (± their population standard deviation, which is not an interval), "
    "accuracy with the first best of 400 thresholds on the other folds, VAL where the other folds' "
    "FAR crosses 1e-3."
)


def insightface_rows(pairs: ScoredPairs) -> list[Row]:
    """Rows `accuracy_insightface` and `val_insightface` over all pairs, where they have folds.

    They have no intervals: the rows `accuracy` and `tar` beside them do.
    """
    if not pairs.tested.all() or np.unique(pairs.fold).size < 2:
        return []
    common = empty_row() | {"subset": "all"}
    rows = [
        common | {"metric": "accuracy_insightface", "n": pairs.same.size, "n_unit": "pairs"},
        common
        | {
            "metric": "val_insightface",
            "far": VAL_FAR,
            "n": int(pairs.same.sum()),
            "n_unit": "genuine pairs",
            "impostors": int((~pairs.same).sum()),
        },
    ]
    return [
        row | _columns(rule, pairs)
        for row, rule in zip(rows, (insightface_accuracy, insightface_val), strict=True)
    ]


def _columns(rule: Callable[..., OverFolds], pairs: ScoredPairs) -> Row:
    try:
        found = rule(pairs.scores, pairs.same, pairs.fold)
    except UserError as error:
        return {"note": str(error)}
    return {
        "value": found.mean,
        "threshold": float(found.thresholds.mean()),
        "far_achieved": found.far,
        "note": f"{found.text} over {found.folds.size} folds; no interval, see `accuracy`, `tar`",
    }
