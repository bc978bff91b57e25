"""Plans as tables for the terminal, and as JSON records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from frcore.planning.command import Answer
from frcore.planning.measured import Comparison, Measured, efficiency
from frcore.planning.step import Plan, plan_step
from frcore.planning.workload import STATES

ALONE = (
    "Planned are the class centres and their step: no images, no activations of a backbone, no "
    "data loading, no CUDA context (a few hundred MiB)."
)
ONE_MACHINE = "The network is the link within one machine; for several, give --network."
NOTHING_HIDDEN = "No communication is hidden behind arithmetic, and its latency is left out."


def fitted_ms(plan: Plan, rows: Sequence[Measured]) -> dict[str, tuple[float, int]]:
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
        ms = bound / efficiency(own, plan.device) + plan.split_ms[2]
        found[f"{subject}, {precision}"] = (ms, len(own))
    return found


def best_ms(plan: Plan) -> float | None:
    """Step time at the highest rates that programs reached on the device; None if not known."""
    if plan.device.reached is None:
        return None
    return plan_step(plan.workload, plan.device.at_best()).total_ms


def notes(plan: Plan) -> list[str]:
    """What a reader of the plan has to know."""
    return [ALONE, *([ONE_MACHINE, NOTHING_HIDDEN] if plan.workload.gpus > 1 else [])]


def as_record(found: Answer) -> dict[str, Any] | list[dict[str, Any]]:
    """JSON-serialisable: a plan with its device's sources and the measured rows, or several."""
    records = [_record(plan, found) for plan in found.plans]
    return records[0] if len(records) == 1 else records


def _record(plan: Plan, found: Answer) -> dict[str, Any]:
    device, precision = plan.device, plan.workload.precision
    compute, memory, network = plan.split_ms
    parts = []
    for part in plan.parts:
        split = dict(zip(("compute_ms", "memory_ms", "network_ms"),
                         part.split_ms(device, precision), strict=True))  # fmt: skip
        parts.append({**asdict(part), **split, "ms": part.ms(device, precision)})
    return {
        "shape": asdict(plan.workload),
        "device": asdict(device),
        "parts": parts,
        "compute_ms": compute,
        "memory_ms": memory,
        "network_ms": network,
        "step_ms": plan.step_ms,
        "total_ms": plan.total_ms,
        "is_lower_bound": plan.is_lower_bound,
        "best_reached_ms": best_ms(plan),
        "memory_bytes": plan.memory,
        "memory_gib": plan.memory_gib,
        "fits": plan.fits,
        "fitted_ms": {
            subject: {"total_ms": ms, "rows": count}
            for subject, (ms, count) in fitted_ms(plan, found.rows).items()
        },
        "measured": [
            {"subject": m.subject, "head": m.head, "shape": asdict(m.workload),
             "step_ms": m.step_ms, "bound_ms": c.bound_ms, "predicted_ms": c.predicted_ms,
             "error": c.error, "source": str(m.source)}
            for c in found.comparisons for m in [c.measured]
        ],
        "notes": notes(plan),
    }  # fmt: skip


def render(found: Answer, console: Console) -> None:
    """Print one plan in full, or several as a table; 80 columns suffice."""
    plan = found.plans[0]
    if len(found.plans) > 1:
        console.print(_grid(found.plans))
    else:
        _print_plan(plan, found.rows, console)
    if found.comparisons:
        console.print(_comparison_table(found.comparisons))
    else:
        console.print(
            f"[yellow]No measured rows[/] for {plan.device.name}: this plan has not been compared "
            "with a real step there. How good such plans were elsewhere: docs/planning.md."
        )
    console.print(f"[dim]{' '.join(notes(plan))} {plan.device.name}: {plan.device.source}.[/]")


def _print_plan(plan: Plan, rows: Sequence[Measured], console: Console) -> None:
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


def _table(title: str, *columns: str) -> Table:
    """A table with a left-aligned first column and numbers in the others."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        # Names may be broken to make room, numbers not.
        table.add_column(column, justify="right" if place else "left", overflow="fold",
                         no_wrap=column not in ("state", "part", "subject, head"))  # fmt: skip
    return table


def _time_table(plan: Plan) -> Table:
    device, precision = plan.device, plan.workload.precision
    table = _table("milliseconds of a step on each GPU", "part", "compute", "memory", "network",
                   "ms")  # fmt: skip
    for part in plan.parts:
        cells = map(_sig, (*part.split_ms(device, precision), part.ms(device, precision)))
        table.add_row(part.name, *cells)
    table.add_section()
    bound = "lower bound" if plan.is_lower_bound else "estimate, nothing hidden"
    table.add_row(f"[bold]{bound}[/]", *map(_sig, plan.split_ms),
                  f"[bold]{_sig(plan.total_ms)}[/]")  # fmt: skip
    return table


def _memory_table(plan: Plan) -> Table:
    table = _table("memory of each GPU", "what", "GiB")
    for name, size in plan.memory.items():
        table.add_row(name, f"{size / 2**30:.2f}")
    table.add_section()
    table.add_row("[bold]peak[/]", f"[bold]{plan.memory_gib:.2f}[/]")
    return table


def _grid(plans: Sequence[Plan]) -> Table:
    """One line for each plan; arguments with one value are in the title."""
    device, shapes = plans[0].device, [asdict(plan.workload) for plan in plans]
    names = ("identities", "gpus", "batch", "rate", "state")
    varying = [name for name in names if len({shape[name] for shape in shapes}) > 1]
    fixed = (f"{name} {_plain(shapes[0][name])}" for name in names if name not in varying)
    title = f"for each GPU: {device.name}, backend {shapes[0]['backend']}, {', '.join(fixed)}"
    table = _table(title, *varying, "GiB", "compute", "memory", "network", "ms")
    table.box = None
    for plan, shape in zip(plans, shapes, strict=True):
        gib = _sig(plan.memory_gib) if plan.fits else f"[bold red]{_sig(plan.memory_gib)} ![/]"
        table.add_row(*(_plain(shape[name]) for name in varying), gib,
                      *map(_sig, (*plan.split_ms, plan.total_ms)))  # fmt: skip
    table.caption = f"ms of a step; ! does not fit in the {device.memory_gib:.1f} GiB"
    table.caption_justify = "left"
    return table


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _conclusions(plan: Plan, rows: Sequence[Measured]) -> list[str]:
    fits, best = "Fits" if plan.fits else "[bold red]Does not fit[/]", best_ms(plan)
    lines = [f"{fits}: {plan.device.name} has {plan.device.memory_gib:.1f} GiB."]
    if best is not None and plan.device.reached is not None:
        lines.append(f"At the best rates reached on {plan.device.name}: {_sig(best)} ms "
                     f"({plan.device.reached.source}).")  # fmt: skip
    for subject, (ms, count) in fitted_ms(plan, rows).items():
        lines.append(
            f"At the efficiency of {count} measured row(s) of {subject}: {_sig(ms)} ms per step."
        )
    return lines


def _comparison_table(comparisons: Sequence[Comparison]) -> Table:
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
