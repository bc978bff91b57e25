"""Steps that run one kernel per operation, counted operation by operation.

Bytes are those of the operations' tensors at one rank of many, for heads that change the target
entry only (ArcFace, CosFace), per class centre there; B are the rows, D the dimension, r the
rate. Matrix products count as FLOPs instead. The peak is of tensors alive at the same time,
without centres and momentum. tests/planning/test_counted.py counts the step of `dense` again;
docs/planning.md says how the others were counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Bytes = Callable[[float, float, float], float]
"""(rows, dim, rate) -> bytes for each class centre."""


class Counted(NamedTuple):
    """A step.

    Attributes:
        code: whose.
        moved: read and written by everything but matrix products.
        peak: of temporaries.
        dense_update: moved by an optimiser that moves all centres; None if no other is possible.
    """

    code: str
    moved: Bytes
    peak: Bytes
    dense_update: Bytes | None = None


def _dense_moved(b: float, d: float, r: float) -> float:
    return r * (94 * b + (116 if r == 1 else 164) * d)


def _dense_peak(b: float, d: float, r: float) -> float:
    return max(21 * b + 4 * d, 12 * d) if r == 1 else r * max(21 * b + 8 * d, 16 * d)


def _v2_moved(b: float, d: float, r: float) -> float:
    return 110 * b + 144 * d if r == 1 else 110 * r * b + (44 + 128 * r) * d


def _v2_peak(b: float, d: float, r: float) -> float:
    if r == 1:
        return max(16 * b + 8 * d, 4 * b + 20 * d)
    return max(8 * d + r * (4 * b + 8 * d), r * (16 * b + 12 * d))


def _v1_moved(b: float, d: float, r: float) -> float:
    return r * (204 * b + (156 if r == 1 else 196) * d)


def _v1_peak(b: float, d: float, r: float) -> float:
    return r * (40 * b + (4 if r == 1 else 12) * d)


COUNTED: dict[str, Counted] = {
    "dense": Counted("frcore's loss backend dense", _dense_moved, _dense_peak,
                     lambda b, d, r: 94 * r * b + (92 + 72 * r) * d),
    "partial_fc_v2": Counted("InsightFace's PartialFC_V2 with torch's SGD", _v2_moved, _v2_peak),
    "partial_fc_v1": Counted("InsightFace's PartialFC of 2021, ArcFace", _v1_moved, _v1_peak),
}  # fmt: skip
