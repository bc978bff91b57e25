"""Who may be in two data sets: people whose mean embeddings are closer than strangers' ever are.

Names find shared people only if both sets have names in one spelling. A model that was trained on
millions of people finds them by their faces. What remains to be decided by eye are candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError
from frcore.evaluation.templates import normalise

STRANGERS = 5000
"""People whose pairs show how close strangers come: 12 million pairs, in 100 MB."""

TAIL = 1e-4
"""Share of the pairs of strangers from which the tail of their scores is estimated."""

FEWEST = 200
"""Pairs of strangers needed in that tail."""

_BLOCK = 1024


@dataclass(frozen=True)
class People:
    """The people of a data set.

    Attributes:
        names: (P,), sorted.
        vectors: mean of the unit embeddings of each person's images, unit vectors (P, D).
        halves: cosine of the means of two halves of a person's images; of people with two or more.
    """

    names: NDArray[np.str_]
    vectors: NDArray[np.float32]
    halves: NDArray[np.float32]

    @classmethod
    def of(cls, embeddings: ArrayLike, names: ArrayLike) -> People:
        """The people `names` (N,) in images with these embeddings (N, D), not normalised."""
        unit = normalise(embeddings).astype(np.float64)
        people, code = np.unique(np.asarray(names, str), return_inverse=True)
        # Images of a person alternate between the halves.
        order = np.argsort(code, kind="stable")
        place = np.empty(len(code), np.int64)
        starts = np.searchsorted(code[order], np.arange(len(people)))
        place[order] = np.arange(len(code)) - starts[code[order]]
        sums = np.zeros((2, len(people), unit.shape[1]))
        np.add.at(sums, (place % 2, code), unit)
        several = np.bincount(code) > 1
        first, second = (normalise(half[several]) if several.any() else half[:0] for half in sums)
        return cls(people, normalise(sums.sum(0)), (first * second).sum(1).astype(np.float32))


@dataclass(frozen=True)
class Shared:
    """Candidates for people in both of two sets.

    Attributes:
        threshold: cosine above which one pair of strangers is expected among all pairs of people.
        candidates: `person` of the one set, `other` of the other, `cosine`; the closest first, each
            `other` once.
        strangers: pairs of different people that the threshold is estimated from.
        same_person: share of people with several images whose halves are above the threshold.
    """

    threshold: float
    candidates: pd.DataFrame
    strangers: int
    same_person: float


def shared_people(train: People, test: People) -> Shared:
    """Look for people of `test` among those of `train`.

    Different names within `train` are taken for different people. The few for whom that is wrong
    (an alias, a wrong label, a twin) have the highest scores of all, so the threshold does not come
    from these, but from the scale of the tail: above its beginning, scores of strangers fall at
    least exponentially, at a rate that the median of their excess gives.

    Raises:
        UserError: too few people in `train`.
    """
    step = -(-len(train.names) // STRANGERS)
    some = train.vectors[::step]
    scores = (some @ some.T)[np.triu_indices(len(some), 1)]
    count = max(FEWEST, int(TAIL * scores.size))
    if scores.size < 10 * count:
        raise UserError(
            f"{len(some)} people have {scores.size} pairs; to know how close strangers come takes "
            f"at least {10 * FEWEST}, of 64 people: give a larger training set"
        )
    top = np.sort(np.partition(scores, -count - 1)[-count - 1 :])
    scale = float(np.median(top[1:] - top[0])) / np.log(2)
    pairs = len(train.names) * len(test.names)
    threshold = float(top[0]) + scale * max(0.0, float(np.log(count / scores.size * pairs)))
    best, score = _nearest(train.vectors, test.vectors)
    frame = pd.DataFrame({"person": train.names[best], "other": test.names, "cosine": score})
    frame = frame[frame["cosine"] > threshold].sort_values("cosine", ascending=False)
    halves = np.concatenate([train.halves, test.halves])
    found = float((halves > threshold).mean()) if halves.size else float("nan")
    return Shared(threshold, frame.reset_index(drop=True), int(scores.size), found)


def _nearest(
    train: NDArray[np.float32], test: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest row of `train` for each of `test` (T,), and their cosine."""
    parts = [test[at : at + _BLOCK] @ train.T for at in range(0, len(test), _BLOCK)]
    best = np.concatenate([part.argmax(1) for part in parts])
    return best, np.concatenate([part.max(1) for part in parts])


def names_list(found: Shared, people: ArrayLike) -> list[str]:
    """The lines of a list of names for a set whose people have numbers, as CFP's `list_name.txt`.

    Args:
        found: candidates, of whom each `person` names the one that is closest.
        people: names of all people of the set that end in their numbers, such as `cfp/007`.

    Returns:
        line n: the name of whom person n may be, else `person_n`.

    Raises:
        UserError: people without numbers.
    """
    numbers = [name.rpartition("/")[2] for name in np.asarray(people, str).tolist()]
    if wrong := [name for name in numbers if not (name.isascii() and name.isdigit())]:
        raise UserError(
            f"person {wrong[0]!r} has no number, so a list of names cannot name them by line; "
            "leave out --names"
        )
    lines = [f"person_{number:03d}" for number in range(1, max(map(int, numbers)) + 1)]
    closest = found.candidates.drop_duplicates("person")
    for person, other in zip(closest["person"], closest["other"], strict=True):
        lines[int(other.rpartition("/")[2]) - 1] = person
    return lines
