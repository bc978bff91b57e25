"""A row of a measurement before anything was measured."""

from __future__ import annotations

from frcore.records.measurement import MeasuredRow
from frcore.study.expansion import MeasurementSpec


def new_row(spec: MeasurementSpec, identities: int) -> MeasuredRow:
    """A row with only the request filled in."""
    given = spec.measurement
    return MeasuredRow(
        identities=identities,
        device=given.device,
        batch_size=given.batch_size,
        dim=given.dim,
        steps=given.steps,
        loss_precision=given.loss_precision,
        center_format=given.center_format,
        attempts=1,
    )
