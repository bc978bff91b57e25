"""The learning rate, against the formula evaluated by hand."""

import pytest

from frcore.study.parts import Schedule
from frcore.training.schedule import learning_rate_factor


def factors(schedule: Schedule, steps_per_epoch: int, epochs: int) -> list[float]:
    return [
        learning_rate_factor(schedule, step, steps_per_epoch=steps_per_epoch, epochs=epochs)
        for step in range(steps_per_epoch * epochs)
    ]


def test_poly_falls_in_a_straight_line_from_one():
    assert factors(Schedule(), 5, 2) == pytest.approx([1 - k / 10 for k in range(10)])


def test_poly_power():
    got = factors(Schedule(power=2.0), 2, 2)
    assert got == pytest.approx([1, (3 / 4) ** 2, (2 / 4) ** 2, (1 / 4) ** 2])


def test_warmup_ramps_up_then_the_decay_starts_from_one():
    got = factors(Schedule(warmup=2), 2, 4)
    assert got[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert got[4:] == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_fractional_warmup():
    got = factors(Schedule(warmup=0.5), 3, 2)  # 1.5 steps
    assert got[0] == pytest.approx(1 / 1.5)
    assert got[1] == 1.0
    assert all(0 < value <= 1 for value in got)


def test_step_falls_by_gamma_at_each_milestone():
    schedule = Schedule(kind="step", milestones=(1.0, 2.5), gamma=0.1)
    got = factors(schedule, 2, 4)
    assert got == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_the_first_step_with_warmup_is_not_the_full_rate():
    # insightface's first step runs at the full base rate even with warm-up.
    assert factors(Schedule(warmup=1), 10, 3)[0] == pytest.approx(0.1)
