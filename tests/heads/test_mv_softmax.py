"""MV-Softmax: the rule for misclassified classes, and the two published codes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from tests.heads.logits import head_batch, logits, random_cosines, target_and_slope


def negatives(own, others, **parameters):
    """What the other cosines of one row become, and their derivatives."""
    head = build_head("mv_softmax", num_classes=10, **parameters)
    batch = head_batch(torch.tensor([own], dtype=torch.float64, requires_grad=True))
    cosine = torch.tensor([others], dtype=torch.float64, requires_grad=True)
    target = head.target(batch.cosine_N, batch)
    value = head.negative(cosine, target[:, None], batch)
    value.sum().backward()
    assert batch.cosine_N.grad is None  # none through the choice
    return value[0].tolist(), cosine.grad[0].tolist()


@pytest.mark.parametrize(
    ("parameters", "others", "values", "slopes"),
    [
        # cos θ_y = 0.6: AM's f is 0.25, Arc's 0.6 cos 0.35 − 0.8 sin 0.35 = 0.28930.
        ({}, [0.2501, 0.2499, -0.5, 0.9], [0.50012, 0.2499, -0.5, 1.28], [1.2, 1, 1, 1.2]),
        ({"weighting": "fixed"}, [0.3, 0.2, 1.0], [0.5, 0.2, 1.2], [1, 1, 1]),
        ({"t": 0.12}, [0.3, 0.2], [0.456, 0.2], [1.12, 1]),
        ({"t": 0.0}, [0.3, 0.2], [0.3, 0.2], [1, 1]),
        ({"margin_type": "arc"}, [0.2894, 0.2892], [0.54728, 0.2892], [1.2, 1]),
        ({"margin_type": "arc", "weighting": "fixed"}, [0.2894, 0.2892], [0.4894, 0.2892], [1, 1]),
    ],
)
def test_misclassified_classes_at_known_points(parameters, others, values, slopes):
    assert negatives(0.6, others, **parameters) == (pytest.approx(values), pytest.approx(slopes))


def test_a_tie_is_not_misclassified():
    """f(θ_y) − cos θ_k < 0 is strict: 0.75 − 0.25 in binary, without rounding."""
    assert negatives(0.75, [0.5], margin=0.25)[0] == [0.5]


def test_the_choice_has_the_margin_even_where_the_target_has_not():
    """At cos θ_y = −0.1 the target keeps −0.1, but classes above −0.45 count as misclassified."""
    assert target_and_slope(build_head("mv_softmax", num_classes=10), math.acos(-0.1)) == (
        pytest.approx(-0.1),
        1.0,
    )
    values, _ = negatives(-0.1, [-0.3, -0.5, -0.44])
    assert values == pytest.approx([-0.16, -0.5, 1.2 * -0.44 + 0.2])


@pytest.mark.parametrize(
    ("easy", "at_minus", "at_small", "at_large"),
    [("positive", -0.1, -0.15, 0.25), ("margin", -0.1, 0.2, 0.25), ("off", -0.45, -0.15, 0.25)],
)
def test_easy_margins(easy, at_minus, at_small, at_large):
    """cos θ_y of −0.1, 0.2 (below m) and 0.6."""
    head = build_head("mv_softmax", num_classes=10, easy_margin=easy)
    values = [target_and_slope(head, math.acos(c))[0] for c in (-0.1, 0.2, 0.6)]
    assert values == pytest.approx([at_minus, at_small, at_large])


def test_easy_margin_of_arc():
    head = build_head("mv_softmax", num_classes=10, margin_type="arc")
    assert target_and_slope(head, 1.5)[0] == pytest.approx(math.cos(1.85))
    assert target_and_slope(head, 1.6)[0] == pytest.approx(math.cos(1.6))
    head = build_head("mv_softmax", num_classes=10, margin_type="arc", easy_margin="off")
    assert target_and_slope(head, 1.6)[0] == pytest.approx(math.cos(1.95))
    assert target_and_slope(head, 3.0)[0] == pytest.approx(math.cos(3.35))  # no guard beyond π


def test_arc_cannot_compare_a_cosine_with_an_angle():
    with pytest.raises(UserError, match="use 'positive' or 'off'"):
        build_head("mv_softmax", num_classes=10, margin_type="arc", easy_margin="margin")


def published(cosine, labels, *, arc, m, enlarge, acts, scale):
    """The flow of both codes: a mask over the whole matrix, changed in place, then the target."""
    z = cosine.clone()
    rows = torch.arange(len(z))
    own = z[rows, labels][:, None]
    with_margin = own * math.cos(m) - (1 - own**2).sqrt() * math.sin(m) if arc else own - m
    hard = z > with_margin
    z[hard] = enlarge(z[hard])
    z = z.scatter(1, labels[:, None], torch.where(acts(own), with_margin, own))
    return scale * z


def adaptive_02(c):
    return 1.2 * c + 0.2


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        # SV-X-Softmax: t = 0.2, adaptive, easy margin on cos θ_y > 0; its commented "fixed".
        ({}, {"enlarge": adaptive_02}),
        ({"weighting": "fixed"}, {"enlarge": lambda c: c + 0.2}),
        ({"margin_type": "arc"}, {"arc": True, "enlarge": adaptive_02}),
        (
            {"easy_margin": "off"},
            {"enlarge": adaptive_02, "acts": lambda c: torch.ones_like(c).bool()},
        ),
        # FaceX-Zoo: mv_weight 1.12; AM's easy margin on cos θ_y > m.
        (
            {"t": 0.12, "easy_margin": "margin"},
            {"enlarge": lambda c: 1.12 * c + 1.12 - 1.0, "acts": lambda c: c > 0.35},
        ),
        (
            {"t": 0.12, "margin_type": "arc"},
            {"arc": True, "enlarge": lambda c: 1.12 * c + 1.12 - 1.0},
        ),
    ],
)
def test_published_codes(parameters, code):
    cosine, labels = random_cosines(40, 8)
    ours = logits(build_head("mv_softmax", num_classes=8, **parameters), cosine, labels)
    defaults = {"arc": False, "m": 0.35, "acts": lambda c: c > 0, "scale": 32.0}
    theirs = published(cosine, labels, **{**defaults, **code})
    assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    assert_close(
        torch.autograd.grad(F.cross_entropy(ours, labels), cosine)[0],
        torch.autograd.grad(F.cross_entropy(theirs, labels), cosine)[0],
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("weighting", ["adaptive", "fixed"])
def test_the_loss_is_the_papers_with_its_weights_h(weighting):
    """−log e^{s f} / (e^{s f} + Σ_k h e^{s cos θ_k}), h = e^{st(cos θ_k + 1) I_k} or e^{st I_k}."""
    parameters = {"weighting": weighting, "scale": 4.0, "t": 0.3, "easy_margin": "off"}
    classifier = Classifier(6, 3, head=build_head("mv_softmax", num_classes=6, **parameters))
    classifier.double()
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 5])
    cosine = F.normalize(x) @ F.normalize(classifier.centers.detach()).T
    output = classifier(x, labels)
    for row, y in enumerate(labels.tolist()):
        f = cosine[row, y].item() - 0.35
        total = own = math.exp(4 * f)
        for k in set(range(6)) - {y}:
            c = cosine[row, k].item()
            h = math.exp(4 * 0.3 * (c + 1 if weighting == "adaptive" else 1)) if f < c else 1.0
            total += h * math.exp(4 * c)
        assert output.row_loss_N[row].item() == pytest.approx(-math.log(own / total), rel=1e-12)


@pytest.mark.parametrize(("kind", "plain"), [("am", "cosface"), ("arc", "arcface")])
def test_without_weight_it_is_the_plain_margin(kind, plain):
    cosine, labels = random_cosines(30, 4)
    parameters = {"num_classes": 4, "margin": 0.35, "scale": 32}
    head = build_head("mv_softmax", margin_type=kind, t=0, easy_margin="off", **parameters)
    dialect = {"beyond_pi": "cos"} if plain == "arcface" else {}
    theirs = logits(build_head(plain, **dialect, **parameters), cosine, labels)
    assert_close(logits(head, cosine, labels), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["mv_softmax", "curricularface"])
def test_a_tile_of_columns_is_the_same_columns(name):
    cosine, _ = random_cosines(6, 10)
    head = build_head(name, num_classes=10)
    batch = head_batch(cosine[:, 0].detach())
    head.update(batch)
    target = head.target(batch.cosine_N, batch)[:, None]
    whole = head.negative(cosine, target, batch)
    tiles = [head.negative(tile, target, batch) for tile in cosine.split(3, 1)]
    assert torch.equal(torch.cat(tiles, 1), whole)


def test_defaults_are_the_authors():
    head = build_head("mv_softmax", num_classes=10)
    assert (head.margin_type, head.margin, head.t, head.scale_value) == ("am", 0.35, 0.2, 32)
    assert (head.weighting, head.easy_margin) == ("adaptive", "positive")
