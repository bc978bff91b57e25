"""What holds for every head, under any sampler, with any parameters and whatever the batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import HEADS
from frcore.heads.base import Head, HeadBatch
from frcore.loss import LossOutput
from tests.contract_cases import KINDS
from tests.heads.drawn import Drawn, problems

LR = 0.01
every_head = pytest.mark.parametrize(
    "head", [pytest.param(h, marks=() if h in KINDS else pytest.mark.slow) for h in HEADS]
)
few = settings(
    deadline=None,
    max_examples=6,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)


def forward(
    classifier: Classifier, x: Tensor, labels: Tensor, dtype: torch.dtype
) -> tuple[LossOutput, Tensor]:
    """Output and embeddings' gradient of a step that also moves the centres."""
    x = x.to(dtype, copy=True).requires_grad_()
    classifier.zero_grad()
    output = classifier(x, labels)
    output.loss.backward()
    with torch.no_grad():
        classifier.centers -= LR * classifier.centers.grad.clamp(-1, 1)
    return output, x.grad


def spy(head: Head) -> tuple[bool, bool]:
    """Whether a head reads the embeddings' norms, and whether a gradient flows into them."""
    cosine_N = torch.linspace(-0.9, 0.9, 40, dtype=torch.float64)

    def result(norm_N: Tensor) -> Tensor:
        own = copy.deepcopy(head)
        batch = HeadBatch(
            cosine_N, norm_N, torch.zeros(40).long(), head.num_classes, lambda s: cosine_N + s
        )
        with torch.no_grad():
            own.update(batch)
        target_N = own.target(cosine_N, batch)
        negative_N1 = own.negative(cosine_N[:, None], target_N[:, None], batch)
        scale = own.scale(batch)
        total = scale * target_N + (scale * negative_N1.squeeze(1)) + own.penalty(batch)
        return total.double().sum()

    reads = bool(result(torch.full((40,), torch.nan, dtype=torch.float64)).isnan())
    norm_N = torch.logspace(-3, 4, 40, dtype=torch.float64).requires_grad_()
    total = result(norm_N)
    if not total.requires_grad:
        return reads, False
    (gradient,) = torch.autograd.grad(total, norm_N, allow_unused=True)
    return reads, gradient is not None and bool(gradient.any())


def assert_finite(drawn: Drawn, output: LossOutput, gradient: Tensor, classifier: Classifier):
    assert torch.isfinite(output.loss)
    assert torch.isfinite(output.row_loss_N).all()
    assert torch.isfinite(classifier.centers.grad).all()
    for parameter in classifier.head.parameters():
        assert torch.isfinite(parameter.grad).all()
    assert gradient.dtype == drawn.dtype
    # A term added for the norms, or a weighted margin, may have any sign; a softmax's loss not.
    assert (output.row_loss_N >= 0).all()


@pytest.mark.slow
@every_head
@few
@given(data=st.data())
def test_finite_reproducible_and_with_all_its_columns(head, data):
    """Two classifiers of one seed; the second one gets the embeddings widened by the caller."""
    drawn = data.draw(problems(head))
    one, other = drawn.classifier(), drawn.classifier()
    for x, labels in drawn.batches:
        output, gradient = forward(one, x, labels, drawn.dtype)
        again, wide_gradient = forward(other, x, labels, drawn.center_dtype)
        assert_finite(drawn, output, gradient, one)
        assert torch.isfinite(wide_gradient).all()
        # float16 ends at 65,504: what is above is infinite there, and only that.
        assert torch.equal(gradient, wide_gradient.to(drawn.dtype))
        assert torch.equal(output.row_loss_N, again.row_loss_N)
        assert torch.equal(one.centers, other.centers)

        active = torch.arange(drawn.num_classes) if one.active is None else one.active
        assert (active.diff() > 0).all()
        assert set(labels.tolist()) <= set(active.tolist())
        outside = torch.ones(drawn.num_classes, dtype=torch.bool)
        outside[active] = False
        assert not one.centers.grad[outside].any()


