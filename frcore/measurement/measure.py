"""`frcore measure`: speed, memory and energy of one head × sampler over numbers of identities."""

from __future__ import annotations

import logging
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.machine.leases import lease_gpu
from frcore.measurement import process
from frcore.measurement.child import Method, run_in_child
from frcore.measurement.conditions import Columns, new_row, until_clean
from frcore.provenance.environment import environment
from frcore.records.base import Environment
from frcore.records.measurement import MeasuredRow, MeasurementRecord
from frcore.study.expansion import MeasurementSpec

log = logging.getLogger(__name__)


def measure(spec: MeasurementSpec, out: Path) -> dict[str, Any]:
    """Measure `spec` and write the JSON of docs/formats.md to `out`.

    Each number of identities has a fresh process: an allocator keeps what an earlier one made it
    take, and a process that dies takes only its own row with it.

    Returns:
        What was written.

    Raises:
        UserError: unknown head or sampler, parameters that they do not take, no GPU for 'cuda',
            or `out` is a file of another kind.
    """
    refuse_other_file(Path(out), '"spec_hash"', "a measurement")
    with lease_gpu(spec.measurement.device, exclusive=True):
        rows, others = _rows(spec)
        record = MeasurementRecord(
            id=spec.id,
            spec_hash=spec.hash,
            head=spec.head.label,
            sampler=spec.sampler.label,
            rows=[MeasuredRow(**row) for row in rows],
            other_attempts=[MeasuredRow(**row) for row in others],
            environment=Environment(**environment(spec.measurement.device)),
        )
    return record.write(out)


def _rows(spec: MeasurementSpec) -> tuple[list[Columns], list[Columns]]:
    """The rows to report, and the attempts that were discarded."""
    method: Method = "forkserver"
    if spec.measurement.device == "cuda" or method not in multiprocessing.get_all_start_methods():
        method = "spawn"
    checked = run_in_child(check, spec.model_dump_json(), method=method)
    if checked.user_error:
        raise UserError(checked.error)
    rows: list[Columns] = []
    others: list[Columns] = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(spec.id, total=len(spec.measurement.identities))
        for identities in spec.measurement.identities:
            progress.update(task, description=f"{spec.id}: {identities:,} identities")
            kept, rest = until_clean(
                partial(_row_of_a_child, spec, identities, method), spec.measurement.attempts
            )
            if kept["disturbed"] is not None:
                log.warning("%s, %d identities: disturbed in each of %d attempts: %s",
                            spec.id, identities, kept["attempts"], kept["disturbed"])  # fmt: skip
            rows.append(kept)
            others += rest
            progress.advance(task)
    return rows, others


def _row_of_a_child(spec: MeasurementSpec, identities: int, method: Method) -> Columns:
    outcome = run_in_child(in_child, spec.model_dump_json(), identities, method=method)
    if outcome.error is None:
        return dict(outcome.value)
    row = new_row(spec, identities)
    row.status = "oom" if outcome.out_of_memory else "failed"
    row.error = outcome.error
    # A kill that was meant for the whole job, or for another, must not count as a result.
    row.disturbed = outcome.error if outcome.from_outside else None
    log.warning("%s, %d identities: %s", spec.id, identities, outcome.error)
    return row.model_dump()


def check(spec_json: str) -> None:
    """Refuse names and parameters that do not exist; in a child, as it needs torch.

    Raises:
        UserError: what is wrong, and what is allowed.
    """
    from frcore.backbones import BACKBONES
    from frcore.heads import HEADS
    from frcore.samplers import SAMPLERS

    spec = MeasurementSpec.model_validate_json(spec_json)
    HEADS.check(spec.head.name, spec.head.parameters)
    SAMPLERS.check(spec.sampler.name, spec.sampler.parameters)
    if spec.measurement.backbone is not None:
        BACKBONES.check(spec.measurement.backbone.name, spec.measurement.backbone.parameters)


def in_child(spec_json: str, identities: int) -> dict[str, Any]:
    """Measure one row."""
    import torch

    from frcore.measurement.row import measure_row

    spec = MeasurementSpec.model_validate_json(spec_json)
    torch.set_num_threads(spec.measurement.threads)
    if spec.measurement.device == "cpu":
        process.limit_data_to(process.available_bytes())
    return measure_row(spec, identities).model_dump()
