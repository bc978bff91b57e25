"""Verification metrics from the scores of genuine and impostor pairs.

A pair is accepted if and only if its score ≥ the threshold. TAR (true accept rate) is the accepted
share of genuine pairs, FAR (false accept rate) the accepted share of impostor pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from frcore.errors import UserError
from frcore.evaluation.inputs import FloatArray, UnresolvableFAR, as_scores

Rule = Literal["conservative", "nearest", "insightface"]
RULES: tuple[Rule, ...] = ("conservative", "nearest", "insightface")


@dataclass(frozen=True)
class TarAtFar:
    """One operating point.

    Attributes:
        tar: share of genuine pairs with score ≥ `threshold`.
        far: the FAR achieved at `threshold` on these pairs; at most `far_asked` under
            "conservative".
        threshold: the accept threshold; infinite where no pair may be accepted.
        false_accepts: impostor pairs with score ≥ `threshold`.
        impostors, genuine: how many pairs of each kind there are.
        far_asked: the requested FAR.
        rule: how the point was chosen, one of `RULES`.
    """

    tar: float
    far: float
    threshold: float
    false_accepts: int
    impostors: int
    genuine: int
    far_asked: float
    rule: Rule


def allowed_false_accepts(
    far: float, impostors: int, *, rate: str = "FAR", unit: str = "impostor pairs"
) -> int:
    """The largest k with k / impostors ≤ far, compared as floats, so rounding cannot change it.

    Args:
        far: the FAR (or FPIR) asked for.
        impostors: how many impostor pairs (or non-mated searches) there are.
        rate, unit: what to call them in messages.

    >>> allowed_false_accepts(0.29, 100)  # though int(0.29 * 100) is 28
    29

    Raises:
        UserError: `far` is not in (0, 1].
        UnresolvableFAR: k would be 0, so any accepted impostor would exceed `far`.
    """
    if not 0 < far <= 1:  # also refuses NaN
        raise UserError(f"{rate} {far} is out of range; give one above 0 and at most 1, e.g. 1e-3")
    allowed = int(far * impostors)
    if impostors and (allowed + 1) / impostors <= far:
        allowed += 1
    elif impostors and allowed / impostors > far:
        allowed -= 1
    if allowed < 1:
        needed = math.ceil(1 / far)
        needed += 1 / needed > far
        raise UnresolvableFAR(far, impostors, needed, rate, unit)
    return allowed


def points_of_highest(
    genuine: FloatArray,
    highest: FloatArray,
    impostors: int,
    fars: Sequence[float],
    allowed: Sequence[int],
) -> list[TarAtFar]:
    """`tar_at_fars` when only the highest impostor scores are available.

    Every score strictly above the impostor at rank `allowed` (0 = the highest) may be accepted. The
    threshold is the lowest of those scores, hence one that occurs: comparing with ≥ is then exact
    in any precision, and all ties with that impostor are rejected.

    Args:
        genuine: scores of all genuine pairs (G,).
        highest: at least the max(allowed) + 1 highest impostor scores (all, if there are fewer).
        impostors: how many impostor pairs there are.
        fars: false accept rates, each in (0, 1].
        allowed: `allowed_false_accepts` of each.
    """
    genuine = np.sort(genuine)
    # One more than may be accepted: the first that may not, which can have ties below it. Sorting
    # only these is what makes this scale.
    count = min(max(allowed) + 1, highest.size)
    top = np.sort(np.partition(highest, -count)[-count:])
    points = []
    for far, count in zip(fars, allowed, strict=True):
        first_genuine = first_impostor = 0
        if count < impostors:
            barred = top[max(top.size - 1 - count, 0)]
            first_genuine = int(np.searchsorted(genuine, barred, side="right"))
            first_impostor = int(np.searchsorted(top, barred, side="right"))
        accepted, false_accepts = genuine.size - first_genuine, top.size - first_impostor
        points.append(
            TarAtFar(
                tar=accepted / genuine.size,
                far=false_accepts / impostors,
                threshold=min(
                    float(genuine[first_genuine]) if accepted else math.inf,
                    float(top[first_impostor]) if false_accepts else math.inf,
                ),
                false_accepts=false_accepts,
                impostors=impostors,
                genuine=genuine.size,
                far_asked=far,
                rule="conservative",
            )
        )
    return points


def _nearest(genuine: FloatArray, impostor: FloatArray, far: float, rule: Rule) -> TarAtFar:
    """argmin |FPR − far| over the ROC; of equally near points the one with larger FPR and TPR."""
    # Imported here because it takes a second, and only comparisons with published tables need it.
    from sklearn.metrics import roc_curve as sklearn_roc_curve

    scores = np.concatenate([genuine, impostor])
    same = np.repeat([True, False], [genuine.size, impostor.size])
    fpr, tpr, thresholds = sklearn_roc_curve(same, scores, drop_intermediate=rule == "insightface")
    # The peers flip the arrays: the first minimum of a flipped array is the last of this one.
    point = fpr.size - 1 - int(np.argmin(np.abs(fpr - far)[::-1]))
    return TarAtFar(
        tar=float(tpr[point]),
        far=float(fpr[point]),
        threshold=float(thresholds[point]),
        false_accepts=round(fpr[point] * impostor.size),
        impostors=impostor.size,
        genuine=genuine.size,
        far_asked=far,
        rule=rule,
    )


def tar_at_fars(
    genuine: ArrayLike,
    impostor: ArrayLike,
    fars: Iterable[float],
    *,
    rule: Rule = "conservative",
) -> list[TarAtFar]:
    """`tar_at_far` for several FARs with a single sort.

    >>> [point.tar for point in tar_at_fars([0.9, 0.4, 0.2], [0.5, 0.3, 0.2, 0.1], [0.25, 0.75])]
    [0.6666666666666666, 1.0]
    """
    genuine, impostor = as_scores(genuine, "genuine"), as_scores(impostor, "impostor")
    asked = [float(far) for far in fars]
    if rule not in RULES:
        raise UserError(f"rule '{rule}' is not known; allowed: {', '.join(RULES)}")
    allowed = [0 if rule != "conservative" else allowed_false_accepts(far, impostor.size)
               for far in asked]  # fmt: skip
    if not asked:
        return []
    if rule != "conservative":
        return [_nearest(genuine, impostor, far, rule) for far in asked]
    return points_of_highest(genuine, impostor, impostor.size, asked, allowed)


def tar_at_far(
    genuine: ArrayLike, impostor: ArrayLike, far: float, *, rule: Rule = "conservative"
) -> TarAtFar:
    """TAR at a given FAR.

    With N impostor pairs and k = the largest count with k/N ≤ far, the pairs with a score strictly
    above the impostor of rank k (0 = highest) are accepted. So the FAR in this sample does not
    exceed the requested one, even where scores are tied, and no larger TAR is possible within it.
    For other impostors it is (k + 1)/(N + 1) on average, so at small k TAR is biased upwards, and
    below k = 10 it has no interval (`frcore.evaluation.false_accepts`).

    Args:
        genuine: scores of genuine pairs (G,); higher means more similar.
        impostor: scores of impostor pairs (N,).
        far: the requested false accept rate, in (0, 1].
        rule: "conservative" as above. The others are for comparison with published tables, may
            exceed `far`, and like their sources never refuse: "nearest" is argmin |FPR − far| over
            all points of the ROC (ties: larger FPR); "insightface" is the same over scikit-learn's
            thinned curve (`drop_intermediate=True`), as in its eval_ijbc.py.

    Raises:
        UserError: empty, non-finite or non-numeric scores; `far` outside (0, 1]; unknown rule.
        UnresolvableFAR: fewer than 1/far impostor pairs, under "conservative".

    >>> point = tar_at_far([0.9, 0.8, 0.4, 0.2], [0.5, 0.3, 0.3, 0.1], far=0.5)
    >>> point.tar, point.far, point.threshold, point.false_accepts
    (0.75, 0.25, 0.4, 1)
    >>> tar_at_far([0.9, 0.8], [0.5, 0.3, 0.3, 0.1], far=1e-3)
    Traceback (most recent call last):
    frcore.evaluation.inputs.UnresolvableFAR: FAR 0.001 cannot be resolved with 4 impostor pairs, \
where one false accept is already a FAR of 0.25; it takes at least 1,000 impostor pairs: choose a \
larger FAR or a benchmark with more of them
    """
    return tar_at_fars(genuine, impostor, [far], rule=rule)[0]
