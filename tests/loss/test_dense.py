"""The dense backend: digits at both ends of the loss, and equality on random problems."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.heads.base import FixedScaleHead
from frcore.loss import get_backend
from frcore.loss.dense import dense_loss
from frcore.loss.inputs import unit_rows
from frcore.samplers import build_sampler
from tests.slow_heads import slow_head
from tests.slow_reference import SlowClassifier


def one_row(cosine_target, cosine_other, scale):
    """Loss of one row in the plane with two classes at the given cosines."""
    x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    centers = torch.tensor([[c, math.sqrt(1 - c * c)] for c in (cosine_target, cosine_other)])
    head = build_head("normface", num_classes=2, scale=scale)
    return x, dense_loss(x, centers, torch.tensor([0]), head)


def test_a_loss_above_100_is_reported():
    """insightface reports min(loss, 69.08), because it takes −log(max(p, 1e-30))."""
    x, output = one_row(-1.0, 1.0, 64.0)
    assert output.loss.item() == pytest.approx(128.0)
    output.loss.backward()
    assert torch.isfinite(x.grad).all()


def test_a_confident_row_keeps_the_digits_of_one_minus_p():
    """1 − p = e⁻⁸⁰ in float32, where softmax minus one would be 0 (and 2e-9 in double's eyes)."""
    _, output = one_row(1.0, -1.0, 40.0)
    assert output.loss.item() == pytest.approx(math.exp(-80), rel=1e-4)


def test_a_confident_row_has_a_gradient():
    """(1 − p) s sin θ, here with 1 − p = 3.8e-11: nothing in float32 if 1 − p were a difference."""
    theta = 0.6
    x, output = one_row(math.cos(theta), -1.0, 30.0)
    output.loss.backward()
    exact = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    w = torch.tensor([[math.cos(theta), math.sin(theta)], [-1.0, 0.0]], dtype=torch.float64)
    difference = 30 * (F.normalize(exact) @ (w[1] - w[0]))
    F.softplus(difference, threshold=1e9).sum().backward()
    assert 0 < x.grad.abs().max() < 1e-20
    assert_close(x.grad.double(), exact.grad, rtol=1e-4, atol=0)


def test_the_reported_value_is_the_batch_mean_and_the_rows_are_there():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    centers = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 0])
    output = dense_loss(x, centers, labels, build_head("cosface", num_classes=4))
    cosine = F.cosine_similarity(x, centers[labels])
    assert_close(output.target_cosine_N, cosine)
    assert_close(output.loss, output.row_loss_N.mean())
    assert output.scale.item() == 64.0
    for value in (output.row_loss_N, output.target_cosine_N, output.scale):
        assert not value.requires_grad


def test_the_statistic_of_a_float32_batch_is_summed_in_float64():
    """It feeds back into a head's state at every step, so its error would not stay small."""

    class Listener(FixedScaleHead):
        statistics = frozenset({"negative_logsumexp"})

        def update(self, batch):
            self.heard = batch.negative_logsumexp(16.0)

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, generator=generator)
    centers = torch.randn(500, 8, generator=generator)
    head = Listener(500, scale=1.0)
    dense_loss(x, centers, torch.tensor([0, 1, 499]), head)
    cosine = (unit_rows(x) @ unit_rows(centers).T).double()
    for row, label in enumerate([0, 1, 499]):
        others = math.fsum(
            math.exp(16 * c) for k, c in enumerate(cosine[row].tolist()) if k != label
        )
        assert head.heard[row].item() == pytest.approx(math.log(others), rel=1e-13)


def test_scale_keeps_float64():
    """√2 log(C−1) through a float32 would be off by 1e-8 relative in a float64 reference."""
    head = build_head("adacos_fixed", num_classes=1000)
    x = torch.ones(1, 2, dtype=torch.float64)
    output = dense_loss(x, torch.ones(1000, 2, dtype=torch.float64), torch.tensor([3]), head)
    assert output.scale.item() == math.sqrt(2) * math.log(999)
    assert output.loss.item() == pytest.approx(math.log(1000), rel=1e-12)


