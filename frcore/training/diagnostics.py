"""Diagnostics of a run's class centres: `diagnostics.json`, and a few values per epoch.

Angles between centres, how often each was pulled and pushed, and pairs of centres so close that
they may be the same person (inter-class conflict). Unknown values are None, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from frcore.classifier import Classifier
from frcore.data.prepared.folder import Prepared
from frcore.records.diagnostics import (
    CenterAngles,
    ConflictRow,
    Conflicts,
    CosineHistogram,
    DiagnosticsRecord,
    Group,
)
from frcore.training.center_search import CenterSearch, search_centers
from frcore.training.class_counts import CenterTouches

CONFLICT_COSINES = (0.3, 0.4, 0.5, 0.6)
"""Thresholds above which two centres are suspected to be the same person."""

HISTOGRAM_EDGES = tuple(round(-1 + 0.05 * k, 2) for k in range(41))
"""Bins of the cosines between centres, of equal width."""

LARGEST_SEARCH = 131_072
"""Most centres searched at the end of a run: about six minutes on one CPU core at dimension 512.
MS1MV2's 85,742 fit."""

LARGEST_EPOCH_SEARCH = 20_000
"""Most centres searched after each epoch: a few seconds on one CPU core."""


@dataclass(frozen=True)
class TrainingClasses:
    """The classes of the training set.

    Attributes:
        index: the prepared set's table of images.
        num_classes: C.
        truth: whether `true_identity` is the ground truth, as in synthetic data.
    """

    index: pd.DataFrame
    num_classes: int
    truth: bool

    @classmethod
    def of(cls, prepared: Prepared) -> TrainingClasses:
        """The classes of a prepared training set."""
        index = prepared.index[["label", "identity", "true_identity"]]
        differs = bool((index["identity"] != index["true_identity"]).any())
        return cls(index, prepared.num_classes, prepared.manifest.synthetic or differs)

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """Images of each class, (C,)."""
        return np.bincount(self.index["label"], minlength=self.num_classes)

    @cached_property
    def person(self) -> NDArray[np.int64] | None:
        """The person shown by most images of a class, as a number (C,); None if unknown.

        Ties go to the first in the index; a class without images gets a unique person.
        """
        if not self.truth:
            return None
        code = pd.factorize(self.index["true_identity"])[0]
        votes = pd.DataFrame({"label": self.index["label"], "code": code}).value_counts(sort=False)
        table = votes.rename("votes").reset_index()
        table = table.sort_values(["label", "votes", "code"], ascending=[True, False, True])
        first = table.drop_duplicates("label")
        person_C = -1 - np.arange(self.num_classes, dtype=np.int64)
        person_C[first["label"]] = first["code"]
        return person_C

    @cached_property
    def split_pairs(self) -> int | None:
        """Pairs of classes that are the same person; None if unknown."""
        if self.person is None:
            return None
        _, labels = np.unique(self.person, return_counts=True)
        return int((labels * (labels - 1) // 2).sum())


def frequency_groups(images_C: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Classes with the most images (`head`), `middle` and the fewest (`tail`), as masks (C,).

    About a third of the classes each; classes with equally many images stay together. With two
    distinct numbers of images there is no `middle`, with one there is only `all`.

    >>> {name: mask.tolist() for name, mask in frequency_groups(np.array([9, 1, 2, 1])).items()}
    {'head': [True, False, False, False], 'middle': [False, False, True, False], \
'tail': [False, True, False, True]}
    """
    values, classes = np.unique(images_C, return_counts=True)
    if len(values) == 1:
        return {"all": np.ones(len(images_C), bool)}
    share = classes.cumsum() / len(images_C)
    if len(values) == 2:
        return {"head": images_C > values[0], "tail": images_C <= values[0]}
    low = int(np.abs(share[:-2] - 1 / 3).argmin())
    high = low + 1 + int(np.abs(share[low + 1 : -1] - 2 / 3).argmin())
    tail, head = images_C <= values[low], images_C > values[high]
    return {"head": head, "middle": ~tail & ~head, "tail": tail}


def center_angles(classifier: Classifier) -> CenterAngles | None:
    """Angles between the centres now; None above `LARGEST_EPOCH_SEARCH` classes."""
    if classifier.num_classes > LARGEST_EPOCH_SEARCH:
        return None
    return _center_angles(search_centers(classifier.read_centers()))


def diagnose_run(
    classifier: Classifier,
    touches: CenterTouches,
    classes: TrainingClasses,
    angle_C: Tensor | None = None,
) -> DiagnosticsRecord:
    """The content of `diagnostics.json`, without the run's id.

    Args:
        classifier: after training.
        touches: counted over the run.
        classes: of the training set.
        angle_C: mean angle of each class's embeddings to its centre, degrees, NaN for classes
            without any; None if not recorded.
    """
    count = classifier.num_classes
    search, notes = None, []
    if count <= LARGEST_SEARCH:
        person = classes.person
        person_C = None if person is None else torch.from_numpy(person)
        search = search_centers(
            classifier.read_centers(),
            thresholds=CONFLICT_COSINES,
            edges=HISTOGRAM_EDGES,
            person_C=None if person_C is None else person_C.to(classifier.centers.device),
        )
    else:
        notes.append(
            f"Angles between centres and conflicts were not computed: {count:,} classes exceed the "
            f"limit of {LARGEST_SEARCH:,} for the exact search over all pairs."
        )
    return DiagnosticsRecord(
        classes=count,
        centers=None if search is None else _center_angles(search),
        notes=notes,
        groups=_groups(touches, classes, search, angle_C),
        conflicts=None if search is None else _conflicts(search, classes),
    )


def _center_angles(search: CenterSearch) -> CenterAngles:
    mean = search.mean_angle if math.isfinite(search.mean_angle) else None
    return CenterAngles(**_nearest_figures(search.nearest_C), mean_angle=mean)


def _nearest_figures(nearest_C: Tensor) -> dict[str, float | None]:
    """Mean, 5th percentile and minimum of the angles to the nearest other centre."""
    if nearest_C.isnan().any():
        return dict.fromkeys(("nearest_angle_mean", "nearest_angle_p5", "nearest_angle_min"))
    # Not torch.quantile, which is limited to 16 million values.
    angles = nearest_C.numpy()
    return {
        "nearest_angle_mean": float(angles.mean()),
        "nearest_angle_p5": float(np.percentile(angles, 5)),
        "nearest_angle_min": float(angles.min()),
    }


def _target_figures(angle_C: Tensor | None, mask_C: NDArray[np.bool_]) -> dict[str, float | None]:
    """Mean, 5th and 95th percentile over classes of the angle to the own centre."""
    names = ("target_angle_mean", "target_angle_p5", "target_angle_p95")
    angles = np.empty(0) if angle_C is None else angle_C.numpy()[mask_C]
    angles = angles[np.isfinite(angles)]
    if not angles.size:
        return dict.fromkeys(names)
    values = (angles.mean(), np.percentile(angles, 5), np.percentile(angles, 95))
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _groups(
    touches: CenterTouches,
    classes: TrainingClasses,
    search: CenterSearch | None,
    angle_C: Tensor | None,
) -> list[Group]:
    """Means per class of each frequency group."""
    count_C = {name: count.cpu().numpy() for name, count in touches.state_dict().items()}
    images_C = classes.images
    rows = []
    for name, mask_C in frequency_groups(images_C).items():
        positive, passive = count_C["positive_C"][mask_C], count_C["passive_C"][mask_C]
        # Without images there are no rows, and so no ratio.
        total = int(positive.sum())
        nearest_C = torch.full((1,), math.nan)
        if search is not None:
            nearest_C = search.nearest_C[torch.from_numpy(mask_C)]
        rows.append(
            Group(
                group=name,
                classes=int(mask_C.sum()),
                images_low=int(images_C[mask_C].min()),
                images_high=int(images_C[mask_C].max()),
                images=float(images_C[mask_C].mean()),
                positive=float(positive.mean()),
                queue=float(count_C["queue_C"][mask_C].mean()),
                passive=float(passive.mean()),
                passive_per_positive=float(passive.sum() / total) if total else None,
                **_nearest_figures(nearest_C),
                **_target_figures(angle_C, mask_C),
            )
        )
    return rows


def _conflicts(search: CenterSearch, classes: TrainingClasses) -> Conflicts:
    """Pairs of close centres, and how many of them are the same person if known."""
    known = classes.split_pairs
    rows = []
    for k, (cosine, pairs) in enumerate(zip(CONFLICT_COSINES, search.pairs, strict=True)):
        same = None if search.same_person is None else search.same_person[k]
        rows.append(
            ConflictRow(
                cosine=cosine,
                pairs=pairs,
                same_person=same,
                precision=same / pairs if same is not None and pairs else None,
                recall=same / known if same is not None and known else None,
            )
        )
    of_one = search.same_histogram
    histogram = CosineHistogram(
        edges=list(HISTOGRAM_EDGES),
        pairs=list(search.histogram),
        same_person=None if of_one is None else list(of_one),
    )
    return Conflicts(split_pairs=known, rows=rows, histogram=histogram)
