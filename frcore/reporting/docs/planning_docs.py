"""The tables of docs/planning.md: GPUs, and how far plans are from published and measured steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from frcore.planning import DEVICES, Device, memory_of
from frcore.planning.measured import Comparison, compare, measured_rows
from frcore.planning.published import Prediction, PublishedStep, predict, time_line
from frcore.reporting.tables.published_figures import published_costs

CPU = Device(
    "cpu", ("Intel(R) Xeon(R) Processor @ 2.50GHz",), {"fp32": 0.028}, 0.005, 1.0, 1.0,
    "a matrix product and a copy on two cores of another machine; only their ratio counts, because "
    "efficiencies come from the rows themselves",
)  # fmt: skip
"""The processor of results/reference/cpu."""


def planning_regions(reference: Path) -> dict[str, str]:
    """The generated tables, by the name in their markers.

    Args:
        reference: the folder results/reference of a checkout.
    """
    regions = {
        "GPUs": _devices(DEVICES.values()),
        "published": _published(predict(published_steps())),
    }
    # A copy of docs/ alone keeps the table that it has.
    measured = {"measured": _measured(_compared(reference))} if reference.is_dir() else {}
    return regions | measured


def published_steps() -> list[PublishedStep]:
    """The rows of InsightFace's speed benchmark with divided classes, ascending."""
    frame = published_costs()
    frame = frame[frame["method"].isin(["Model Parallel", "Partial FC 0.1"])]
    wide = frame.assign(rate=frame["rate"].fillna(1.0)).pivot_table(
        index=["rate", "identities"], columns="benchmark", values="value"
    )
    return [PublishedStep(int(identities), rate, memory, speed)
            for (rate, identities), memory, speed in zip(
                wide.index, wide["GPU memory"], wide["throughput"], strict=True)]  # fmt: skip


def _compared(reference: Path) -> list[Comparison]:
    """frcore's own steps; only rows of one file were measured under the same conditions."""
    rows = [row for row in measured_rows(reference, CPU) if row.subject in ("dense", "streamed")]
    files = {row.source: [one for one in rows if one.source == row.source] for row in rows}
    return [found for group in files.values() for found in compare(group, CPU)]


def _devices(devices: Iterable[Device]) -> str:
    def rate(device: Device, precision: str) -> str:
        return f"{device.tflops[precision]:g}" if precision in device.tflops else "-"

    head = ("`--device`", "bf16", "fp16", "tf32", "fp32", "TB/s", "GiB", "network, GB/s", "source")
    rows = [
        (f"`{one.name}`", *(rate(one, name) for name in head[1:5]), f"{one.tb_per_second:g}",
         f"{one.memory_gib:.1f}", f"{one.network_gb_per_second:g}", one.source)
        for one in devices
    ]  # fmt: skip
    return _table(head, rows)


def _published(found: Sequence[Prediction]) -> str:
    head = ("rate", "identities", "memory, MiB", "last layer, planned", "predicted", "error",
            "samples/s", "step, ms", "last layer, planned", "predicted", "error")  # fmt: skip
    rows = []
    for one in sorted(found, key=lambda one: (-one.row.rate, one.row.identities)):
        row = one.row
        rows.append((
            f"{row.rate:g}", f"{row.identities:,}",
            f"{row.memory_mib:,.0f}", f"{row.planned_mib:,.0f}", f"{one.memory_mib:,.0f}",
            _percent(one.memory_error),
            f"{row.images_per_second:,.0f}", f"{row.step_ms:.0f}", f"{row.plan.step_ms:.1f}",
            f"{one.step_ms:.0f}", _percent(one.time_error),
        ))  # fmt: skip
    lines = [_table(head, rows), ""]
    for rate in (1.0, 0.1):
        slope, rest = time_line([one.row for one in found if one.row.rate == rate])
        lines.append(f"Rate {rate:g}: step = {rest:.0f} ms + {slope:.2f} × planned.")
    return "\n".join(lines)


def _measured(comparisons: Sequence[Comparison]) -> str:
    head = ("file", "backend, head", "identities", "batch", "dim", "measured, ms", "predicted",
            "error", "extra memory, MiB", "planned", "error")  # fmt: skip
    rows = []
    for one in comparisons:
        row, memory = one.measured, memory_of(one.measured.workload)
        planned = (sum(memory.values()) - memory["centres and momentum"]) / 2**20
        extra, work = 1024 * (row.extra_gib or 0), row.workload
        # The workspace of the fused step is that of a GPU's kernels, which no CPU has.
        counted = ("-", "-")
        if row.subject == "dense" and extra:
            counted = (f"{planned:,.1f}", _percent(planned / extra - 1))
        rows.append((
            row.source.relative_to(row.source.parents[1]).with_suffix("").as_posix(),
            f"{row.subject}, {row.head}", f"{work.identities:,}", str(work.batch), str(work.dim),
            f"{row.step_ms:,.1f}", f"{one.predicted_ms:,.1f}", _percent(one.error),
            f"{extra:,.1f}", *counted,
        ))  # fmt: skip
    return _table(head, rows)


def _percent(error: float) -> str:
    return f"{round(100 * error):+d} %"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
