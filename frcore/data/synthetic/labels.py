"""Labels of a synthetic training set: how many samples each person has, and what is wrong.

The same rules for faces and for vectors; the truth is known in both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces.streams import stream
from frcore.errors import UserError
from frcore.study.data import SyntheticTraining


def images_per_identity(identities: int, mean: int, exponent: float) -> NDArray[np.int64]:
    """Images of each identity (identities,), most first: Zipf's law with `exponent`, at least one.

    They sum to identities · mean exactly. In addition to one image each, image counts follow
    (i + 1) ** -exponent, rounded by largest remainder.
    """
    weights = np.arange(1, identities + 1, dtype=np.float64) ** -exponent
    share = weights / weights.sum() * identities * (mean - 1)
    counts = np.floor(share).astype(np.int64)
    missing = identities * (mean - 1) - int(counts.sum())
    counts[np.argsort(counts - share, kind="stable")[:missing]] += 1
    return counts + 1


def training_counts(spec: SyntheticTraining) -> tuple[int, int, int]:
    """Labels, images, and the most images a label can have, if it gets all flips."""
    counts = images_per_identity(spec.identities, spec.images, spec.long_tail)
    split, flips = _disturbed(spec, counts)
    return spec.identities + split, int(counts.sum()), int(counts.max()) + flips


def _disturbed(spec: SyntheticTraining, counts: NDArray[np.int64]) -> tuple[int, int]:
    """How many identities have two labels, and how many images have another identity's label."""
    return round(spec.conflicts * spec.identities), round(spec.label_flips * int(counts.sum()))


def check_labels(spec: SyntheticTraining) -> None:
    """Refuse more conflicts or flips than the identities and their images allow.

    Raises:
        UserError: with the largest possible share.
    """
    counts = images_per_identity(spec.identities, spec.images, spec.long_tail)
    able, images = int((counts >= 2).sum()), int(counts.sum())
    split, flips = _disturbed(spec, counts)
    if split > able:
        raise UserError(
            f"conflicts = {spec.conflicts} would split {split} identities over two labels, but "
            f"only {able} have two images; use at most {able / spec.identities:.3g} or raise "
            "images"
        )
    movable = images - spec.identities - split
    if flips > movable:
        raise UserError(
            f"label_flips = {spec.label_flips} would move {flips} of {images} images, but each "
            f"of the {images - movable} labels keeps one; use at most {movable / images:.3g} or "
            "raise images"
        )


def disturbed_labels(
    spec: SyntheticTraining,
    who: NDArray[np.int64],
    counts: NDArray[np.int64],
    true: NDArray[np.object_],
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Labels (N,) after conflicts, then flips, and the name of each label.

    A conflict gives every second image of an identity a separate label. A flip gives an image the
    label of another identity; the first image of each label stays, so that no label is empty.
    """
    labels, names = who.copy(), list(true)
    rng = stream("labels", spec.seed, "train")
    split, flips = _disturbed(spec, counts)
    able = np.flatnonzero(counts >= 2)
    chosen = np.sort(rng.choice(able, split, replace=False))
    second_label = np.full(spec.identities, -1)
    second_label[chosen] = np.arange(len(names), len(names) + split)
    moved = (second_label[who] >= 0) & (numbers(counts) % 2 == 1)
    labels[moved] = second_label[who[moved]]
    names += [f"{true[person]}+conflict" for person in chosen]
    origin = np.concatenate([np.arange(spec.identities), np.full(split, -1)])
    origin[labels] = who

    _, first = np.unique(labels, return_index=True)
    movable = np.setdiff1d(np.arange(len(who)), first)
    for at in np.sort(rng.choice(movable, flips, replace=False)):
        label = labels[at]
        while origin[label] == who[at]:
            label = rng.integers(len(names))
        labels[at] = label
    return labels, np.array(names, object)


def numbers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which image of its identity each one is (N,), from 0: those of an identity are together.

    >>> numbers(np.array([2, 1, 3]))
    array([0, 1, 0, 0, 1, 2])
    """
    first = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(first, counts)
