"""`diagnostics.json`: the class centres at the end of a run. Angles are in degrees."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from frcore.records.base import Count, Counts, Number, Record, Text


class CenterAngles(Record):
    """`centers`: the exact angle of each centre to its nearest neighbour."""

    nearest_angle_mean: Number = None
    """mean over the centres"""
    nearest_angle_p5: Number = None
    """5th percentile"""
    nearest_angle_min: Number = None
    """smallest angle"""
    mean_angle: Number = None
    """mean over all pairs of centres"""


class Group(Record):
    """One of `groups`: about a third of the classes; classes with equally many images share one."""

    group: str
    """`head` (most images), `middle`, `tail` (fewest); `all` if every class has equally many"""
    classes: Count = None
    """number of classes"""
    images_low: Count = None
    """images of the smallest class"""
    images_high: Count = None
    """images of the largest class"""
    images: Number = None
    """mean number of images per class"""
    positive: Number = None
    """batch rows of the class over the run; mean per class"""
    queue: Number = None
    """extra rows of the class, such as BroadFace's queue; mean per class"""
    passive: Number = None
    """steps in which the class was a column but no row of batch or queue belonged to it: its
    centre was pushed by others and not pulled; mean per class"""
    passive_per_positive: Number = None
    """all passive steps of the group divided by all its batch rows"""
    nearest_angle_mean: Number = None
    """as in `centers`, for the group"""
    nearest_angle_p5: Number = None
    """as in `centers`, for the group"""
    nearest_angle_min: Number = None
    """as in `centers`, for the group"""
    target_angle_mean: Number = None
    """mean over classes of the angle between embeddings and their centre, in the last epoch"""
    target_angle_p5: Number = None
    """5th percentile over classes"""
    target_angle_p95: Number = None
    """95th percentile over classes"""


class ConflictRow(Record):
    """One of `rows` of `conflicts`: pairs of centres above a cosine threshold from 0.3 to 0.6."""

    cosine: Number
    """the threshold"""
    pairs: Count = None
    """pairs of centres with a cosine above it"""
    same_person: Count = None
    """how many of them are the same person"""
    precision: Number = None
    """`same_person` / `pairs`; null if there are no pairs"""
    recall: Number = None
    """`same_person` / `split_pairs`; null if there are none"""


class CosineHistogram(Record):
    """`histogram` of `conflicts`."""

    edges: list[Annotated[float, Field(ge=-1.001, le=1.001)]]
    """bin edges of the cosine"""
    pairs: Counts
    """pairs of centres per bin"""
    same_person: Counts | None
    """pairs of the same person per bin; null if the true identities are unknown"""

    @model_validator(mode="after")
    def _has_a_count_for_each_bin(self) -> CosineHistogram:
        both = (self.pairs, self.pairs if self.same_person is None else self.same_person)
        if any(len(counts) != len(self.edges) - 1 for counts in both):
            raise ValueError("the number of counts does not match the bin edges")
        return self


class Conflicts(Record):
    """`conflicts`: pairs of centres so close that they may be the same person."""

    split_pairs: Count = None
    """pairs of classes of the same person, by the `true_identity` of most of their images; null if
    the true identities are unknown, as for real data"""
    rows: list[ConflictRow] = Field(default_factory=list)
    """one per threshold"""
    histogram: CosineHistogram | None = None
    """all pairs of centres by cosine"""


class DriftRow(Record):
    """One of `drift`: embeddings of one age, compared with those of the network of that time."""

    start: Number = None
    """when they were made, as a fraction of the training: one of `training.drift.starts`"""
    step: Count = None
    """the same as the optimiser step after which they were made"""
    age: Count = None
    """steps from then until they are compared"""
    images: Count = None
    """training images embedded"""
    queued: Number = None
    """mean cosine between an embedding as it was and the present network's of the same image"""
    compensated: Number = None
    """the same with BroadFace's compensation for how far the class centre has moved since"""


class DiagnosticsRecord(Record):
    """`diagnostics.json`; unknown values are null, never 0."""

    id: Text = None
    """id of the run"""
    spec_hash: Text = None
    """hash of its spec"""
    steps: Count = None
    """optimiser steps"""
    classes: Count = None
    """number of classes, C"""
    centers: CenterAngles | None = None
    """null above 131,072 classes, like `conflicts` and the groups' angles; see `notes`"""
    notes: list[str] | None = None
    """remarks, one sentence each"""
    groups: list[Group] | None = None
    """from the classes with the most images to those with the fewest"""
    conflicts: Conflicts | None = None
    """pairs of close centres"""
    drift: list[DriftRow] | None = None
    """how far embeddings drift, with `training.drift`; absent without"""
