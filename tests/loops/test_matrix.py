"""Every loop × sampler × backend makes what plain torch makes."""

from __future__ import annotations

import pytest

from tests.loops.loops import LOOPS
from tests.loops.trainers import HEADS, SAMPLERS, assert_same, batches, pair

FAST = ("sparse", "streamed", "curricularface")


def cases():
    for loop in LOOPS:
        for sampler in SAMPLERS:
            for backend in ("dense", "streamed"):
                for head in HEADS:
                    if head == "learned" and sampler.startswith("queue"):
                        continue  # the reference has no two weights for a head's parameters
                    marks = []
                    if (sampler, backend, head) != FAST:
                        marks = [pytest.mark.slow if head == FAST[2] else pytest.mark.grid]
                    yield pytest.param(loop, sampler, backend, head, marks=marks)


@pytest.mark.parametrize(("loop", "sampler", "backend", "head"), cases())
def test_a_loop_is_plain_torchs(loop, sampler, backend, head):
    mine, plain = pair(head, sampler, backend)
    for trainer in (mine, plain):
        LOOPS[loop](trainer, batches())
    assert_same(mine, plain)