def test_mean_scale_of_softmax_is_the_mean_norm():
    x = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    output = dense_loss(
        x, torch.ones(3, 2), torch.tensor([0, 1]), build_head("softmax", num_classes=3)
    )
    assert output.scale.item() == pytest.approx(3.0)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), num_classes=st.integers(2, 6), dim=st.integers(2, 4), rows=st.integers(1, 4))
def test_random_problems_match_the_slow_formula(data, num_classes, dim, rows):
    """Shapes, labels, head, sampler and their parameters drawn by hypothesis; two steps."""
    names = ["softmax", "normface", "cosface", "arcface"]
    names += ["adacos", "adacos_fixed"] if num_classes >= 3 else []
    name = data.draw(st.sampled_from(names))
    parameters = {}
    if name in ("normface", "cosface", "arcface"):
        parameters["scale"] = data.draw(st.floats(0.5, 80))
    if name in ("cosface", "arcface"):
        parameters["margin"] = data.draw(st.floats(0, 1))
    if name == "arcface":
        parameters["gradient"] = data.draw(st.sampled_from(["full", "detached"]))
        parameters["beyond_pi"] = data.draw(st.sampled_from(["cos", "linear", "clip"]))
        parameters["easy_margin"] = data.draw(st.booleans())
    rate, size = data.draw(st.floats(0, 1)), data.draw(st.integers(0, 5))
    seed = data.draw(st.integers(0, 2**31))

    sampler = build_sampler("broadface", size=size, over={"name": "partial_fc", "rate": rate})
    fast = Classifier(
        num_classes,
        dim,
        head=build_head(name, num_classes=num_classes, **parameters),
        sampler=sampler,
        seed=seed,
    ).double()
    slow = SlowClassifier(
        fast.centers,
        slow_head(name, num_classes, parameters),
        rate=rate,
        queue_size=size,
        seed=seed,
    )
    # Not the seed of the centres: their first row would be parallel to the first embedding, and
    # at |cos| = 1 the slow formula's arccos has no derivative. One dimension has nothing else.
    generator = torch.Generator().manual_seed(seed + 1)
    for _ in range(2):
        x = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
        x, labels = x.requires_grad_(), torch.randint(num_classes, (rows,), generator=generator)
        output = fast(x, labels)
        fast.centers.grad = None
        output.loss.backward()
        try:
            expected = slow.step(x, labels.tolist())
        except ValueError:  # the slow AdaCos takes the logarithm of an empty sum
            return
        if slow.head.scale_value <= 0:
            return
        assert_close(output.loss.item(), expected.loss, rtol=1e-8, atol=1e-10)
        assert_close(x.grad, expected.embedding_gradient, rtol=1e-6, atol=1e-8)
        # A centre's norm is about 0.01: its gradient is a hundred times the embedding's.
        assert_close(fast.centers.grad, expected.center_gradient, rtol=1e-6, atol=1e-6)


def test_unit_rows_equals_normalize_and_is_quiet_at_zero():
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, 3, dtype=torch.float64)
    mine = torch.autograd.grad((unit_rows(x) * weights).sum(), x)[0]
    theirs = torch.autograd.grad((F.normalize(x) * weights).sum(), x)[0]
    assert_close(unit_rows(x), F.normalize(x), rtol=1e-14, atol=0)
    assert_close(mine, theirs, rtol=1e-12, atol=1e-14)
    for dtype in (torch.float32, torch.float64):
        # Norms that squares in this type underflow, are tiny, or overflow nothing.
        y = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [1e-15, 0.0], [1e15, 0.0]], dtype=dtype)
        y.requires_grad_()
        unit = unit_rows(y)
        unit.sum().backward()
        assert torch.isfinite(unit).all()
        assert torch.isfinite(y.grad).all()
        assert not y.grad[0].any()
        assert_close(unit[2:, 0], torch.ones(2, dtype=dtype))


def test_unknown_backend_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="unknown loss backend 'dens'; did you mean 'dense'"):
        get_backend("dens")
