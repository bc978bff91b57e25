"""SphereFace2 and UniFace against their authors' formulas, and the bias that they train."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.samplers import build_sampler

CLASSES, DIM = 12, 5


def make(head: str, sampler: str = "full", classes: int = CLASSES, **parameters) -> Classifier:
    rate = {"rate": 0.5} if sampler == "partial_fc" else {}
    rate |= {"size": 3, "compensate": False} if sampler == "broadface" else {}
    built = build_head(head, num_classes=classes, **parameters)
    return Classifier(
        classes, DIM, head=built, sampler=build_sampler(sampler, **rate), seed=3
    ).double()


def batch(seed: int, rows: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 3 * torch.randn(rows, DIM, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (rows,), generator=generator)


def sphereface2(x, w, y, b, *, kind, alpha=0.7, r=40.0, m=0.4, t=3.0, lw=50.0):
    """opensphere: binary cross entropy of the whole matrix, g and margin without gradient."""
    cosine = F.normalize(x) @ F.normalize(w).T
    own = F.one_hot(y, len(w)).double()
    with torch.no_grad():
        if kind == "C":
            g = 2 * ((cosine + 1) / 2) ** t - 1 - m * (2 * own - 1)
        else:
            theta = (cosine.clamp(-1, 1).arccos() + m * own).clamp_max(math.pi)
            g = 2 * ((theta.cos() + 1) / 2) ** t - 1
        change = g - cosine
    weight = lw * len(w) / r * (alpha * own + (1 - alpha) * (1 - own))
    z = r * (cosine + change) + b
    return F.binary_cross_entropy_with_logits(z, own, weight=weight)


def uniface(x, w, y, b, *, m=0.4, s=64.0, weight=1.0):
    """The authors' head.py."""
    cosine = F.normalize(x) @ F.normalize(w).T
    positive = (s * (cosine - m) - b).clamp(-s, s)
    negative = (s * cosine - b).clamp(-s, s)
    own = F.one_hot(y, len(w)).bool()
    loss = torch.where(own, (1 + (-positive).exp()).log(), (1 + negative.exp()).log() * weight)
    return loss.sum(1).mean()


AUTHORS = {
    "C": ("sphereface2", {"gradient": "detached"}, sphereface2, {"kind": "C"}),
    "C-ms1m": (
        "sphereface2",
        {"gradient": "detached", "balance": 0.8, "scale": 64.0, "margin": 0.5},
        sphereface2,
        {"kind": "C", "alpha": 0.8, "r": 64.0, "m": 0.5},
    ),
    "A": (
        "sphereface2",
        {"variant": "A", "gradient": "detached", "margin": 0.5, "loss_weight": 10.0},
        sphereface2,
        {"kind": "A", "m": 0.5, "lw": 10.0},
    ),
    "uniface": ("uniface", {"clamp": True}, uniface, {}),
    "uniface-mb": (
        "uniface",
        {"clamp": True, "negative_weight": 0.7, "margin": 0.45},
        uniface,
        {"weight": 0.7, "m": 0.45},
    ),
}


