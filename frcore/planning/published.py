"""Published tables of Partial FC compared with their plan, each row predicted from others.

InsightFace's speed benchmark trained a ResNet-50 in fp16 with PartialFC of 2021 on eight Tesla
V100-SXM2-32GB, 128 synthetic images each, once with all centres ("model parallel") and once with a
tenth of them. What does not depend on the identities, mainly the backbone, cannot be planned; it is
taken from the other of the two tables, so that no row is predicted from its own table:

- memory: the published value of the other table's smallest row, less its plan, is added;
- time: a line through the other table's steps, published against planned, is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from frcore.planning.devices import get_device
from frcore.planning.step import Plan, plan_step
from frcore.planning.workload import Workload

MIB = 2**20
GPUS, BATCH = 8, 128


@dataclass(frozen=True)
class PublishedStep:
    """A row of both tables.

    Attributes:
        identities: of the synthetic data.
        rate: 1 for "model parallel".
        memory_mib: of each GPU, as gpustat shows it.
        images_per_second: of all GPUs.
    """

    identities: int
    rate: float
    memory_mib: float
    images_per_second: float

    @property
    def step_ms(self) -> float:
        """Time of a step."""
        return 1e3 * GPUS * BATCH / self.images_per_second

    @property
    def plan(self) -> Plan:
        """The plan of its last layer."""
        workload = Workload(self.identities, gpus=GPUS, batch=BATCH, rate=self.rate,
                            precision="fp32", backend="partial_fc_v1")  # fmt: skip
        return plan_step(workload, get_device("v100"))

    @property
    def planned_mib(self) -> float:
        """Memory that the plan knows of."""
        return sum(self.plan.memory.values()) / MIB


@dataclass(frozen=True)
class Prediction:
    """A row and what is predicted for it."""

    row: PublishedStep
    memory_mib: float
    step_ms: float

    @property
    def memory_error(self) -> float:
        """Relative error of the memory."""
        return self.memory_mib / self.row.memory_mib - 1

    @property
    def time_error(self) -> float:
        """Relative error of the step's time."""
        return self.step_ms / self.row.step_ms - 1


def predict(rows: Sequence[PublishedStep]) -> list[Prediction]:
    """Each row predicted from those of the other rate."""
    found = []
    for row in rows:
        others = [other for other in rows if other.rate != row.rate]
        smallest = min(others, key=lambda other: other.identities)
        rest = smallest.memory_mib - smallest.planned_mib
        slope, intercept = time_line(others)
        step_ms = intercept + slope * row.plan.step_ms
        found.append(Prediction(row, row.planned_mib + rest, step_ms))
    return found


def time_line(rows: Sequence[PublishedStep]) -> tuple[float, float]:
    """Published over planned milliseconds of a step: slope, and what is not planned."""
    return linear_regression([row.plan.step_ms for row in rows], [row.step_ms for row in rows])
