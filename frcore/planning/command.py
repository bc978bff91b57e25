"""`frcore plan`: from the user's arguments to plans and the measured rows to compare with."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from frcore.errors import UserError
from frcore.planning.devices import Device, get_device
from frcore.planning.measured import Comparison, Measured, compare, measured_rows
from frcore.planning.step import Plan, plan_step
from frcore.planning.workload import Workload

UNITS = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9}

_COUNT = re.compile(r"(\d+\.?\d*|\.\d+)(e\+?\d+)?\s*([kmb]?)", re.IGNORECASE)

AXES = {"identities": int, "gpus": int, "batch": int, "rate": float, "state": str}
"""Arguments that take several values, separated by commas, and the type of each value."""

COUNTS = ("dim", "queue", "backbone")
"""Other numbers of something."""


@dataclass(frozen=True)
class Answer:
    """What `frcore plan` has to say.

    Attributes:
        plans: one for each combination of the values given.
        rows: measured on a GPU of the named kind; none for one given by figures.
        comparisons: of the rows with their predictions.
    """

    plans: tuple[Plan, ...]
    rows: tuple[Measured, ...]
    comparisons: tuple[Comparison, ...]


def answer(
    given: Mapping[str, Any],
    *,
    head: str,
    device: str,
    figures: Mapping[str, float | None],
    reference: Path,
) -> Answer:
    """Plans of all combinations, and how far measured steps are from their predictions.

    Args:
        given: the arguments of `Workload` as text; those of `AXES` may have several values.
        head: a head's name; some need an additional pass.
        device: a name in the table of devices.
        figures: of the user's own GPU, as for `Device.yours`.
        reference: folder of CSV files.

    Raises:
        UserError: a value that is not allowed.
    """
    named = get_device(device)
    own = named.yours(**_checked(figures))
    fixed: dict[str, Any] = {key: value for key, value in given.items() if key not in AXES}
    fixed |= {key: count(given[key], f"--{key}") for key in COUNTS}
    fixed |= {
        "statistic": _needs_statistic(head),
        "precision": given["precision"] or _default_precision(given["backend"], own),
    }
    values = [_values(key, given[key]) for key in AXES]
    plans = [plan_step(Workload(**fixed, **dict(zip(AXES, chosen, strict=True))), own)
             for chosen in product(*values)]  # fmt: skip
    rows = measured_rows(reference, named) if own is named else []
    return Answer(tuple(plans), tuple(rows), tuple(compare(rows, named)))


def count(text: str, where: str) -> int:
    """A number of things, as people write it.

    >>> [count(text, "--identities") for text in ("85742", "360k", "10M", "1e7", "2.5M")]
    [85742, 360000, 10000000, 10000000, 2500000]

    Raises:
        UserError: it is no whole number.
    """
    found = _COUNT.fullmatch(text.strip())
    # Decimal digits times a power of ten: rounding undoes what binary fractions do to it.
    value = float(found[1] + (found[2] or "")) * UNITS[found[3].lower()] if found else math.nan
    if not math.isfinite(value) or not math.isclose(value, round(value), rel_tol=1e-12):
        raise UserError(
            f"{where} {text}; allowed are whole numbers, 0 or more, such as 360000, 360k, 10M or "
            "1e7: give a count"
        )
    return round(value)


def _values(key: str, text: str) -> list[Any]:
    kind = AXES[key]
    parts = [part.strip() for part in text.split(",")]
    return [_rate(part) if kind is float else count(part, f"--{key}") if kind is int else part
            for part in parts]  # fmt: skip


def _rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"--rate {text}; allowed are numbers above 0, up to 1, such as 0.1: give the share of "
            "all class centres sampled in a step"
        ) from None


def _checked(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    for name, value in figures.items():
        if value is not None and not 0 < value < math.inf:
            option = {"tb_per_second": "bandwidth", "network_gb_per_second": "network"}
            raise UserError(
                f"--{option.get(name, name).replace('_', '-')} {value:g}; allowed are numbers above"
                " 0: give the figure of your GPU's data sheet, or leave it out"
            )
    return dict(figures)


def _default_precision(backend: str, device: Device) -> str:
    """What fused kernels use and the device has; fp32 for the others, as the code counted."""
    if backend != "fused":
        return "fp32"
    return "bf16" if "bf16" in device.tflops else "fp16"


def _needs_statistic(head: str) -> bool:
    from frcore.heads import HEADS

    return "negative_logsumexp" in HEADS.load(head).statistics