@pytest.mark.parametrize("case", AUTHORS)
@pytest.mark.parametrize("sampler", ["full", "partial_fc"])
def test_value_and_gradients_are_the_authors(case, sampler):
    """Under a sampler: their formula over the active columns, and nothing of the others."""
    name, parameters, formula, theirs = AUTHORS[case]
    classifier = make(name, sampler, **parameters)
    x, y = batch(0)
    x[1] = -classifier.centers[y[1]].detach() + 0.001  # beyond π − m, and clamped
    x.requires_grad_()
    output = classifier(x, y)
    output.loss.backward()

    active = torch.arange(CLASSES) if classifier.active is None else classifier.active
    assert len(active) == (CLASSES if sampler == "full" else CLASSES // 2)
    w = classifier.centers.detach().clone().requires_grad_()
    b = classifier.head.bias.detach().clone().requires_grad_()
    v = x.detach().clone().requires_grad_()
    loss = formula(v, w[active], torch.searchsorted(active, y), b, **theirs)
    loss.backward()
    assert_close(output.loss, loss, rtol=1e-11, atol=0)
    assert_close(x.grad, v.grad, rtol=1e-9, atol=1e-12)
    assert_close(classifier.centers.grad, w.grad, rtol=1e-9, atol=1e-12)
    assert_close(classifier.head.bias.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_hand_computed():
    """C = 3, one embedding on its centre, the others at right angles."""
    w = torch.eye(3, DIM, dtype=torch.float64)
    x = torch.zeros(1, DIM, dtype=torch.float64)
    x[0, 0] = 2.0  # cosines 1, 0, 0

    two = make("sphereface2", classes=3, scale=2.0, margin=0.25, exponent=2.0, loss_weight=6.0)
    one = make("uniface", classes=3, scale=4.0, margin=0.5, negative_weight=0.5)
    for classifier in (two, one):
        with torch.no_grad():
            classifier.centers.copy_(w)
            classifier.head.bias.fill_(0.5)
    # g(1) = 1, g(0) = −1/2: z_y = 2 (1 − 1/4) + 1/2 = 2, z_k = 2 (−1/2 + 1/4) + 1/2 = 0
    expected = 6 / 2 * (0.7 * math.log(1 + math.exp(-2)) + 0.3 * 2 * math.log(2))
    assert two(x, torch.tensor([0])).loss.item() == pytest.approx(expected, rel=1e-12)
    # z_y = 4 (1 − 1/2) − 1/2 = 3/2, z_k = −1/2
    expected = math.log(1 + math.exp(-1.5)) + 0.5 * 2 * math.log(1 + math.exp(-0.5))
    assert one(x, torch.tensor([0])).loss.item() == pytest.approx(expected, rel=1e-12)


def at_right_angles(classes: int, rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, centres and labels with every cosine 0: (rows, DIM), (C, DIM), (rows,)."""
    x = torch.zeros(rows, DIM, dtype=torch.float64)
    x[:, 0] = 1.0
    w = torch.zeros(classes, DIM, dtype=torch.float64)
    w[:, 1] = 1.0
    return x, w, torch.arange(rows) % classes


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("classes", [2, 3, 4, 10, 1000])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"variant": "A", "margin": 0.5},
        {"scale": 64.0, "margin": 0.5, "balance": 0.8},
        {"margin": 0.0},
        {"exponent": 1.0, "balance": 0.5},
    ],
)
def test_the_first_bias_is_the_best_one_before_training(classes, parameters):
    """dL/db = 0 with every angle at 90°: pulls cancel, and no other bias has a smaller loss."""
    classifier = make("sphereface2", classes=classes, **parameters)
    head = classifier.head
    x, w, y = at_right_angles(classes)

    def loss(value: float) -> Tensor:
        with torch.no_grad():
            head.bias.fill_(value)
        return classifier.backend(x, w, y, head).loss

    start = head.bias.item()
    found = minimize_scalar(lambda value: loss(value).item(), bounds=(start - 3, start + 4))
    assert loss(start).item() <= found.fun * (1 + 1e-12)
    (gradient,) = torch.autograd.grad(loss(start), head.bias)
    zero = torch.zeros(1, dtype=torch.float64)
    own = head.row_loss(head.scale_value * head.target(zero, None), zero).sum()
    (pull,) = torch.autograd.grad(own, head.bias)
    assert pull < 0
    assert abs(gradient) < 1e-5 * abs(pull)  # a float32 bias has 6 to 7 digits


def test_the_first_bias_is_opensphere_s():
    """Their closed form at the sizes where floating point lets it live."""
    for classes, r, m, alpha in [(10_572, 40.0, 0.4, 0.7), (85_742, 64.0, 0.5, 0.8)]:
        z = alpha / ((1 - alpha) * (classes - 1))
        own, other = r * (0.25 - 1 - m), r * (0.25 - 1 + m)
        root = math.sqrt((1 - z) ** 2 + 4 * z * math.exp(own - other))
        theirs = math.log(2 * z) - other - math.log(1 - z + root)
        head = build_head("sphereface2", num_classes=classes, scale=r, margin=m, balance=alpha)
        assert head.bias.item() == pytest.approx(theirs, rel=1e-6)


def test_a_bias_for_the_whole_range_of_parameters():
    head = build_head("sphereface2", num_classes=2, scale=500.0, margin=1.0, balance=0.999)
    assert head.bias.isfinite()
    with pytest.raises(UserError, match="500"):
        build_head("sphereface2", num_classes=2, scale=501.0)


@pytest.mark.parametrize("rate", [1.0, 0.4])
def test_uniface_starts_with_one_false_alarm_in_ten(rate):
    """At 90° the rate · C columns have the probability 0.1 together."""
    classes = 100_000
    head = build_head("uniface", num_classes=classes, bias_rate=rate)
    z = head.scale_value * head.negative(torch.zeros(1, 1), torch.zeros(1, 1), None)
    assert rate * classes * z.sigmoid().item() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("head", ["sphereface2", "uniface"])
def test_columns_that_are_not_active_count_nothing(head):
    x, y = batch(1, rows=3)
    plain = make(head, "partial_fc")
    plain(x, y)
    active = torch.zeros(CLASSES, dtype=torch.bool)
    active[plain.active] = True
    assert active.sum() == CLASSES // 2

    def loss_with_moved(moved: Tensor) -> Tensor:
        classifier = make(head, "partial_fc")  # of the same seed, so it draws the same columns
        with torch.no_grad():
            classifier.centers[moved] = classifier.centers[y[0]] + 0.001
        loss = classifier(x, y).loss
        assert torch.equal(classifier.active, plain.active)
        return loss.detach()

    alone = loss_with_moved(torch.zeros_like(active))
    assert torch.equal(loss_with_moved(~active), alone)
    active[y] = False
    assert abs(loss_with_moved(active) - alone) > 0.1


@pytest.mark.parametrize("head", ["sphereface2", "uniface"])
def test_a_queue_moves_centres_and_bias_but_not_the_embeddings(head):
    """The bias belongs to the last layer: its gradient is the mean over batch and queue."""
    classifier = make(head, "broadface")
    (past, past_y), (x, y) = batch(2, rows=3), batch(3, rows=4)
    classifier(past, past_y)
    x.requires_grad_()
    classifier(x, y).loss.backward()

    plain = make(head)
    plain.load_state_dict(classifier.state_dict(), strict=False)
    v = x.detach().clone().requires_grad_()
    both = plain(torch.cat([v, past]), torch.cat([y, past_y])).loss
    bias, centers = torch.autograd.grad(both, [plain.head.bias, plain.centers])
    assert_close(classifier.head.bias.grad, bias, rtol=1e-9, atol=0)
    assert_close(classifier.centers.grad, centers, rtol=1e-9, atol=1e-12)
    alone = plain(v, y).loss
    rows, without = torch.autograd.grad(alone, [v, plain.head.bias])
    assert_close(x.grad, rows, rtol=1e-9, atol=1e-12)
    assert abs(without / bias - 1) > 0.01  # the queue is felt


@pytest.mark.parametrize("head", ["sphereface2", "uniface"])
@pytest.mark.parametrize("bias", [-1e4, 1e4])
def test_extreme_logits_neither_overflow_nor_stop_teaching(head, bias):
    """float32, |z| ≈ 10 000, where exp(z) is infinite."""
    classifier = make(head).float()
    with torch.no_grad():
        classifier.head.bias.fill_(bias)
    x, y = batch(4)
    x = x.float().requires_grad_()
    output = classifier(x, y)
    output.loss.backward()
    assert output.loss.isfinite()
    assert output.loss > 1e3  # linear in the logit
    for gradient in (x.grad, classifier.centers.grad, classifier.head.bias.grad):
        assert gradient.isfinite().all()
    # The bias is pushed back, towards 0.
    assert classifier.head.bias.grad.sign() == math.copysign(1, bias)
    assert x.grad.any()


def test_clamped_logits_teach_nothing():
    """What UniFace's code does beyond |z| = s; the formula goes on."""
    x, _ = batch(5, rows=1)
    y = torch.tensor([0])
    for clamp in (True, False):
        classifier = make("uniface", clamp=clamp)
        with torch.no_grad():
            classifier.centers[0] = -x[0]
        v = x.clone().requires_grad_()
        target = classifier.head.target(F.cosine_similarity(v, classifier.centers[y]), None)
        classifier.head.row_loss(64 * target, torch.zeros(1)).backward()
        assert bool(classifier.head.bias.grad) is not clamp


@pytest.mark.parametrize("head", ["sphereface2", "uniface"])
def test_diagnostics_are_a_copy_of_the_bias(head):
    classifier = make(head)
    told = classifier.head.diagnostics()
    assert list(told) == ["bias"]
    assert not told["bias"].requires_grad
    before = told["bias"].item()
    assert before == classifier.head.bias.item()
    with torch.no_grad():
        classifier.head.bias += 1
    assert told["bias"].item() == before


def test_sphereface2_has_nothing_to_balance_with_one_class():
    with pytest.raises(UserError, match="at least 2 classes"):
        build_head("sphereface2", num_classes=1)
