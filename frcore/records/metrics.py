"""The lines of `metrics.jsonl`. Values that are not finite are written as null."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from frcore.records.base import Count, Counts, Number, Record, Text, Whole
from frcore.records.diagnostics import CenterAngles

Logged = float | None
"""A value from a running training, which may be NaN or infinite."""


class Event(Record):
    """A line of any kind."""

    kind: ClassVar[str] = ""

    def line(self) -> dict[str, Any]:
        """Content of the line: the kind, and the fields that were set."""
        return {"event": self.kind, **self.model_dump(exclude_unset=True)}


class StartEvent(Event):
    """`"event": "start"`: the first line of a training."""

    kind: ClassVar[str] = "start"

    id: Text = None
    """id of the run"""
    images: Count = None
    """images of the training set"""
    identities: Count = None
    """number of labels"""
    steps_per_epoch: Count = None
    """optimiser steps"""
    angle_edges_degrees: list[Annotated[float, Field(ge=0, le=180)]] | None = None
    """edges of the bins of the angle histograms"""


class StepEvent(Event):
    """`"event": "step"`: about ten lines per epoch."""

    kind: ClassVar[str] = "step"

    step: Whole
    """optimiser steps so far"""
    epoch: Number = None
    """the same in epochs"""
    loss: Logged = None
    """loss of the batch"""
    learning_rate: Logged = None
    """learning rate of the step"""
    images_per_second: Logged = None
    """since the previous line"""
    scale: Logged = None
    """the head's present scale s"""
    target_angle: Logged = None
    """mean angle between the batch's embeddings and their own centres, degrees"""
    negative_angle: Logged = None
    """mean angle to other centres, degrees"""
    head: dict[str, Logged] | None = None
    """the head's own state by name (`Head.diagnostics`); absent without any"""


class EpochEvent(Event):
    """`"event": "epoch"`: one line per epoch."""

    kind: ClassVar[str] = "epoch"

    epoch: Whole
    """epochs completed"""
    loss: Logged = None
    """mean over the epoch's images"""
    seconds: Logged = None
    """duration of the epoch"""
    images_per_second: Logged = None
    """over the epoch"""
    scale: Logged = None
    """scale at the last logged step"""
    target_angle: Logged = None
    """mean angle to the own centre over the logged steps' batches, degrees"""
    negative_angle: Logged = None
    """the same for the angles to other centres"""
    target_histogram: Counts | None = None
    """rows per bin of `angle_edges_degrees`"""
    negative_histogram: Counts | None = None
    """the same for the angles to other centres"""
    centers: CenterAngles | None = None
    """angles between the centres after the epoch, as in `diagnostics.json`; null above 20,000
    classes"""


EVENTS: dict[str, type[Event]] = {kind.kind: kind for kind in (StartEvent, StepEvent, EpochEvent)}
"""By the value of `event`; lines of other kinds are not checked."""
