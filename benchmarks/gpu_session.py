"""A session on a GPU: `python -m benchmarks.gpu_session --resume --budget 560`.

Measures the cases of a grid, the most telling first, each in a fresh process, and puts its row into
results/reference/<device>/steps-b<batch>-d<dim>.csv at once: a session that ends early loses
nothing, and the next one with --resume goes on. See docs/measuring.md.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.session.cases import Case, grid, rank
from benchmarks.session.measure import TIMED_OUT, Options, measure_case
from benchmarks.session.peers import unavailable
from benchmarks.session.table import DONE, Table, slug
from frcore.errors import UserError
from frcore.machine.leases import lease_gpu
from frcore.machine.visible import describe_gpu
from frcore.measurement.child import Method, Outcome, run_in_child
from frcore.measurement.conditions import until_clean

RESERVE = 30.0
"""Seconds that a case is taken to need before any was measured."""

console = Console(highlight=False, soft_wrap=True)


class Session:
    """Which cases are to be measured here, and their tables.

    Args:
        cases: in their order.
        options: how to measure.
        out: folder of the devices' folders.
        resume: leave out what has a row already.
    """

    def __init__(self, cases: list[Case], options: Options, out: Path, *, resume: bool) -> None:
        self.cases, self.options = cases, options
        self.folder = out / device_slug(options.device)
        self.tables: dict[Path, Table] = {}
        self.resume = resume
        self.longest = 0.0

    def table(self, case: Case) -> Table:
        """The table of a case's conditions."""
        path = self.folder / f"steps-b{case.batch_size}-d{case.dim}.csv"
        return self.tables.setdefault(path, Table(path))

    def reason(self, case: Case) -> str | None:
        """Why a case is not for this machine."""
        checkout = self.options.checkout
        return unavailable(case, self.options.device, None if checkout is None else Path(checkout))

    def open(self) -> Iterator[Case]:
        """The cases that are still to be measured."""
        for case in self.cases:
            done = self.resume and self.table(case).status(case) in DONE
            if not done and self.reason(case) is None:
                yield case

    def measure(self, case: Case, seconds: float | None) -> str | None:
        """Measure a case and put in its row.

        Args:
            case: what.
            seconds: what is left of the session; None = no end.

        Returns:
            Its status; None if the session's end cut it off, which is no result.
        """
        # A second attempt is for when there is time: other cases have had none yet.
        attempts = self.options.attempts
        if seconds is not None and seconds < attempts * self.longest:
            attempts = 1
        start = time.monotonic()

        def once() -> dict[str, Any]:
            left = math.inf if seconds is None else seconds - (time.monotonic() - start)
            limit = min(self.options.limit, left)
            fields = asdict(self.options) | {"limit": limit}
            method = start_method(self.options.device)
            outcome = run_in_child(measure_case, case.as_dict(), fields, method=method)
            row = row_of(outcome, limit)
            cut_off = row["status"] == "timeout" and limit < self.options.limit
            return row | {"status": "cut off"} if cut_off else row

        row, _ = until_clean(once, attempts)
        self.longest = max(self.longest, (time.monotonic() - start) / row["attempts"])
        if row["status"] == "cut off":
            return None
        self.table(case).put(case, {"device": self.options.device, **row})
        return str(row["status"])


def row_of(outcome: Outcome, limit: float) -> dict[str, Any]:
    """The row of what became of a child."""
    if outcome.error is None:
        return dict(outcome.value)
    if f"exit code {TIMED_OUT} " in outcome.error:
        return {"status": "timeout", "error": f"took longer than {limit:g} s"}
    status = "oom" if outcome.out_of_memory else "failed"
    return {"status": status, "error": " ".join(outcome.error.split())[:500]}


def start_method(device: str) -> Method:
    """Forked from a server that has done nothing; CUDA needs a new interpreter."""
    if device == "cuda" or "forkserver" not in multiprocessing.get_all_start_methods():
        return "spawn"
    return "forkserver"


def device_slug(device: str) -> str:
    """The name of the device's folder."""
    if device == "cpu":
        return "cpu"
    return slug(describe_gpu(device)["name"] or device)


