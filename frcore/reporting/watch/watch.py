"""`frcore watch`: a study in the terminal while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from frcore.reporting.watch.progress import STATUSES, Job, jobs, outlook
from frcore.study.config import Study
from frcore.text import one_line, visible

SHOWN = 12
"""Running or failed jobs listed by name; the rest are counted."""

COLOURS = {
    "finished": "green", "running": "cyan", "silent": "yellow", "waiting": "dim",
    "stopped": "yellow", "failed": "red",
}  # fmt: skip


def watch(study: Study, root: Path, logs: Path, *, every: float, once: bool) -> None:
    """Show the study's progress, updated regularly until nothing is left to do.

    Args:
        study: the study.
        root: its results.
        logs: its logs.
        every: seconds between updates.
        once: show it once and return.
    """
    console = Console()
    found = jobs(study, root, logs)
    if once or not console.is_terminal:
        console.print(picture(study, found))
        return
    with Live(picture(study, found), console=console, auto_refresh=False) as live:
        while any(job.status in ("running", "silent", "waiting") for job in found):
            time.sleep(every)
            found = jobs(study, root, logs)
            live.update(picture(study, found), refresh=True)


def interrupted(logs: Iterable[str]) -> bool:
    """Whether Snakemake itself was stopped by a user, according to its logs."""
    texts = [Path(log).read_text(encoding="utf-8", errors="replace") for log in logs]
    return any(words in text for words in _ON_REQUEST for text in texts)


_ON_REQUEST = ("Terminating processes on user request", "Will exit after finishing currently")
"""What Snakemake logs on Ctrl-C and on SIGTERM."""


def ending(study: Study, root: Path, logs: Path, page: Path | None) -> str:
    """Why a workflow ended early: it or its jobs were stopped, or something failed.

    Args:
        study, root, logs: as of `jobs`.
        page: the report of what finished; None if Snakemake itself was stopped.
    """
    if page is None:
        return "Stopped on request; finished results are kept. Run the same command to continue."
    worked = f"Finished results are in {page}"
    found = jobs(study, root, logs)
    stopped = [job for job in found if job.status == "stopped"]
    if not stopped or any(job.status == "failed" for job in found):
        return f"Something failed. {worked}"
    first, count = stopped[0], "1 job was" if len(stopped) == 1 else f"{len(stopped)} jobs were"
    return (
        f"Nothing failed, but {count} stopped, first {first.stage} "
        f"{visible(first.name)}: {_reason(first)}. Run Snakemake "
        f"again to continue. {worked}"
    )


def picture(study: Study, found: list[Job], *, now: datetime | None = None) -> RenderableType:
    """The stages with their counts, the running and failed jobs, and the expected end."""
    active = [job for job in found if job.status in ("running", "silent")]
    parts: list[RenderableType] = [_counts(study, found), *([_active(active)] if active else [])]
    for status in ("stopped", "failed"):
        ended = [job for job in found if job.status == status]
        parts += [Text.from_markup(f"{_title(job)}: {escape(_reason(job))}")
                  for job in ended[:SHOWN]]  # fmt: skip
        if len(ended) > SHOWN:
            parts.append(Text(f"… and {len(ended) - SHOWN} more {status} jobs"))
    parts.append(Text(_end(found, len(active), now or datetime.now())))
    return Group(*parts)


def _title(job: Job) -> str:
    """A job's status, stage and name, with markup."""
    return f"[{COLOURS[job.status]}]{job.status}[/] {job.stage} {escape(visible(job.name))}"


def _reason(job: Job) -> str:
    """The first line of why a job ended."""
    first = (job.reason.removeprefix("stopped: ").splitlines() or ["no reason was recorded"])[0]
    return one_line(first, 200)


def _counts(study: Study, found: list[Job]) -> Table:
    table = Table(title=f"Study {escape(study.name)}", title_justify="left", box=None)
    table.add_column("stage")
    table.add_column("", min_width=12)
    for status in STATUSES:
        table.add_column(status, justify="right", style=COLOURS[status])
    for stage in dict.fromkeys(job.stage for job in found):
        own = [job for job in found if job.stage == stage]
        counts = [sum(job.status == status for job in own) for status in STATUSES]
        bar = ProgressBar(total=len(own), completed=counts[0], width=12)
        table.add_row(stage, bar, *(str(count) if count else "" for count in counts))
    return table


def _active(active: list[Job]) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(overflow="fold", ratio=1)
    for job in active[:SHOWN]:
        done = "" if job.fraction is None else f"{job.fraction:.0%}"
        since = "" if job.seconds is None else f"for {_duration(job.seconds)}"
        quiet = job.status == "silent" and job.quiet is not None
        killed = f"no sign of life for {_duration(job.quiet or 0.0)}: killed?" if quiet else ""
        table.add_row(_title(job), done, since, killed)
    if len(active) > SHOWN:
        table.add_row(f"… and {len(active) - SHOWN} more", "", "", "")
    return table


def _end(found: list[Job], parallel: int, now: datetime) -> str:
    if all(job.status == "finished" for job in found):
        return "Everything is finished."
    if all(job.status in ("finished", "stopped", "failed") for job in found):
        return "Nothing is running; start the study again to repeat what failed or was stopped."
    if not parallel:
        return "Nothing is running."
    expected = outlook(found, parallel)
    if isinstance(expected, str):
        return f"The end time is not known yet: {expected}."
    end = now + timedelta(seconds=expected)
    day = "" if end.date() == now.date() else f"{end:%Y-%m-%d} "
    return f"Expected end {day}{end:%H:%M}, in {_duration(expected)}, at this pace."


def _duration(seconds: float) -> str:
    """Seconds in a readable unit.

    >>> _duration(42), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
