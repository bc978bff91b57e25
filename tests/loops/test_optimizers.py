"""Other optimisers on a classifier's parameters, instead of `CentersSGD` or beside it."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch

from frcore.errors import UserError
from frcore.optimizer import CentersSGD
from tests.loops.loops import LOOPS
from tests.loops.trainers import (
    RATES,
    assert_same,
    batches,
    make_classifier,
    make_plain,
    trainer,
)

OTHERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.05, foreach=True),
    "sgd": lambda p: torch.optim.SGD(p, **RATES),
    "sgd foreach": lambda p: torch.optim.SGD(p, **RATES, foreach=True),
    "sgd without decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=2),
}
FEW = ["f b f b", "scaled and clipped"]


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(
    "sampler", ["full", pytest.param("sparse", marks=pytest.mark.long), "dense"]
)
@pytest.mark.parametrize("backend", ["dense", "streamed"])
@pytest.mark.parametrize("name", OTHERS)
def test_another_optimiser_is_plain_torchs(name, backend, sampler, beside):
    """It moves every row, whatever the sampler: that is what such an optimiser does."""
    for loop in FEW[:1] if name == "lbfgs" else FEW:
        made = make_classifier("curricularface", sampler, backend)
        plain = make_plain(made, "curricularface", sampler)
        if beside:
            # AdamW decays the centres before it reads their gradient.
            CentersSGD(made, fused=not name.startswith("adamw"), **RATES)
        runs = [trainer(c, OTHERS[name]([c.centers])) for c in (made, plain)]
        for run in runs:
            LOOPS["closure" if name == "lbfgs" else loop](run, batches())
        assert_same(*runs, tolerance=1e-7)


def test_one_that_moves_before_it_reads_needs_a_gradient_that_is_there():
    made = make_classifier("cosface", "full", "streamed")
    CentersSGD(made, **RATES)
    run = trainer(made, OTHERS["adamw"]([made.centers]))
    with pytest.raises(UserError, match=r"changed between .* and the use .*fused=False"):
        LOOPS["one by one"](run, batches(1))


@pytest.mark.parametrize("name", ["sgd", "sgd without decay", "rmsprop"])
def test_split_centres_are_left_to_their_own_optimiser(name):
    made = make_classifier("cosface", "full", "streamed", center_format="split")
    CentersSGD(made, **RATES)
    run = trainer(made, OTHERS[name]([made.centers]))
    before = made.read_centers().clone()
    with pytest.raises(UserError, match=r"'split' written into a tensor.*CentersSGD moves both"):
        LOOPS["closure"](run, batches(2, dtype=torch.float32))
    assert torch.equal(made.read_centers(), before)


STEALTHY = {
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
    "lbfgs once": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=1),
    "lbfgs with a line search": lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe"),
    "muon": lambda p: torch.optim.Muon(p, lr=0.1),
    "by hand": lambda p: ByHand(p, {}),
}
ONE_HALF = r"the high halves alone were written to.*load a checkpoint"


class ByHand(torch.optim.Optimizer):
    """Looks at the gradient's sign only."""

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            closure()
        (center_CD,) = self.param_groups[0]["params"]
        center_CD.sub_(torch.where(center_CD.grad.float() > 0, 0.1, -0.1).to(center_CD))


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("use", ["training", "reading", "saving", "CentersSGD"])
@pytest.mark.parametrize("name", STEALTHY)
def test_split_centres_of_which_another_has_moved_a_half(name, use):
    """Such an optimiser is noticed when the centres are used, as by its second evaluation."""
    if name == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    made = make_classifier("cosface", "full", "streamed", center_format="split")
    mine = CentersSGD(made, **RATES)
    (batch,) = batches(1, dtype=torch.float32)
    right = trainer(made, mine)
    LOOPS["one by one"](right, [batch])
    saved = copy.deepcopy(made.state_dict())
    uses = {
        "training": lambda: made(batch[0], batch[1]),
        "reading": made.read_centers,
        "saving": made.state_dict,
        "CentersSGD": mine.step,
    }
    evaluates_again = name in ("lbfgs", "lbfgs with a line search")
    with pytest.raises(UserError, match=ONE_HALF) if evaluates_again else nullcontext():
        LOOPS["closure"](trainer(made, STEALTHY[name]([made.centers])), [batch])
    for _ in range(2):
        with pytest.raises(UserError, match=ONE_HALF):
            uses[use]()
    made.load_state_dict(saved)
    LOOPS["one by one"](right, [batch])
    copied = copy.deepcopy(made)  # its tensors have other counts
    assert torch.equal(copied.read_centers(), made.read_centers())


def test_split_centres_made_in_inference_mode_can_be_read():
    with torch.inference_mode():
        made = make_classifier("cosface", "full", "streamed", center_format="split").eval()
        found = made(*batches(1, dtype=torch.float32)[0]).loss
    assert found.isfinite()
    assert len(made.read_centers()) == len(made.centers)
