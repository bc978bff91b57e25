"""AdaCos, fixed and dynamic."""

from __future__ import annotations

import math
import statistics

from tests.slow_heads.base import SlowHead


class SlowFixedAdaCos(SlowHead):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, math.sqrt(2) * math.log(num_classes - 1))


class SlowAdaCos(SlowFixedAdaCos):
    def __init__(
        self,
        num_classes: int,
        statistics: str = "batch_mean",
        angle: str = "median",
        max_scale: float | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.max_scale = max_scale
        self.estimate, self.angle = statistics, angle
        self.scale_value = self.start = self.held(self.scale_value)
        self.last_b = num_classes - 1.0

    def held(self, scale: float) -> float:
        return scale if self.max_scale is None else min(scale, self.max_scale)

    def update(
        self, cosines: list[dict[int, float]], labels: list[int], norms: list[float]
    ) -> None:
        scale = self.start if self.estimate == "restarted" else self.scale_value
        b_of_rows, angles = [], []
        for row, label in zip(cosines, labels, strict=True):
            b_of_rows.append(sum(math.exp(scale * c) for k, c in row.items() if k != label))
            angles.append(math.acos(row[label]))
        b = sum(b_of_rows) / len(b_of_rows)
        if self.estimate == "lagged":
            b = self.last_b
        if self.estimate == "constant":
            b = self.num_classes - 1
        if b > 1:  # else no positive scale solves the equation
            self.scale_value = self.solved(b, angles)
        self.last_b = sum(
            math.exp(self.scale_value * c)
            for row, label in zip(cosines, labels, strict=True)
            for k, c in row.items()
            if k != label
        ) / len(labels)

    def solved(self, b: float, angles: list[float]) -> float:
        median = {
            "median": statistics.median,
            "lower_median": statistics.median_low,
            "quarter_pi": lambda angles: math.pi / 4,
        }[self.angle](angles)
        return self.held(math.log(b) / math.cos(min(math.pi / 4, median)))
