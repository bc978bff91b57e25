"""A plan as tables for the terminal, and as a JSON record."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from frcore.planning.measured import Comparison, Measured, efficiency
from frcore.planning.step import STATES, Plan, plan_step

SHARDED = (
    "Classes distributed over GPUs are a prediction only: the trainer keeps all classes on one GPU."
)
ALONE = "Last layer only: no backbone, no data loading, no CUDA context."


def fitted_ms(plan: Plan, rows: list[Measured]) -> dict[str, tuple[float, int]]:
    """Step time at the efficiency achieved by measured rows, at their precision.

    Returns:
        "subject, precision" -> (ms, number of rows).
    """
    alike = [row for row in rows if row.workload.backend == plan.workload.backend]
    found = {}
    for kind in sorted({row.kind for row in alike}):
        own = [row for row in alike if row.kind == kind]
        subject, precision = kind
        bound = plan_step(replace(plan.workload, precision=precision), plan.device).step_ms
        ms = bound / efficiency(own, plan.device) + plan.exchange_ms
        found[f"{subject}, {precision}"] = (ms, len(own))
    return found


def as_record(plan: Plan, rows: list[Measured], comparisons: list[Comparison]) -> dict[str, Any]:
    """JSON-serialisable: workload, device with sources, plan, and measured rows."""
    workload, device = plan.workload, plan.device
    return {
        "shape": asdict(workload),
        "device": asdict(device) | {"tflops": dict(device.tflops)},
        "parts": [
            {**asdict(part), "compute_ms": part.compute_ms(device, workload.precision),
             "memory_ms": part.memory_ms(device)}
            for part in plan.parts
        ],
        "step_ms": plan.step_ms,
        "is_lower_bound": workload.backend == "fused",
        "exchanged_bytes": plan.exchanged,
        "exchange_ms": plan.exchange_ms,
        "total_ms": plan.total_ms,
        "memory_bytes": plan.memory,
        "memory_gib": plan.memory_gib,
        "fits": plan.fits,
        "fitted_ms": {
            subject: {"total_ms": ms, "rows": count}
            for subject, (ms, count) in fitted_ms(plan, rows).items()
        },
        "measured": [
            {"subject": m.subject, "head": m.head, "shape": asdict(m.workload),
             "step_ms": m.step_ms, "bound_ms": c.bound_ms, "predicted_ms": c.predicted_ms,
             "error": c.error, "source": str(m.source)}
            for c in comparisons for m in [c.measured]
        ],
        "notes": [ALONE, *([SHARDED] if workload.gpus > 1 else [])],
    }  # fmt: skip


def render(
    plan: Plan, rows: list[Measured], comparisons: list[Comparison], console: Console
) -> None:
    """Print the plan; 80 columns suffice."""
    workload, device = plan.workload, plan.device
    console.print(
        f"[bold]{workload.identities:,} identities[/] on {workload.gpus} × {device.name}, "
        f"{workload.batch:,} images per GPU, dim {workload.dim}, rate {workload.rate:g}"
    )
    console.print(
        f"backend {workload.backend}, {workload.precision} products, state {workload.state}: "
        f"{STATES[workload.state].meaning}"
    )
    console.print(_time_table(plan))
    console.print(_memory_table(plan))
    for line in _conclusions(plan, rows):
        console.print(line)
    if comparisons:
        console.print(_comparison_table(comparisons))
    else:
        console.print(
            f"[yellow]No measured rows[/] for {device.name}: this plan has not been compared with "
            "a real step. See docs/measuring.md for how to measure."
        )
    console.print(f"[dim]{ALONE} {device.name}: {device.source}.[/]")


def _table(title: str, *columns: str) -> Table:
    """A table with a left-aligned first column and numbers in the others."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _time_table(plan: Plan) -> Table:
    workload, device = plan.workload, plan.device
    table = _table("time of a step on each GPU", "part", "GFLOP", "GB moved", "compute ms",
                   "memory ms", "ms")  # fmt: skip
    for part in plan.parts:
        compute, memory = part.compute_ms(device, workload.precision), part.memory_ms(device)
        # One of the two is 0 if the plan adds them up.
        numbers = (part.flop / 1e9, part.bytes / 1e9, compute, memory, max(compute, memory))
        table.add_row(part.name, *map(_sig, numbers))
    for name, moved in plan.exchanged.items():
        ms = 1e3 * moved / (device.link_gb_per_second * 1e9)
        table.add_row(name, "", _sig(moved / 1e9), "", "", _sig(ms))
    table.add_section()
    bound = "lower bound" if workload.backend == "fused" else "estimate"
    table.add_row(f"[bold]{bound}[/]", "", "", "", "", f"[bold]{_sig(plan.total_ms)}[/]")
    return table


def _memory_table(plan: Plan) -> Table:
    table = _table("memory of each GPU", "what", "GiB")
    for name, size in plan.memory.items():
        table.add_row(name, f"{size / 1024**3:.2f}")
    table.add_section()
    table.add_row("[bold]peak[/]", f"[bold]{plan.memory_gib:.2f}[/]")
    return table


def _conclusions(plan: Plan, rows: list[Measured]) -> list[str]:
    fits = "Fits" if plan.fits else "[bold red]Does not fit[/]"
    return [
        f"{fits}: {plan.device.name} has {plan.device.memory_gib:.1f} GiB.",
        *(f"At the efficiency of {count} measured row(s) of {subject}: {_sig(ms)} ms per step."
          for subject, (ms, count) in fitted_ms(plan, rows).items()),
        *([f"[yellow]{SHARDED}[/]"] if plan.workload.gpus > 1 else []),
    ]  # fmt: skip


def _comparison_table(comparisons: list[Comparison]) -> Table:
    table = _table("measured steps, each predicted from the other rows of its kind",
                   "subject, head", "identities", "rate", "bound", "predicted", "measured",
                   "error")  # fmt: skip
    for c in comparisons:
        m = c.measured
        table.add_row(f"{m.subject}, {m.head}", f"{m.workload.identities:.3g}",
                      f"{m.workload.rate:g}", *map(_sig, (c.bound_ms, c.predicted_ms, m.step_ms)),
                      f"{100 * c.error:+.0f} %")  # fmt: skip
    return table


def _sig(value: float) -> str:
    """Three significant digits, without exponents.

    >>> _sig(5.3085), _sig(15.99), _sig(4194.3), _sig(0.0012345)
    ('5.31', '16.0', '4,190', '0.00123')
    """
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:#.3g}"
