"""A network in which one process of a training fails or hangs, if the environment says so."""

from __future__ import annotations

import os
import time

from torch import Tensor

from frcore.errors import UserError
from tests.training.plain_backbone import Plain

FAULT = "FRCORE_TEST_FAULT"
"""Environment variable: what befalls process 1 at its sixth step."""


class Faulty(Plain):
    """As `Plain`."""

    def __init__(self, image_size: int, dim: int = 16) -> None:
        super().__init__(image_size, dim)
        self.fault = os.environ.get(FAULT) if os.environ.get("RANK") == "1" else None
        self.steps = 0

    def forward(self, images: Tensor) -> Tensor:
        self.steps += 1
        if self.steps == 6 and self.fault == "hangs":
            self.wait_for_nothing()
        if self.steps == 6 and self.fault == "is refused":
            raise UserError("a network without ideas")
        if self.steps == 6 and self.fault == "is wrong":
            raise ZeroDivisionError("somewhere")
        return super().forward(images)

    def wait_for_nothing(self) -> None:
        """For an hour."""
        time.sleep(3600)
