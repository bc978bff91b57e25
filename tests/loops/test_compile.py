"""torch.compile of the backbone, and of backbone and classifier together."""

from __future__ import annotations

import pytest
import torch

from tests.loops.loops import forward_backward_twice
from tests.loops.trainers import assert_same, batches, pair


@pytest.mark.slow
@pytest.mark.parametrize("what", ["backbone", "classifier", "step"])
@pytest.mark.parametrize(
    ("sampler", "backend"), [("full", "dense"), ("sparse", "dense"), ("lazy", "streamed")]
)
def test_a_compiled_step_is_plain_torchs(sampler, backend, what):
    """The graph is captured and run as it is, which needs no C++ compiler."""
    torch._dynamo.reset()
    mine, plain = pair("curricularface", sampler, backend)
    if what == "step":
        compiled = torch.compile(mine.loss, backend="eager")
        mine.loss = compiled
    else:
        setattr(mine, what, torch.compile(getattr(mine, what), backend="eager"))
    for trainer in (mine, plain):
        forward_backward_twice(trainer, batches())
    mine.backbone = getattr(mine.backbone, "_orig_mod", mine.backbone)
    mine.classifier = getattr(mine.classifier, "_orig_mod", mine.classifier)
    assert_same(mine, plain)
