"""AdaCos, fixed and dynamic."""

from __future__ import annotations

import math
import statistics

from tests.slow_heads.base import SlowHead


class SlowFixedAdaCos(SlowHead):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, math.sqrt(2) * math.log(num_classes - 1))


class SlowAdaCos(SlowFixedAdaCos):
    def update(
        self, cosines: list[dict[int, float]], labels: list[int], norms: list[float]
    ) -> None:
        b_of_rows, angles = [], []
        for row, label in zip(cosines, labels, strict=True):
            b_of_rows.append(
                sum(math.exp(self.scale_value * c) for k, c in row.items() if k != label)
            )
            angles.append(math.acos(row[label]))
        b_average = sum(b_of_rows) / len(b_of_rows)
        if b_average <= 1:  # the equation has no positive solution
            return
        theta = min(math.pi / 4, statistics.median(angles))
        self.scale_value = math.log(b_average) / math.cos(theta)
