"""Full softmax: every class centre, every step."""

from __future__ import annotations

from frcore.samplers.base import Sampler


class Full(Sampler):
    """All class centres are columns and there are no extra rows."""
