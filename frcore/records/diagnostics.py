"""`diagnostics.json`: the class centres at the end of a run. Angles are in degrees."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from frcore.records.base import Count, Counts, Number, Record, Text


class CenterAngles(Record):
    """`centers`: the angle of each centre to the nearest other one; exact."""

    nearest_angle_mean: Number = None
    """mean over the centres"""
    nearest_angle_p5: Number = None
    """5th percentile"""
    nearest_angle_min: Number = None
    """the least"""
    mean_angle: Number = None
    """over all pairs of centres"""


class Group(Record):
    """One of `groups`: about a third of the classes, equally many images together."""

    group: str
    """`head` (most images), `middle`, `tail` (fewest); `all` where every class has as many"""
    classes: Count = None
    """how many"""
    images_low: Count = None
    """images of the class with the fewest"""
    images_high: Count = None
    """images of the class with the most"""
    images: Number = None
    """mean per class"""
    positive: Number = None
    """rows of the batches that were of the class, over the run; mean per class"""
    queue: Number = None
    """extra rows of the class, as BroadFace's queue has; mean per class"""
    passive: Number = None
    """steps in which the class was a column while no row, of batch or queue, was of it: nothing
    pulled its centre, others pushed it; mean per class"""
    passive_per_positive: Number = None
    """all passive steps of the group by all its batch rows"""
    nearest_angle_mean: Number = None
    """as in `centers`, of the group"""
    nearest_angle_p5: Number = None
    """the same"""
    nearest_angle_min: Number = None
    """the same"""
    target_angle_mean: Number = None
    """mean over classes of the angle of their embeddings to their centre, in the last epoch"""
    target_angle_p5: Number = None
    """5th percentile over classes"""
    target_angle_p95: Number = None
    """95th percentile over classes"""


class ConflictRow(Record):
    """One of `rows` of `conflicts`: pairs of centres with a cosine above one of 0.3 to 0.6."""

    cosine: Number
    """the threshold"""
    pairs: Count = None
    """of centres with a cosine above it"""
    same_person: Count = None
    """how many of them are one person"""
    precision: Number = None
    """`same_person` / `pairs`; null without a pair"""
    recall: Number = None
    """`same_person` / `split_pairs`; null without one"""


class CosineHistogram(Record):
    """`histogram` of `conflicts`."""

    edges: list[Annotated[float, Field(ge=-1.001, le=1.001)]]
    """of the bins of the cosine"""
    pairs: Counts
    """of centres per bin"""
    same_person: Counts | None
    """those that are one person; null where the truth is not known"""

    @model_validator(mode="after")
    def _has_a_count_for_each_bin(self) -> CosineHistogram:
        both = (self.pairs, self.pairs if self.same_person is None else self.same_person)
        if any(len(counts) != len(self.edges) - 1 for counts in both):
            raise ValueError("counts are not one for each bin between the edges")
        return self


class Conflicts(Record):
    """`conflicts`: pairs of centres so close that they may be one person."""

    split_pairs: Count = None
    """pairs of classes that are one person: whom most images of a class show by `true_identity`;
    null where the truth is not known, which is so for real data"""
    rows: list[ConflictRow] = Field(default_factory=list)
    """one per threshold"""
    histogram: CosineHistogram | None = None
    """all pairs of centres by their cosine"""


class DiagnosticsRecord(Record):
    """`diagnostics.json`; what is not known is null, never 0."""

    id: Text = None
    """the run"""
    spec_hash: Text = None
    """of its spec"""
    steps: Count = None
    """of the optimiser"""
    classes: Count = None
    """C"""
    centers: CenterAngles | None = None
    """null above 131,072 classes, as are `conflicts` and the groups' angles; `notes` says so"""
    notes: list[str] | None = None
    """sentences"""
    groups: list[Group] | None = None
    """from the classes with most images to those with fewest"""
    conflicts: Conflicts | None = None
    """pairs of close centres"""
