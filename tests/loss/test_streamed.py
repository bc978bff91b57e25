"""The loss in tiles against `dense`, and the centres moved tile by tile against torch's SGD."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads.base import Head
from frcore.loss import get_backend
from frcore.loss.dense import dense_loss
from frcore.loss.streamed import streamed_loss
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler
from tests.contract_cases import (
    ALL_THERE_IS,
    HEAD_CASES,
    KINDS,
    SAMPLER_CASES,
    batches,
    make_classifier,
    pairs,
)

MOST = ("full", "filter-drop", ALL_THERE_IS)
# What a backend sees of a head is its kind; how a head computes is the same code in both backends.
PAIRS = pairs(
    [*product(KINDS, MOST), *product(["adacos"], SAMPLER_CASES)],
    slow=list(product(HEAD_CASES, MOST)),
)


def one_step(classifier, x, labels):
    """Loss of each row, and the gradients of embeddings, centres and the head's parameters."""
    x = x.clone().requires_grad_()
    classifier.zero_grad()
    output = classifier(x, labels)
    output.loss.backward()
    parameters = [p.grad for p in classifier.head.parameters()]
    return [output.loss.detach(), output.row_loss_N, x.grad, classifier.centers.grad, *parameters]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(("head", "sampler"), PAIRS)
def test_values_gradients_and_state_are_those_of_dense(head, sampler):
    """Over steps that move the centres, with a tile that ends inside the table."""
    dense = make_classifier(head, sampler)
    streamed = make_classifier(head, sampler, backend="streamed", tile=3)
    for x, labels in batches(3):
        for ours, theirs in zip(
            one_step(streamed, x, labels), one_step(dense, x, labels), strict=True
        ):
            assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
        with torch.no_grad():
            for classifier in (dense, streamed):
                classifier.centers -= 0.05 * classifier.centers.grad
    for (name, ours), theirs in zip(
        streamed.head.state_dict().items(), dense.head.state_dict().values(), strict=True
    ):
        if isinstance(ours, torch.Tensor):
            assert_close(ours, theirs, rtol=1e-11, atol=1e-13, msg=name)


@pytest.mark.fast_cases(7)
@pytest.mark.parametrize("tile", [1, 2, 8, 9999])
@pytest.mark.parametrize("head", ["softmax", "curricularface", "sphereface2"])
def test_any_tile_is_the_same(head, tile):
    reference = make_classifier(head, "filter-zero", backend="streamed", tile=5)
    other = make_classifier(head, "filter-zero", backend="streamed", tile=tile)
    (x, labels), *_ = batches(1)
    for ours, theirs in zip(
        one_step(other, x, labels), one_step(reference, x, labels), strict=True
    ):
        assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


