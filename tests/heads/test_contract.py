"""What every registered head must do, under every sampler; a new head is picked up by itself."""

from __future__ import annotations

import io
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import HEADS, build_head
from frcore.samplers import SAMPLERS
from tests.contract_cases import (
    ALL_THERE_IS,
    CASES,
    HEAD_CASES,
    KINDS,
    SAMPLER_CASES,
    batches,
    make_classifier,
    pairs,
    slow_sampler,
)
from tests.slow_heads import SLOW_HEADS, slow_head
from tests.slow_reference import SlowClassifier

CLASSES, DIM, LR = 8, 4, 0.05
pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")


def test_every_component_is_under_contract():
    assert set(HEADS) == set(SLOW_HEADS) == {name for name, _ in HEAD_CASES.values()}
    assert set(SAMPLERS) == {name for name, _ in SAMPLER_CASES.values()}


def opposed(batch, centers):
    """The batch with its second row opposite to its centre: θ ≈ 3, where θ + m > π."""
    x, labels = batch
    x = x.clone()
    direction = torch.tensor([0.15, -0.1, 0.05, 0.0], dtype=x.dtype)
    x[1] = -3 * (centers[labels[1]] / centers[labels[1]].norm() + direction)
    return x, labels


QUEUE = "broadface-7-over-partial_fc"
# AdaCos looks at the columns and BroadFace's rows, and carries what it saw to the next step.
UNDER_EVERY_SAMPLER = list(product(["adacos"], SAMPLER_CASES))


@pytest.mark.fast_cases(16)
@pytest.mark.parametrize(
    ("head", "sampler"),
    pairs(
        [*product(HEAD_CASES, ["full"]), *product(HEADS, [QUEUE]), *UNDER_EVERY_SAMPLER],
        slow=list(product(HEAD_CASES, [QUEUE, ALL_THERE_IS])),
    ),
)
def test_steps_match_the_slow_formula(head, sampler):
    """Value, all gradients, active columns and state, over steps that move centres and head."""
    fast = make_classifier(head, sampler)
    name, parameters = HEAD_CASES[head]
    slow = SlowClassifier(
        fast.centers, slow_head(name, CLASSES, parameters), **slow_sampler(*SAMPLER_CASES[sampler])
    )
    for batch in batches(3):
        x, labels = opposed(batch, slow.centers)
        x.requires_grad_()
        fast.zero_grad()
        output = fast(x, labels)
        output.loss.backward()
        expected = slow.step(x, labels.tolist())

        active = list(range(CLASSES)) if fast.active is None else fast.active.tolist()
        assert active == expected.active
        assert_close(output.loss.item(), expected.loss, rtol=1e-9, atol=1e-11)
        assert_close(output.row_loss_N.tolist(), expected.row_losses, rtol=1e-9, atol=1e-11)
        assert_close(x.grad, expected.embedding_gradient, rtol=1e-8, atol=1e-10)
        assert_close(fast.centers.grad, expected.center_gradient, rtol=1e-8, atol=1e-8)
        for parameter, gradient in expected.head_gradient.items():
            assert_close(fast.head.get_parameter(parameter).grad, gradient, rtol=1e-8, atol=1e-10)
        if hasattr(fast.head, "scale_value"):
            assert_close(float(fast.head.scale_value), slow.head.scale_value, rtol=1e-12, atol=0)

        with torch.no_grad():
            for parameter in fast.parameters():
                parameter -= LR * parameter.grad
        slow.move(expected, LR)