@pytest.mark.slow
@every_head
@few
@given(data=st.data())
def test_only_the_direction_counts_unless_the_head_reads_norms(head, data):
    """A cosine's gradient is orthogonal to the embedding, and its length is of no account."""
    norms = (1e-3, 1.0, 30.0, 1e4)
    drawn = data.draw(problems(head, norms=norms))
    factor = 2.0 ** data.draw(st.integers(-6, 6))  # so that nothing is rounded
    one, other = drawn.classifier().double(), drawn.classifier().double()
    reads, has_gradient = spy(one.head)
    for x, labels in drawn.batches:
        output, gradient = forward(one, x, labels, torch.float64)
        scaled, scaled_gradient = forward(other, factor * x, labels, torch.float64)
        if not has_gradient:
            radial_N = (gradient * x).sum(1).abs()
            limit_N = 1e-9 * (1 + gradient.norm(dim=1) * x.norm(dim=1))
            # At |cos θ| = 1 the slope is 1e8, and its rounding no longer small.
            at_one_N = output.target_cosine_N.abs() > 1 - 1e-6
            assert ((radial_N <= limit_N) | at_one_N).all()
        if not reads:
            assert torch.equal(output.row_loss_N, scaled.row_loss_N)
            # Up to what a subnormal number loses when it is halved.
            assert_close(gradient, factor * scaled_gradient, rtol=0, atol=1e-300)
            assert torch.equal(one.centers, other.centers)


@pytest.mark.slow
@every_head
@few
@given(data=st.data())
def test_evaluation_changes_no_state(head, data):
    drawn = data.draw(problems(head))
    classifier, (x, labels) = drawn.classifier(), drawn.batches[0]
    for x, labels in drawn.batches[:2]:
        forward(classifier, x, labels, drawn.dtype)
    twin = copy.deepcopy(classifier)
    x, labels = drawn.batches[2]
    with torch.no_grad():
        first = classifier.eval()(x.to(drawn.dtype), labels)
        second = classifier(x.to(drawn.dtype), labels)
    assert torch.equal(first.row_loss_N, second.row_loss_N)
    # Whatever there is of state, also where no state_dict shows it: training goes on as without.
    trained, _ = forward(classifier.train(), x, labels, drawn.dtype)
    expected, _ = forward(twin, x, labels, drawn.dtype)
    assert torch.equal(trained.row_loss_N, expected.row_loss_N)
    assert torch.equal(classifier.centers, twin.centers)


NOTHING_LEFT_OUT = {
    "rate 1": {"name": "partial_fc", "rate": 1.0},
    "no queue": {"name": "broadface", "size": 0},
    "no filter": {"name": "interclass_filter", "threshold": 1.0},
}


def names(sampler: dict[str, Any]) -> set[str]:
    """Of a sampler and all below it."""
    return {sampler["name"]} | (names(sampler["over"]) if "over" in sampler else set())


@pytest.mark.slow
@every_head
@few
@given(data=st.data(), which=st.sampled_from(list(NOTHING_LEFT_OUT)))
def test_samplers_that_leave_nothing_out_change_nothing(head, data, which):
    """Over whatever sampler was drawn, where the one in question can stand over another."""
    drawn = data.draw(problems(head))
    outer = dict(NOTHING_LEFT_OUT[which])
    plain = {"name": "full"}
    if which != "rate 1" and outer["name"] not in names(drawn.sampler):
        plain = drawn.sampler
        outer["over"] = plain
    one, other = drawn.classifier(plain), drawn.classifier(outer)
    for x, labels in drawn.batches:
        a, gradient = forward(one, x, labels, drawn.dtype)
        b, its = forward(other, x, labels, drawn.dtype)
        assert torch.equal(a.row_loss_N, b.row_loss_N)
        assert torch.equal(gradient, its)
        assert torch.equal(one.centers, other.centers)
