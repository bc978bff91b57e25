"""Options of the benchmarks, and what they say at the end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from frcore.files import atomic_file, refuse_other_file

COLUMNS = (
    "benchmark", "subject", "head", "identities", "batch_size", "dim", "status", "error",
    "step_ms", "step_ms_low", "step_ms_high", "cpu_ms_per_step", "rss_extra_mib", "rss_peak_mib",
    "steps", "threads", "torch", "commit", "cpu", "platform", "measured_at",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("frcore")
    group.addoption("--to", type=Path, help="bench_loss: append rows to this CSV file")
    group.addoption("--large", action="store_true",
                    help="bench_loss: a million identities too; needs 10 GB")  # fmt: skip
    group.addoption("--share", type=float, default=1.0,
                    help="bench_templates: a part of the people")  # fmt: skip


ROWS = pytest.StashKey[list[dict[str, Any]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture
def keep_row(request: pytest.FixtureRequest) -> Any:
    """Takes a row for the summary, and for the file if there is one."""

    def keep(row: dict[str, Any]) -> None:
        request.config.stash[ROWS].append(row)
        path = request.config.getoption("--to")
        if path is not None:
            append(path, row)

    return keep


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV file, which is replaced as a whole."""
    rows = []
    refuse_other_file(path, ",".join(COLUMNS[:4]), "a table of this benchmark")
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    _templates_summary(terminalreporter, config)
    _report_summary(terminalreporter, config)
    rows = [row for row in config.stash[ROWS] if row["status"] == "ok"]
    if not rows:
        return
    terminalreporter.section("steps, each in a process of its own; × dense of the same run")
    dense = {(row["head"], row["identities"]): row for row in rows if row["subject"] == "dense"}
    for row in rows:
        base = dense.get((row["head"], row["identities"]))
        terminalreporter.write_line(
            f"{row['head']:<9} {row['identities']:>9,}  {row['subject']:<10}"
            f"{row['cpu_ms_per_step']:9.1f} ms CPU{_ratio(row, base, 'cpu_ms_per_step')}"
            f"{row['step_ms']:9.1f} ms wall{_ratio(row, base, 'step_ms')}"
            f"{row['rss_extra_mib']:9.1f} MiB more"
        )


def _ratio(row: dict[str, Any], base: dict[str, Any] | None, column: str) -> str:
    return "" if base is None else f" (× {row[column] / base[column]:.2f})"


def _report_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    for one in session.benchmarks if session else []:
        if one.group == "report" and one.extra_info:
            terminalreporter.section("report, in a process of its own")
            terminalreporter.write_line(
                "{wall_s:.1f} s wall, {cpu_s:.1f} s CPU, {page_mb:.2f} MB page".format(
                    **one.extra_info
                )
            )


def _templates_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    found = [one for one in session.benchmarks if one.group == "templates"] if session else []
    if not found:
        return
    terminalreporter.section("templates, each in a process of its own")
    for one in found:
        parts = one.extra_info.get("parts", one.extra_info)
        for name, part in parts.items():
            pairs = f"  {one.extra_info['sample']:,} pairs" if name == "peers" else ""
            terminalreporter.write_line(
                f"{name:<10}{part['wall_s']:8.2f} s wall{part['cpu_s']:8.2f} s CPU"
                f"{part['peak_mib']:9.0f} MiB peak{pairs}"
            )
