"""Every loop × sampler × backend makes what plain torch makes."""

from __future__ import annotations

from itertools import product

import pytest

from tests.loops.loops import LOOPS
from tests.loops.trainers import HEADS, SAMPLERS, assert_same, batches, pair

FAST = ("sparse", "streamed", "curricularface")


def cases():
    """Each cell with one head, in turn: a loop meets every head under some sampler and backend.

    Every other sampler of a loop, with its backends in turn, is always tried; the rest are long.
    """
    cells = list(product(LOOPS, SAMPLERS, ("dense", "streamed")))
    for number, (loop, sampler, backend) in enumerate(cells):
        turn = number + number // (2 * len(SAMPLERS))
        head = [*HEADS][turn % len(HEADS)]
        if (sampler, backend) == FAST[:2]:
            head = FAST[2]
        if head == "learned" and sampler.startswith("queue"):
            head = FAST[2]  # the reference has no two weights for a head's parameters
        row, (column, side) = number // (2 * len(SAMPLERS)), divmod(number % (2 * len(SAMPLERS)), 2)
        is_always = (row + column) % 2 == 0 and (row + column // 2) % 2 == side
        marks = [] if (sampler, backend, head) == FAST else [pytest.mark.slow]
        marks += [] if is_always or not marks else [pytest.mark.long]
        yield pytest.param(loop, sampler, backend, head, marks=marks)


@pytest.mark.parametrize(("loop", "sampler", "backend", "head"), [*cases()])
def test_a_loop_is_plain_torchs(loop, sampler, backend, head):
    mine, plain = pair(head, sampler, backend)
    for trainer in (mine, plain):
        LOOPS[loop](trainer, batches())
    assert_same(mine, plain)