# Heads whose gradient is the derivative of their value.
SMOOTH = [case for case in CASES if HEAD_CASES[case.values[0]][1].get("gradient") != "detached"]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("head", SMOOTH)
def test_gradcheck(head):
    """Finite differences. Evaluation mode: a state that moves would not be differentiated.

    Not for "detached" dialects nor for BroadFace with a queue: there the gradient is, on purpose,
    not that of the reported value; `test_steps_match_the_slow_formula` has their definition.
    """
    classifier = make_classifier(head).eval()
    ((x, labels),) = batches(1)
    x = x / x.norm(dim=1, keepdim=True)  # finite differences need one length scale
    centers = torch.nn.functional.normalize(classifier.centers.detach())
    stops_norm = HEAD_CASES[head][0] == "adaface"  # its quality has no gradient, by definition

    def loss(x, centers):
        x = torch.nn.functional.normalize(x) if stops_norm else x
        return classifier.backend(x, centers, labels, classifier.head).loss

    assert torch.autograd.gradcheck(
        loss, (x.requires_grad_(), centers.requires_grad_()), rtol=1e-5, atol=1e-7
    )


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("head", CASES)
def test_finite_at_and_beyond_cosine_one(head):
    """Rows equal and opposite to their centre, in float32, where a cosine may round beyond 1."""
    classifier = make_classifier(head, num_classes=40, dim=7).float()
    labels = torch.arange(40)
    x = classifier.centers.detach().clone()
    x[20:] *= -1
    x.requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        output = classifier(x, labels)
        output.loss.backward()
    if classifier.head.normalizes_centers:
        assert output.target_cosine_N.abs().max() >= 1  # the case is really there
    assert torch.isfinite(output.loss)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(classifier.centers.grad).all()


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("head", CASES)
def test_zero_embedding_has_a_bounded_gradient(head):
    """A zero vector has no direction: F.normalize would send back a gradient of 1e12."""
    classifier = make_classifier(head).float()
    x = torch.zeros(2, DIM)
    x[1, 0] = 1.0
    x.requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        output = classifier(x, torch.tensor([0, 1]))
        output.loss.backward()
    assert torch.isfinite(output.loss)
    assert x.grad[0].abs().max() < 1e3
    assert x.grad[1].abs().max() > 0
    assert torch.isfinite(classifier.centers.grad).all()


FEWEST_CLASSES = {"adacos": 3, "adacos_fixed": 3}


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize("head", CASES)
def test_two_classes(head):
    name, parameters = HEAD_CASES[head]
    if name in FEWEST_CLASSES:
        with pytest.raises(UserError, match="at least 3 classes"):
            build_head(name, num_classes=2, **parameters)
        return
    classifier = make_classifier(head, num_classes=2)
    x = batches(1, num_classes=2)[0][0].requires_grad_()
    # Also on the way, where a NaN may still be masked: people train with anomaly detection on.
    with torch.autograd.set_detect_anomaly(True):
        output = classifier(x, torch.zeros(4, dtype=torch.long))
        output.loss.backward()
    assert torch.isfinite(output.loss)
    assert output.loss > 0
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(classifier.centers.grad).all()


@pytest.mark.fast_cases(7)
@pytest.mark.parametrize("head", HEADS)
def test_permuting_classes_changes_nothing_else(head):
    order = torch.tensor([3, 7, 0, 5, 1, 2, 6, 4])
    plain, permuted = make_classifier(head), make_classifier(head)
    with torch.no_grad():
        permuted.centers[order] = plain.centers
    for x, labels in batches(2):
        torch.manual_seed(0)  # a head that draws does so from a stream of its own
        a = plain(x, labels)
        torch.manual_seed(1)
        b = permuted(x, order[labels])
        plain.centers.grad = permuted.centers.grad = None
        a.loss.backward()
        b.loss.backward()
        assert_close(b.row_loss_N, a.row_loss_N, rtol=1e-11, atol=1e-13)
        assert_close(permuted.centers.grad[order], plain.centers.grad, rtol=1e-9, atol=1e-11)


def assert_equal_step(one, other, x, labels):
    """Losses and centres' gradients of the next step are the same to the last bit."""
    torch.manual_seed(0)  # whatever is drawn comes from streams of the classifier's own
    a = one(x, labels)
    torch.manual_seed(1)
    b = other(x, labels)
    assert torch.equal(a.row_loss_N, b.row_loss_N)
    assert torch.equal(
        torch.autograd.grad(a.loss, one.centers)[0],
        torch.autograd.grad(b.loss, other.centers)[0],
    )


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("sampler", ["partial_fc-1", "broadface-0"])
@pytest.mark.parametrize("head", HEADS)
def test_samplers_that_leave_nothing_out_are_full(head, sampler):
    full, other = make_classifier(head), make_classifier(head, sampler)
    for x, labels in batches(2):
        assert_equal_step(full, other, x, labels)


# What a head keeps and what a sampler keeps are saved side by side: kinds of heads are enough.
STATES = pairs([*product(KINDS, [QUEUE]), *UNDER_EVERY_SAMPLER], slow=list(product(HEADS, [QUEUE])))