class Coupled(Head):
    """A user's head whose rule depends smoothly on everything that it may depend on."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.slope = torch.nn.Parameter(torch.tensor(1.3, dtype=torch.float64))
        self.temperature = torch.nn.Parameter(torch.tensor(7.0, dtype=torch.float64))

    def target(self, cosine_N, batch):
        return cosine_N - 0.1 * self.slope * batch.norm_N / (1 + batch.norm_N)

    def negative(self, cosine_NC, target_N1, batch):
        lift_NC = torch.sigmoid(7 * self.slope * (cosine_NC - target_N1))
        norm_N1, own_N1 = batch.norm_N[:, None], batch.cosine_N[:, None]
        return cosine_NC + 0.1 * lift_NC * (1 + own_N1.square()) / (1 + norm_N1)

    def scale(self, batch):
        return self.temperature + batch.norm_N.sqrt()

    def penalty(self, batch):
        return 0.01 * batch.norm_N


class CoupledBinary(Coupled):
    reduction = "softplus_sum"


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("head", [Coupled, CoupledBinary])
@pytest.mark.parametrize("sampler", SAMPLER_CASES)
def test_a_users_head_is_differentiated_through_everything(head, sampler):
    name, parameters = SAMPLER_CASES[sampler]
    pair = [
        Classifier(
            8, 4, head=head(8), sampler=build_sampler(name, **parameters), backend=backend
        ).double()
        for backend in ("dense", "streamed")
    ]
    for x, labels in batches(3):
        results = [one_step(classifier, x, labels) for classifier in pair]
        for ours, theirs in zip(*results, strict=True):
            assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
        # The head's parameters have a gradient, unless no other column is left.
        assert results[1][-1].abs() > 0 or sampler == "filter-all"


@pytest.mark.parametrize("backend", [dense_loss, streamed_loss])
def test_gradcheck_of_the_streamed_rule(backend):
    (x, labels), *_ = batches(1)
    x = torch.nn.functional.normalize(x).requires_grad_()
    centers = torch.nn.functional.normalize(
        torch.randn(8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).requires_grad_()
    head = Coupled(8).eval()
    assert torch.autograd.gradcheck(
        lambda x, w: backend(x, w, labels, head).loss, (x, centers), rtol=1e-5, atol=1e-7
    )


MOVED_SAMPLERS = {
    **{name: SAMPLER_CASES[name] for name in MOST},
    **{
        f"partial_fc-{update}": ("partial_fc", {"rate": 0.6, "update": update})
        for update in ("sparse", "lazy", "dense")
    },
}


MOVED_HEADS = ("softmax", "arcface", "adacos", "curricularface", "uniface")
MOVED_FAST = [
    *product(["curricularface"], MOVED_SAMPLERS, [0.9]),
    *product(MOVED_HEADS, [ALL_THERE_IS], [0.9]),
    ("softmax", "partial_fc-sparse", 0.0),
]
MOVED = [
    pytest.param(*case, marks=() if case in MOVED_FAST else pytest.mark.grid)
    for case in product(MOVED_HEADS, MOVED_SAMPLERS, [0.9, 0.0])
]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(("head", "sampler", "momentum"), MOVED)
def test_moving_tile_by_tile_is_the_same_optimiser(head, sampler, momentum):
    """25 steps; no (C, D) gradient exists."""
    name, parameters = MOVED_SAMPLERS[sampler]
    pair = []
    for backend in ("dense", "streamed"):
        classifier = Classifier(
            8,
            4,
            head=make_classifier(head).head,
            sampler=build_sampler(name, **parameters),
            backend=backend,
        ).double()
        sgd = CentersSGD(classifier, lr=0.1, momentum=momentum, weight_decay=5e-3)
        pair.append((classifier, sgd))
    for x, labels in batches(25):
        for classifier, sgd in pair:
            sgd.zero_grad()
            classifier(x, labels).loss.backward()
            sgd.step()
        assert pair[1][0].centers.grad.spent
    for classifier, _ in pair:
        classifier.synchronize()
    assert_close(pair[1][0].centers, pair[0][0].centers, rtol=1e-8, atol=1e-10)


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("head", ["cosface", "curricularface", "uniface"])
@pytest.mark.parametrize("sampler", ["full", "partial_fc-.6"])
def test_accumulated_batches(head, sampler):
    """Deferred gradients of several batches add up, also where their columns differ.

    CurricularFace's t moves between the batches; what was deferred keeps the t of its own.
    """
    pair = [make_classifier(head, sampler, backend=b) for b in ("dense", "streamed")]
    sgds = [CentersSGD(classifier, lr=0.1) for classifier in pair]
    for first, second in zip(batches(6)[::2], batches(6)[1::2], strict=True):
        for classifier, sgd in zip(pair, sgds, strict=True):
            sgd.zero_grad()
            for x, labels in (first, second):
                classifier(x, labels).loss.backward()
            sgd.step()
        assert_close(pair[1].centers, pair[0].centers, rtol=1e-9, atol=1e-11)


def test_parameters_of_the_head_may_move_before_the_centres():
    pair = [make_classifier("uniface", backend=b) for b in ("dense", "streamed")]
    sgds = [CentersSGD(classifier, lr=0.1) for classifier in pair]
    (x, labels), *_ = batches(1)
    for classifier, sgd in zip(pair, sgds, strict=True):
        classifier(x, labels).loss.backward()
        with torch.no_grad():
            classifier.head.bias += 1.0
        sgd.step()
    assert_close(pair[1].centers, pair[0].centers, rtol=1e-9, atol=1e-11)


def test_zero_grad_forgets_what_was_deferred():
    classifier = make_classifier("cosface", backend="streamed")
    sgd = CentersSGD(classifier, lr=0.1)
    before = classifier.centers.detach().clone()
    (x, labels), *_ = batches(1)
    classifier(x, labels).loss.backward()
    sgd.zero_grad()
    sgd.step()
    assert torch.equal(classifier.centers, before)


def test_unfused_leaves_a_gradient():
    classifier = make_classifier("cosface", backend="streamed")
    CentersSGD(classifier, lr=0.1, fused=False)
    (x, labels), *_ = batches(1)
    classifier(x, labels).loss.backward()
    assert classifier.centers.grad.abs().sum() > 0


@pytest.mark.parametrize("head", KINDS)
def test_float32_is_close_to_float64(head):
    """Scale 64, 300 classes, cosines of every size: 1e-5 of the largest gradient."""
    classes, dim = 300, 16
    results = []
    for dtype, backend in ((torch.float64, "dense"), (torch.float32, "streamed")):
        classifier = make_classifier(head, num_classes=classes, dim=dim, backend=backend).to(dtype)
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(32, dim, generator=generator, dtype=torch.float64)
        labels = torch.randint(classes, (32,), generator=generator)
        x += 2 * torch.nn.functional.normalize(classifier.centers.detach().double()[labels])
        x *= torch.linspace(0.5, 30, 32, dtype=torch.float64)[:, None]
        results.append(one_step(classifier, x.to(dtype), labels))
    for expected, ours in zip(*results, strict=True):
        assert (ours.double() - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("head", KINDS)
@pytest.mark.parametrize("sampler", ["full", "broadface-7-over-partial_fc"])
def test_operands_in_bfloat16(head, sampler):
    """At D = 512, against a loss in float64: 5e-3 of the gradients' norm."""
    classes, dim, rows = 200, 512, 16
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, rows, dim, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (2, rows), generator=generator)
    results = []
    for dtype, backend in ((torch.float64, "dense"), (torch.float32, "streamed")):
        classifier = make_classifier(
            head, sampler, num_classes=classes, dim=dim, backend=backend
        ).to(dtype)
        classifier.precision = "bf16" if backend == "streamed" else None
        for x, y in zip(noise, labels, strict=True):
            own = torch.nn.functional.normalize(classifier.centers.detach().double()[y])
            results.append(one_step(classifier, (x + 10 * own).to(dtype), y))
    expected, ours = results[1], results[3]
    for exact, found in zip(expected, ours, strict=True):
        assert (found.double() - exact).norm() <= 5e-3 * exact.norm()
    assert (ours[2].double() - expected[2]).norm() > 1e-5 * expected[2].norm()


def test_dense_refuses_bfloat16():
    classifier = make_classifier("cosface")
    classifier.precision = "bf16"
    with pytest.raises(UserError, match="'dense' with precision 'bf16'"):
        classifier(*batches(1)[0])


def test_evaluation_and_no_grad():
    classifier = make_classifier("arcface", backend="streamed").eval()
    (x, labels), *_ = batches(1)
    with torch.no_grad():
        loss = classifier(x, labels).loss
    assert_close(loss, make_classifier("arcface").eval()(x, labels).loss.detach())
    assert get_backend("streamed") is streamed_loss
