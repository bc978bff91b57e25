"""Heads against code that we did not write: pytorch-metric-learning, and PyTorch's own losses.

That library has the cosine softmax, SphereFace, CosFace and ArcFace; its W is (D, C), its angular
margins are in degrees. Heads that it lacks are compared where they become one of those, for example
ElasticFace without any spread. In float64: the loss and its gradients with respect to embeddings
and centres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses
from torch import Tensor
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.loss import LossOutput

CLASSES, DIM = 9, 5
# The library hands a tensor to scipy.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Mean loss of embeddings (N, D), labels (N,) and centres (C, D)."""


def library(kind: type[torch.nn.Module], **parameters: Any) -> Loss:
    """A loss of pytorch-metric-learning as a function of its centres."""

    def loss(x: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
        module = kind(num_classes=CLASSES, embedding_size=DIM, **parameters)
        # Instead of its parameter, so that the gradient comes back to our centres.
        del module.W
        module.W = centers.T
        return module(x, labels)

    return loss


def arcface(margin: float = 0.5, scale: float = 64.0) -> Loss:
    return library(losses.ArcFaceLoss, margin=math.degrees(margin), scale=scale)


def cosface(margin: float = 0.35, scale: float = 64.0) -> Loss:
    return library(losses.CosFaceLoss, margin=margin, scale=scale)


def normalized(scale: float) -> Loss:
    return library(losses.NormalizedSoftmaxLoss, temperature=1 / scale)


def problem(*, easy: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings with norms from 0.1 to 20, labels, centres; the last row beyond θ + m = π.

    Labels repeat. An easy batch has its centres far apart and its rows close to them instead.
    """
    generator = torch.Generator().manual_seed(3)
    centers = torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64)
    x = torch.randn(7, DIM, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 3, 8, 1, 0, 5])
    if easy:
        axes = torch.eye(DIM, dtype=torch.float64)
        centers = torch.cat([axes, -axes])[:CLASSES] + 0.1 * centers
        x = 0.1 * x + centers[labels]
    else:
        x[-1] = 0.2 * x[-1] - centers[5]
    x *= torch.tensor([0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0], dtype=torch.float64)[:, None]
    return x.requires_grad_(), labels, centers.requires_grad_()


def run(
    head: str, parameters: dict[str, Any], problem: tuple[Tensor, Tensor, Tensor]
) -> LossOutput:
    """The classifier's output with `centers` in the place of its own; in training mode."""
    x, labels, centers = problem
    built = build_head(head, num_classes=CLASSES, **parameters)
    classifier = Classifier(CLASSES, DIM, head=built).double()
    return classifier.backend(x, centers, labels, classifier.head)


def value_and_gradients(loss: Tensor, problem: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    x, _, centers = problem
    return [loss.detach(), *torch.autograd.grad(loss, (x, centers))]


SAME: dict[str, tuple[str, dict[str, Any], Loss]] = {
    # The library's L-Softmax with m = 1 is the softmax over inner products, ‖x‖‖w‖ cos θ.
    "softmax": ("softmax", {}, lambda x, y, w: F.cross_entropy(x @ w.T, y)),
    "softmax-m1": ("softmax", {}, library(losses.LargeMarginSoftmaxLoss, margin=1, scale=1)),
    "normface": ("normface", {}, normalized(20)),
    "normface-torch": (
        "normface",
        {"scale": 7.0},
        lambda x, y, w: F.cross_entropy(7 * F.normalize(x) @ F.normalize(w).T, y),
    ),
    "cosface": ("cosface", {}, cosface()),
    "arcface": ("arcface", {}, arcface()),
    "arcface-m1-s16": ("arcface", {"margin": 1.0, "scale": 16.0}, arcface(1.0, 16.0)),
    # Without λ, which that library has not; a whole m, because it expands cos(mθ) by the binomial.
    **{
        f"sphereface-m{m}": (
            "sphereface",
            {"margin": m, "annealing": False},
            library(losses.SphereFaceLoss, margin=m, scale=1),
        )
        for m in (1, 2, 3, 4, 5)
    },
    "sphereface-λ0": (
        "sphereface",
        {"lambda_base": 0.0, "lambda_min": 0.0},
        library(losses.SphereFaceLoss, margin=4, scale=1),
    ),
    "adacos_fixed": ("adacos_fixed", {}, normalized(math.sqrt(2) * math.log(CLASSES - 1))),
    "combined-arc": ("combined", {"m2": 0.5, "m3": 0.0, "beyond_pi": "linear"}, arcface()),
    "combined-cos": ("combined", {"m2": 0.0, "m3": 0.35}, cosface()),
    "magface-arc": (
        "magface",
        {"l_m": 0.4, "u_m": 0.4, "lambda_g": 0.0, "easy_margin": False},
        arcface(0.4),
    ),
    "magface-cos": (
        "magface",
        {"margin_type": "cos", "l_m": 0.4, "u_m": 0.4, "lambda_g": 0.0},
        cosface(0.4),
    ),
    # A concentration next to nothing: every quality is 0.
    "adaface-h0": ("adaface", {"h": 1e-300, "edges": "none"}, cosface(0.4)),
    "elasticface-cos": ("elasticface", {"margin_type": "cos", "sigma": 0.0}, cosface()),
    "mv_softmax-t0": ("mv_softmax", {"t": 0.0, "easy_margin": "off"}, cosface(0.35, 32.0)),
}

SAME_WHERE_EASY: dict[str, tuple[str, dict[str, Any], Loss]] = {
    # What the heads do beyond π, which that library does as the head `arcface` by default.
    "arcface-cos": ("arcface", {"beyond_pi": "cos"}, arcface()),
    "arcface-clip": ("arcface", {"beyond_pi": "clip"}, arcface()),
    "arcface-easy": ("arcface", {"easy_margin": True}, arcface()),
    "elasticface-arc": ("elasticface", {"sigma": 0.0}, arcface()),
    # Every norm is far below the running mean: every quality is −1.
    "adaface-h": ("adaface", {"h": 1e3, "edges": "none"}, arcface(0.4)),
    # No class wins against its target with the margin: nothing is re-weighted.
    "curricularface": ("curricularface", {}, arcface()),
    "mv_softmax-am": ("mv_softmax", {}, cosface(0.35, 32.0)),
    "mv_softmax-arc": ("mv_softmax", {"margin_type": "arc"}, arcface(0.35, 32.0)),
}


@pytest.mark.fast_cases(12)
@pytest.mark.parametrize("case", SAME)
def test_same_value_and_gradients(case):
    head, parameters, loss = SAME[case]
    data = problem()
    ours = value_and_gradients(run(head, parameters, data).loss, data)
    theirs = value_and_gradients(loss(*data), data)
    assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("case", SAME_WHERE_EASY)
def test_same_where_the_rules_agree(case):
    head, parameters, loss = SAME_WHERE_EASY[case]
    x, labels, centers = data = problem(easy=True)
    cosine = F.normalize(x.detach()) @ F.normalize(centers.detach()).T
    own = F.one_hot(labels, CLASSES).bool()
    # No class wins against its target, whatever the margin of these cases.
    assert (cosine[own].arccos() + 0.5).cos().min() > cosine[~own].max()
    ours = value_and_gradients(run(head, parameters, data).loss, data)
    theirs = value_and_gradients(loss(*data), data)
    assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def row_losses(loss: Loss, data: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    x, labels, centers = data
    return torch.stack([loss(x[i : i + 1], labels[i : i + 1], centers) for i in range(len(x))])


@pytest.mark.parametrize("beyond_pi", ["cos", "clip"])
def test_arcface_differs_beyond_pi_alone(beyond_pi):
    """That library has one rule, cos θ − m sin m; ours is a choice. The last row is beyond."""
    data = problem()
    x, labels, centers = (tensor.detach() for tensor in data)
    ours = run("arcface", {"beyond_pi": beyond_pi}, data).row_loss_N
    theirs = row_losses(arcface(), data).detach()
    theta_N = F.cosine_similarity(x, centers[labels]).arccos()
    assert (theta_N + 0.5 > math.pi).tolist() == [False] * 6 + [True]
    assert_close(ours[:6], theirs[:6], rtol=1e-11, atol=1e-12)
    # Of one row with every negative far behind, the loss's difference is the targets', times s.
    target = math.cos(theta_N[-1] + 0.5) if beyond_pi == "cos" else -1.0
    rule = math.cos(theta_N[-1]) - 0.5 * math.sin(0.5)
    assert abs(target - rule) > 0.1
    assert_close((ours - theirs)[-1].item(), 64 * (rule - target), rtol=1e-9, atol=0)


def test_arcface_detached_has_their_value_and_another_gradient():
    """insightface's `no_grad` around the margin: that library differentiates the formula."""
    data = problem()
    ours = value_and_gradients(run("arcface", {"gradient": "detached"}, data).loss, data)
    theirs = value_and_gradients(arcface()(*data), data)
    assert_close(ours[0], theirs[0], rtol=1e-12, atol=0)
    assert (ours[1] - theirs[1]).norm() > 0.05 * theirs[1].norm()


def test_adacos_is_their_cosine_softmax_at_its_scale():
    """Dynamic AdaCos is in no library; at the scale it reports, no gradient may come from it."""
    data = problem(easy=True)
    output = run("adacos", {}, data)
    assert output.scale != pytest.approx(math.sqrt(2) * math.log(CLASSES - 1))
    theirs = value_and_gradients(normalized(output.scale.item())(*data), data)
    assert_close(value_and_gradients(output.loss, data), theirs, rtol=1e-11, atol=1e-12)


def test_sphereface_annealed_lies_between_their_softmax_and_their_sphereface():
    """λ cos θ + ψ over 1 + λ: with λ = 1 a row's target logit is midway between the two."""
    data = problem()
    x, labels, centers = (tensor.detach() for tensor in data)
    annealed = {"lambda_base": 1.0, "lambda_min": 1.0}
    ours = run("sphereface", annealed, data).row_loss_N
    plain = row_losses(library(losses.SphereFaceLoss, margin=1, scale=1), data).detach()
    full = row_losses(library(losses.SphereFaceLoss, margin=4, scale=1), data).detach()

    others_N = (x @ F.normalize(centers).T).scatter(1, labels[:, None], -math.inf).logsumexp(1)
    # From a loss back to its target logit: loss = log(1 + exp(R − z)).
    plain_z, full_z, our_z = (others_N - torch.expm1(loss).log() for loss in (plain, full, ours))
    assert ((plain_z - full_z) > 0.01).all()
    assert_close(our_z, (plain_z + full_z) / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("m", [2, 4])
def test_large_margin_softmax_is_sphereface_with_the_norms_of_its_centres(m):
    """Where all centres have norm 1 they are equal; towards the centres up to the radial part."""
    x, labels, centers = problem()
    unit = F.normalize(centers.detach()).requires_grad_()
    data = x, labels, unit
    sphereface = run("sphereface", {"margin": m, "annealing": False}, data).loss
    ours = value_and_gradients(sphereface, data)
    l_softmax = library(losses.LargeMarginSoftmaxLoss, margin=m, scale=1)(*data)
    theirs = value_and_gradients(l_softmax, data)
    assert_close(ours[:2], theirs[:2], rtol=1e-11, atol=1e-12)
    radial = (theirs[2] * unit).sum(1, keepdim=True) * unit
    assert radial.norm() > 0.01
    assert_close(ours[2], (theirs[2] - radial).detach(), rtol=1e-10, atol=1e-11)


def binary(logits: Tensor, labels: Tensor, own: float, other: float) -> Tensor:
    """PyTorch's binary cross entropy, one question per class, summed; weights of the two kinds."""
    is_own = F.one_hot(labels, CLASSES).to(logits)
    weight = own * is_own + other * (1 - is_own)
    total = F.binary_cross_entropy_with_logits(logits, is_own, weight=weight, reduction="sum")
    return total / len(labels)


@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_uniface_is_torchs_binary_cross_entropy(margin):
    x, labels, centers = data = problem()
    ours = run("uniface", {"margin": margin, "negative_weight": 0.7}, data).loss
    is_own = F.one_hot(labels, CLASSES).double()
    cosine = F.normalize(x) @ F.normalize(centers).T
    logits = 64 * (cosine - margin * is_own) - math.log(10 * CLASSES)
    theirs = binary(logits, labels, 1.0, 0.7)
    # The head's own b is stored in float32.
    ours, theirs = (value_and_gradients(loss, data) for loss in (ours, theirs))
    assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("exponent", "margin"), [(1.0, 0.0), (3.0, 0.4)])
def test_sphereface2_is_torchs_binary_cross_entropy(exponent, margin):
    x, labels, centers = data = problem()
    parameters = {"exponent": exponent, "margin": margin}
    bias = build_head("sphereface2", num_classes=CLASSES, **parameters).bias.item()
    ours = run("sphereface2", parameters, data).loss
    sign = 1 - 2 * F.one_hot(labels, CLASSES).double()
    cosine = F.normalize(x) @ F.normalize(centers).T
    logits = 40 * (2 * ((cosine + 1) / 2) ** exponent - 1 + margin * sign) + bias
    theirs = binary(logits, labels, 0.7, 1 - 0.7) * 50 / 40
    ours, theirs = (value_and_gradients(loss, data) for loss in (ours, theirs))
    assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def test_their_gradient_at_a_centre_is_not_a_number_ours_is():
    """acos has no derivative at 1; √(1 − cos²) held at the type's resolution has one."""
    _, labels, centers = problem()
    at_centers = (3 * centers.detach()[labels]).requires_grad_()
    data = at_centers, labels, centers
    theirs = value_and_gradients(arcface()(*data), data)
    ours = value_and_gradients(run("arcface", {}, data).loss, data)
    assert not torch.isfinite(theirs[1]).all()
    assert torch.isfinite(ours[1]).all()
    assert torch.isfinite(ours[2]).all()
    assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
