"""`frcore plan`: from the user's arguments to a plan and the measured rows to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frcore.errors import UserError, unknown_name
from frcore.planning.devices import get_device
from frcore.planning.measured import Comparison, Measured, compare, measured_rows
from frcore.planning.step import Plan, Workload, plan_step

UPDATES = ("sparse", "lazy", "dense")

DEFAULT_PRECISION = {"fused": "bf16", "dense": "fp32"}
"""The precision that fused kernels need, and the one that InsightFace's code uses."""


def plan_and_compare(
    workload: dict[str, Any],
    *,
    head: str,
    device: str,
    ceilings: dict[str, float | None],
    reference: Path,
) -> tuple[Plan, list[Measured], list[Comparison]]:
    """The plan, the measured rows of the device, and how far each is from its prediction.

    Args:
        workload: the arguments of `Workload`; `identities` may be a whole number written as a
            float, and `precision` None for the backend's default.
        head: a head's name; some need an additional pass.
        device: a name in the table of devices.
        ceilings: overrides of the device's peak rates, as for `Device.replaced`.
        reference: folder of CSV files.

    Raises:
        UserError: a value that is not allowed.
    """
    chosen = get_device(device).replaced(**ceilings)
    given = _workload(workload, statistic=_needs_statistic(head))
    # Rows are compared with the GPU's own ceilings: overrides describe a different GPU.
    rows = measured_rows(reference, get_device(device))
    return plan_step(given, chosen), rows, compare(rows, get_device(device))


def _workload(given: dict[str, Any], *, statistic: bool) -> Workload:
    identities = given["identities"]
    if identities != int(identities):
        raise UserError(f"--identities {identities}; allowed are whole numbers, such as 30e6")
    if given["update"] not in UPDATES:
        raise unknown_name("update", given["update"], UPDATES, where="--update")
    precision = given["precision"] or DEFAULT_PRECISION.get(given["backend"], "bf16")
    whole = {"identities": int(identities), "statistic": statistic, "precision": precision}
    return Workload(**(given | whole))


def _needs_statistic(head: str) -> bool:
    from frcore.heads import HEADS

    return "negative_logsumexp" in HEADS.load(head).statistics
