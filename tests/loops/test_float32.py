"""Loops in float32: the fused kernels in Triton's interpreter, split centres, autocast."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.loops.loops import LOOPS
from tests.loops.trainers import assert_same, batches, pair

BACKENDS = ["dense", "streamed", "triton"]
WITHOUT_MOMENTUM = {"lr": 0.1, "momentum": 0.0, "weight_decay": 1e-2}
FEW = [
    "f f b b reversed",
    "sum",
    "dropped, parent fills",
    "scaled and clipped",
    "by rows",
    "weighted",
    "twice backward",
]
OTHERS = ["hooked", "copied between", "pickled", "single rows", "clipped sum", "eval with gradient"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["lazy"])
@pytest.mark.parametrize("loop", [*FEW, *OTHERS])
def test_the_kernels_in_a_loop(loop, sampler):
    mine, plain = pair("curricularface", sampler, "triton", dtype=torch.float32)
    for trainer in (mine, plain):
        LOOPS[loop](trainer, batches(6 if loop not in ("pickled",) else 8, dtype=torch.float32))
    assert_same(mine, plain, tolerance=2e-4)


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("backend", ["streamed", "triton"])
@pytest.mark.parametrize("sampler", ["full", "queue lazy"])
@pytest.mark.parametrize("loop", [*FEW[:-1], "watched", "copied after", "by assignment", "hooked"])
def test_split_centres_in_a_loop(loop, sampler, backend):
    """Without momentum, which would be rounded at random."""
    mine, plain = pair("cosface", sampler, backend, center_format="split", rates=WITHOUT_MOMENTUM)
    for trainer in (mine, plain):
        # Weights of up to 2 make larger steps, in which a rounding grows faster.
        LOOPS[loop](trainer, batches(2 if loop == "weighted" else 8, dtype=torch.float32))
    # A difference of 1e-7 may round a high half up instead of down.
    assert_same(mine, plain, tolerance=4e-3)


def run_in(autocast, trainer, *, backward, optimizer=None):
    for batch in batches(6, dtype=torch.float32):
        trainer.zero_grad()
        x_ND = trainer.backbone(batch[0])  # the backbone outside: only the last layer is compared
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = trainer.classifier(x_ND, batch[1]).loss
            if backward:
                loss.backward()
                nn.utils.clip_grad_norm_(trainer.model.parameters(), 0.1)
                trainer.step()
        if not backward:
            loss.backward()
            trainer.step()
    return trainer.classifier.read_centers()


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("sampler", ["full", "sparse"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_inside_autocast_is_one_outside(backend, sampler, backward):
    inside, outside = (
        run_in(
            autocast,
            pair("curricularface", sampler, backend, dtype=torch.float32)[0],
            backward=backward,
        )
        for autocast in (True, False)
    )
    if not backward:
        assert torch.equal(inside, outside)
    # With the backward pass inside, torch computes the backbone's in bfloat16, from the second
    # step on.
    assert_close(inside, outside, rtol=0, atol=2e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fused", [True, False])
def test_a_backward_pass_inside_autocast_has_the_same_gradients(backend, fused):
    results = []
    for autocast in (True, False):
        mine, _ = pair("curricularface", "full", backend, fused=fused, dtype=torch.float32)
        x, label_N = batches(1, dtype=torch.float32)[0]
        x.requires_grad_()
        loss = mine.classifier(x, label_N).loss
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss.backward()
            results.append([x.grad, mine.classifier.centers.grad.clone() + 0.0])
    for inside, outside in zip(*results, strict=True):
        assert_close(inside, outside, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", ["dense", "streamed"])
def test_embeddings_of_autocast_are_taken_in(backend):
    """A backbone in bfloat16: the classifier computes in its own type."""
    mine, _ = pair("cosface", "sparse", backend, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = mine.output(batches(1, dtype=torch.float32)[0])
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in mine.backbone.parameters())
