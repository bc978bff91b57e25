"""The learning rate as a function of the step."""

from __future__ import annotations

from frcore.study.parts import Schedule


def learning_rate_factor(
    schedule: Schedule, step: int, *, steps_per_epoch: int, epochs: int
) -> float:
    """Factor of the base learning rate for the 0-based optimiser step `step`.

    Linear warm-up reaches 1 after `schedule.warmup` epochs; it starts one step above 0, which would
    waste a batch. Then `poly` decays as (1 − progress)^power, with progress measured from the end
    of the warm-up, and `step` by `gamma` at each milestone.

    >>> [learning_rate_factor(Schedule(warmup=1), k, steps_per_epoch=2, epochs=3) for k in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warmup = schedule.warmup * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup if step + 1 < warmup else 1.0
    if schedule.kind == "step":
        epoch = step / steps_per_epoch
        return schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)
    progress = (step - warmup) / (steps_per_epoch * epochs - warmup)
    return (1 - progress) ** schedule.power
