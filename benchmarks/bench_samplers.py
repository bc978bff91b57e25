"""What each sampler costs: `pytest benchmarks/bench_samplers.py --benchmark-group-by=group`.

The timer holds one training step of the last layer on one core, as `frcore measure` defines it:
sampler, cosines, head, loss, backward, optimiser of the centres. 10,000 identities, D = 128,
batch 64. The overhead of a sampler is its median over that of `full`, in one run.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from frcore.measurement.steps import TrainingStep
from frcore.study.data import Image
from frcore.study.expansion import MeasurementSpec
from frcore.study.parts import Component, Measurement

IDENTITIES = 10_000
SAMPLERS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "filter": {"name": "interclass_filter"},
    **{
        f"partial_fc 0.1 {update}": {"name": "partial_fc", "rate": 0.1, "update": update}
        for update in ("sparse", "lazy", "dense")
    },
    "partial_fc 0.1 hard": {"name": "partial_fc", "rate": 0.1, "negatives": "hard"},
    "broadface 512": {"name": "broadface", "size": 512},
    "broadface 2048": {"name": "broadface", "size": 2048},
    "broadface 2048 over partial_fc 0.1": {
        "name": "broadface",
        "size": 2048,
        "over": {"name": "partial_fc", "rate": 0.1},
    },
}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.benchmark(group="samplers")
def test_step(benchmark: Any, sampler: str) -> None:
    torch.set_num_threads(1)
    spec = MeasurementSpec(
        image=Image(size=40, alignment="synthetic"),
        head=Component(name="cosface"),
        sampler=Component(**SAMPLERS[sampler]),
        measurement=Measurement(identities=(IDENTITIES,), batch_size=64, dim=128, backend="auto"),
    )
    step = TrainingStep(spec, IDENTITIES)
    benchmark.pedantic(step, rounds=15, warmup_rounds=2)