def show(session: Session) -> None:
    """What has a row, what has none yet, and what cannot be measured here."""
    counts: Counter[str] = Counter()
    for case in session.cases:
        status, reason = session.table(case).status(case), session.reason(case)
        told = status or (f"not measured: {reason}" if reason else "not measured")
        counts["not measured" if status is None else status] += 1
        console.print(f"{rank(case):2d}  {told:<14} {case.name}", markup=False)
    console.print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))


def run(session: Session, budget: float | None, *, dry: bool) -> None:
    """Measure until all is done or the budget would not hold another case."""
    start = time.monotonic()
    cases = list(session.open())
    console.print(f"{len(cases)} of {len(session.cases)} cases to measure; {session.folder}")
    for number, case in enumerate(cases, 1):
        if dry:
            console.print(f"would measure {case.name}", markup=False)
            continue
        left = None if budget is None else budget - (time.monotonic() - start)
        if left is not None and left < max(RESERVE, session.longest):
            console.print(f"stopped: {left:.0f} s of the budget left, {number - 1} cases measured")
            return
        status = session.measure(case, left) or "cut off"
        console.print(
            f"[{number}/{len(cases)}] {time.monotonic() - start:4.0f} s  {status}  {case.name}"
            f"{numbers(session.table(case).row(case), status)}",
            markup=False,
        )


def numbers(row: dict[str, str] | None, status: str) -> str:
    """The main numbers of a row, or its error."""
    if row is None or row["status"] != status:
        return ""
    if status != "ok":
        return f"  ({row['error']})"
    memory = row["allocated_peak_mib"] or row["rss_extra_mib"]
    plan = f" (planned {row['plan_ms']})" if row["plan_ms"] else ""
    disturbed = f", disturbed: {row['disturbed']}" if row["disturbed"] else ""
    return f"  {row['step_ms']} ms{plan}, {memory} MiB{disturbed}"


def main(
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    grid_name: Annotated[
        str, typer.Option("--grid", help="full, short, or tiny (short_tiny)")
    ] = "full",
    only: Annotated[
        list[str] | None, typer.Option(help="Cases with all these words in their name.")
    ] = None,
    max_rank: Annotated[int, typer.Option(help="Cases up to this rank; see --list.")] = 99,
    peers: Annotated[bool, typer.Option(help="Other people's steps too.")] = True,
    peer: Annotated[Path | None, typer.Option(help="A checkout of insightface.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of results.")] = Path("results/reference"),
    resume: Annotated[bool, typer.Option(help="Leave out what has a row.")] = False,
    budget: Annotated[float | None, typer.Option(help="Seconds; stops before they are up.")] = None,
    limit: Annotated[float, typer.Option(help="Seconds for one case.")] = 120.0,
    seconds: Annotated[float, typer.Option(help="Of timed steps for one case.")] = 2.0,
    energy_seconds: Annotated[float, typer.Option(help="Of the energy's window.")] = 5.0,
    threads: Annotated[int, typer.Option(help="Of the CPU.")] = 1,
    commit: Annotated[str | None, typer.Option(help="Where the copy has no repository.")] = None,
    list_only: Annotated[bool, typer.Option("--list", help="What has a row and what not.")] = False,
    dry_run: Annotated[bool, typer.Option(help="What would be measured.")] = False,
) -> None:
    """Measure training steps, ours and others', and keep the rows."""
    words = [word for given in only or () for word in given.split()]
    cases = [
        case
        for case in grid(grid_name)
        if rank(case) <= max_rank
        and (peers or case.subject == "frcore")
        and all(word in case.name.split() for word in words)
    ]
    if not cases:
        raise UserError(f"no case of grid '{grid_name}' has all of {words}; --list shows the names")
    options = Options(
        device=device, seconds=seconds, energy_seconds=energy_seconds, limit=limit,
        threads=threads, checkout=None if peer is None else str(peer), commit=commit,
    )  # fmt: skip
    if list_only or dry_run:
        session = Session(cases, options, out, resume=resume)
        show(session) if list_only else run(session, budget, dry=True)
        return
    with lease_gpu(device, exclusive=True):
        run(Session(cases, options, out, resume=resume), budget, dry=False)


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        raise SystemExit(2) from None