def flat_state(classifier):
    """The state_dict with nested extra states written out, comparable with ==."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return value.tolist()
        return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value

    return {key: plain(value) for key, value in classifier.state_dict().items()}


@pytest.mark.fast_cases(9)
@pytest.mark.parametrize(("head", "sampler"), STATES)
def test_evaluation_changes_no_state_and_uses_all_columns(head, sampler):
    classifier = make_classifier(head, sampler)
    first, second, third = batches(3)
    classifier(*first)
    classifier.eval()
    before = flat_state(classifier)
    loss = classifier(*second).loss
    assert flat_state(classifier) == before
    full = make_classifier(head)
    full.load_state_dict(classifier.state_dict(), strict=False)
    assert_close(full.eval()(*second).loss, loss, rtol=1e-12, atol=0)
    classifier.train()
    classifier(*third)
    stateless = ("full", "partial_fc-1", "broadface-0", "filter-zero", "filter-drop", "filter-all")
    has_state = "head._extra_state" in before or any(True for _ in classifier.head.buffers())
    # Nothing is left for AdaCos to look at under "filter-all".
    if sampler not in stateless or (has_state and (head, sampler) != ("adacos", "filter-all")):
        assert flat_state(classifier) != before


@torch.no_grad()
def move_centers(*classifiers):
    """Far, so that whatever follows from them is other than before."""
    for classifier in classifiers:
        classifier.centers.copy_(classifier.centers.roll(1, 0) + classifier.centers.flip(1))


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(("head", "sampler"), STATES)
def test_resume_continues_identically(head, sampler):
    """Through a file that the restricted unpickler reads, into a classifier of another seed."""
    whole = make_classifier(head, sampler)
    steps = batches(5)
    for x, labels in steps[:3]:
        whole(x, labels)
        move_centers(whole)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = make_classifier(head, sampler, seed=99)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for x, labels in steps[3:]:
        assert_equal_step(whole, resumed, x, labels)
        move_centers(whole, resumed)
    assert flat_state(whole) == flat_state(resumed)


@pytest.mark.fast_cases(11)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("head", HEADS)
def test_two_forwards_before_the_backwards(head, dtype):
    """A state that is updated in place must not be part of the first graph."""
    classifier = make_classifier(head, "broadface-7").to(dtype)
    first, second, third = batches(3)
    classifier(*first)  # fills the queue
    a = classifier(*second).loss
    b = classifier(*third).loss
    b.backward()
    a.backward()
    assert torch.isfinite(classifier.centers.grad).all()


@pytest.mark.fast_cases(9)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", HEADS)
def test_half_precision_embeddings(head, dtype):
    """They are widened: the loss is that of the same numbers in float32, gradients are finite."""
    classifier = make_classifier(head).float()
    x, labels = batches(1)[0]
    x = x.to(dtype).requires_grad_()
    output = classifier(x, labels)
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert x.grad.dtype == dtype
    assert torch.isfinite(x.grad).all()
    again = make_classifier(head).float()
    assert_close(again(x.detach().float(), labels).loss, output.loss)


@pytest.mark.parametrize("head", HEADS)
def test_autocast_does_not_reach_the_cosines(head):
    """A cosine in bfloat16 has 2 to 3 digits; times 64 that is an error of 0.25 in the logit."""
    x, labels = batches(1)[0]
    plain = make_classifier(head).float()(x, labels).row_loss_N
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = make_classifier(head).float()(x, labels).row_loss_N
    assert torch.equal(plain, mixed)


@pytest.mark.parametrize("head", CASES)
def test_a_batch_of_one(head):
    classifier = make_classifier(head)
    x = torch.ones(1, DIM, dtype=torch.float64, requires_grad=True)
    output = classifier(x, torch.tensor([2]))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert torch.isfinite(x.grad).all()
    assert output.row_loss_N.shape == (1,)


@pytest.mark.parametrize("head", HEADS)
def test_a_custom_place_is_the_same_head(head):
    """`package.module:Class` builds what the name builds."""
    name, parameters = HEAD_CASES[head]
    by_place = build_head(HEADS[name], num_classes=CLASSES, **parameters)
    assert type(by_place) is type(build_head(name, num_classes=CLASSES, **parameters))
    Classifier(CLASSES, DIM, head=by_place)(torch.ones(1, DIM), torch.tensor([0]))
