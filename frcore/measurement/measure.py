"""`frcore measure`: speed, memory and energy of one head × sampler, by identities and processes."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.machine.leases import lease_gpu
from frcore.measurement import process
from frcore.measurement.child import Method, first_error, run_in_child, run_in_children
from frcore.measurement.conditions import Columns, new_row, until_clean
from frcore.measurement.scaling import efficiency, one_row
from frcore.provenance.environment import environment
from frcore.records.base import Environment
from frcore.records.measurement import MeasuredRow, MeasurementRecord
from frcore.study.expansion import MeasurementSpec

log = logging.getLogger(__name__)


def measure(spec: MeasurementSpec, out: Path) -> dict[str, Any]:
    """Measure `spec` and write the JSON of docs/formats.md to `out`.

    Each number of identities and of processes has fresh processes: an allocator keeps what an
    earlier one made it take, and a process that dies takes only its own row with it.

    Returns:
        What was written.

    Raises:
        UserError: unknown head or sampler, parameters that they do not take, no GPU for 'cuda' or
            fewer than processes, or `out` is a file of another kind.
    """
    refuse_other_file(Path(out), '"spec_hash"', "a measurement")
    given = spec.measurement
    with lease_gpu(given.device, exclusive=True, count=max(given.processes)):
        rows, others = _rows(spec)
        ranks = [rank for row in rows for rank in row.pop("ranks", [])]
        record = MeasurementRecord(
            id=spec.id,
            spec_hash=spec.hash,
            head=spec.head.label,
            sampler=spec.sampler.label,
            rows=_with_efficiency(spec, [MeasuredRow(**row) for row in rows]),
            ranks=[MeasuredRow(**rank) for rank in ranks],
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
    points = list(product(spec.measurement.identities, spec.measurement.processes))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(spec.id, total=len(points))
        for identities, processes in points:
            identities = spec.measurement.identities_of(identities, processes)
            what = f"{spec.id}, {identities} identities"
            what += f", {processes} processes" if processes > 1 else ""
            progress.update(task, description=what)
            kept, rest = until_clean(
                partial(_row_of_children, spec, identities, processes, method),
                spec.measurement.attempts,
            )
            if kept["status"] != "ok":
                log.warning("%s: %s", what, kept["error"])
            if kept["disturbed"] is not None:
                log.warning("%s: disturbed in each of %d attempts: %s",
                            what, kept["attempts"], kept["disturbed"])  # fmt: skip
            rows.append(kept)
            others += rest
            progress.advance(task)
    return rows, others


def _row_of_children(
    spec: MeasurementSpec, identities: int, processes: int, method: Method
) -> Columns:
    """The columns of a row; of several processes also `ranks`, the columns of each one's row."""
    with tempfile.TemporaryDirectory(prefix="frcore-measure-") as folder:
        store = str(Path(folder) / "store")
        outcomes = run_in_children(
            in_child,
            [(spec.model_dump_json(), identities, rank, processes, store)
             for rank in range(processes)],
            method=method,
        )  # fmt: skip
    rows = [MeasuredRow(**outcome.value) for outcome in outcomes if outcome.error is None]
    # The others then lack a process, whatever their own errors say.
    for row in rows:
        if row.status == "oom":
            return row.but(rank=None).model_dump()
    wrong = first_error(outcomes)
    if wrong is None:
        ranks = [row.model_dump() for row in rows] if processes > 1 else []
        return {**one_row(rows).model_dump(), "ranks": ranks}
    row = new_row(spec, identities, processes)
    row.status = "oom" if wrong.out_of_memory else "failed"
    row.error = wrong.error
    # A kill that was meant for the whole job, or for another, must not count as a result.
    row.disturbed = wrong.error if wrong.from_outside else None
    return row.model_dump()


def _with_efficiency(spec: MeasurementSpec, rows: list[MeasuredRow]) -> list[MeasuredRow]:
    """The rows of a study with several numbers of processes, each compared with one process."""
    count = len(spec.measurement.processes)
    if count == 1:
        return rows
    alone = [row for row in rows[::count] for _ in range(count)]
    pairs = zip(rows, alone, strict=True)
    return [row.but(efficiency=efficiency(row, first)) for row, first in pairs]


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


def in_child(
    spec_json: str, identities: int, rank: int = 0, processes: int = 1, store: str = ""
) -> dict[str, Any]:
    """Measure one row, alone or as one of several processes that find one another in `store`."""
    import torch

    from frcore.measurement.ranks import joined
    from frcore.measurement.row import measure_row

    spec = MeasurementSpec.model_validate_json(spec_json)
    torch.set_num_threads(spec.measurement.threads)
    if spec.measurement.device == "cpu":
        process.limit_data_to(process.available_bytes() // processes)
    if processes == 1:
        return measure_row(spec, identities).model_dump()
    with joined(rank, processes, Path(store), spec.measurement.device) as ranks:
        return measure_row(spec, identities, ranks).model_dump()
