"""Predictions of `frcore plan` for a study's measured steps: the lines beside the points."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.planning import DEVICES, Device, Workload, memory_of, plan_step
from frcore.planning.measured import backend_of, loss_precision
from frcore.results.rows import Rows
from frcore.study.config import Study
from frcore.study.parts import Component, Measurement

POINTS = 60
"""Points of a planned line."""

MIB = 1024**2


@dataclass(frozen=True)
class PlannedLine:
    """The prediction for the steps of one backend.

    Attributes:
        identities: (POINTS,).
        values: of the measured column, in its unit (POINTS,).
        text: description.
    """

    identities: NDArray[np.int64]
    values: NDArray[np.float64]
    text: str


def planned_lines(study: Study, rows: Rows, sampler: str, column: str) -> Iterator[PlannedLine]:
    """The lines for a sampler's measured rows, one per backend that its steps ran on.

    Empty where there is no model: a step with a backbone, a custom sampler, the time on a device
    without known ceilings, the memory of a CPU step other than `dense`.

    Args:
        study: defines the settings of sampler and step.
        rows: of the study; its usable and out-of-memory rows tell what ran where.
        sampler: its label.
        column: `images_per_second`, `allocated_peak_mib` or `rss_extra_mib`.
    """
    given = study.measurement
    component = next(one for one in study.samplers if one.label == sampler)
    workload = None if given is None else planned_workload(component, given)
    if given is None or given.backbone is not None or workload is None:
        return
    frame = rows.measurement
    frame = frame[(frame["sampler"] == sampler) & frame["status"].isin(["ok", "oom"])]
    keys = ["backend", "loss_precision", "operands", "gpu_name"]
    # Out-of-memory rows do not record a backend that was chosen automatically.
    stated = "" if given.backend == "auto" else given.backend
    frame = frame.assign(backend=frame["backend"].fillna(stated)).fillna(dict.fromkeys(keys, ""))
    for values, part in frame.groupby(keys):
        told: dict[Hashable, Any] = {k: v for k, v in zip(keys, values, strict=True) if v}
        if (backend := told.get("backend")) is None:
            continue
        kind = backend_of(str(backend))
        sizes = part["identities"].astype(int)
        identities = np.geomspace(sizes.min() / 1.2, sizes.max() * 1.2, POINTS).round().astype(int)
        planned = dataclasses.replace(
            workload,
            backend=kind,
            state=workload.state if kind == "fused" else "fp32",
            precision=loss_precision(told, backend),
        )
        steps = [dataclasses.replace(planned, identities=int(n)) for n in identities]
        found, words = _values(column, steps, known_device(told.get("gpu_name")))
        if found:
            text = f"planned, backend {backend}: {words}"
            yield PlannedLine(identities, np.asarray(found), text)


def _values(
    column: str, steps: Sequence[Workload], device: Device | None
) -> tuple[list[float], str]:
    """What is planned for a measured column, in its unit and in words; empty without a model."""
    dense = steps[0].backend != "fused"
    if column == "images_per_second" and device is not None:
        words = f"an estimate for {device.name}" if dense else f"at most, on {device.name}"
        return [1e3 * one.batch / plan_step(one, device).step_ms for one in steps], words
    memories = map(memory_of, steps)
    if column == "allocated_peak_mib":
        values = [sum(memory.values()) / MIB for memory in memories]
        return values, "centres, momentum and what a step adds"
    if column == "rss_extra_mib" and dense and not steps[0].queue:
        # This reading excludes what exists before the first step.
        values = [(sum(memory.values()) - memory["centres and momentum"]) / MIB
                  for memory in memories]  # fmt: skip
        return values, "what a step adds to centres and momentum"
    return [], ""


def known_device(gpu_name: str | None) -> Device | None:
    """The device of `frcore plan` for a GPU; None if its ceilings are unknown."""
    return next((one for one in DEVICES.values() if gpu_name and one.is_board(gpu_name)), None)


def planned_workload(sampler: Component, measurement: Measurement) -> Workload | None:
    """The workload to plan for a sampler's step; None if there is no model of it."""
    given = sampler.parameters
    if "over" in given:
        return None
    changes: dict[str, dict[str, Any]] = {
        "full": {},
        "interclass_filter": {},
        "partial_fc": {"rate": given.get("rate"), "update": given.get("update", "sparse")},
        "broadface": {"queue": given.get("size")},
    }
    if sampler.name not in changes:
        return None
    try:
        # The smallest allowed number of identities; each point of a line sets its own.
        return Workload(2, batch=measurement.batch_size, dim=measurement.dim,
                        state=measurement.center_format, **changes[sampler.name])  # fmt: skip
    except (TypeError, UserError):
        return None  # a rate of 0, or a size left to the sampler
