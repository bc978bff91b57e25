"""What a loop may not do is refused, with the way out."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads.base import Head
from frcore.optimizer import CentersSGD
from frcore.samplers.base import Sampler
from tests.loops.loops import one_by_one
from tests.loops.trainers import (
    CLASSES,
    DIM,
    RATES,
    assert_same,
    batches,
    make_classifier,
    make_plain,
    pair,
)

BACKENDS = ["dense", "streamed", "triton"]


def made(sampler, backend):
    dtype = torch.float32 if backend == "triton" else torch.float64
    mine, _ = pair("cosface", sampler, backend, dtype=dtype)
    return mine, batches(dtype=dtype)


@pytest.mark.parametrize("sampler", ["full", "sparse"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_between_two_backward_passes(backend, sampler):
    """torch's own check, as for any layer: the second would be of centres that have moved."""
    mine, (first, second, *_) = made(sampler, backend)
    mine.centers.zero_grad()
    losses = [mine.classifier(x, labels).loss for x, labels in (first, second)]
    losses[0].backward()
    mine.centers.step()
    mine.centers.zero_grad()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        losses[1].backward()


@pytest.mark.parametrize(
    ("sampler", "backend"), [("full", "streamed"), ("full", "triton"), ("sparse", "dense")]
)
def test_gradients_of_gradients(backend, sampler):
    mine, (batch, *_) = made(sampler, backend)
    with pytest.raises(UserError, match=r"create_graph=True.*backend='dense', without CentersSGD"):
        mine.loss(batch).backward(create_graph=True)


def test_gradients_of_gradients_with_a_queue():
    classifier = make_classifier("cosface", "queue sparse")
    for x, labels in batches(2):
        loss = classifier(x.requires_grad_(), labels).loss
    with pytest.raises(UserError, match=r"create_graph=True and a queue.*use a sampler without"):
        loss.backward(create_graph=True)


@pytest.mark.parametrize("sampler", ["full", "sparse"])
def test_the_way_out_of_that(sampler):
    """A penalty on the gradients' norm, with centres that have no optimiser of their own."""
    found = []
    classifier = make_classifier("cosface", sampler)
    for layer in (classifier, make_plain(classifier, "cosface", sampler)):
        for x, labels in batches(2):
            x.requires_grad_()
            layer.zero_grad()
            loss = layer(x, labels).loss
            by_x, by_centers = torch.autograd.grad(loss, [x, layer.centers], create_graph=True)
            (loss + by_x.square().sum() + by_centers.square().sum()).backward()
        found.append([x.grad, layer.centers.grad])
    for mine, plain in zip(*found, strict=True):
        assert_close(mine, plain, rtol=1e-9, atol=1e-12)


def test_a_second_step_without_zero_grad():
    mine, (batch, *_) = made("sparse", "streamed")
    mine.zero_grad()
    mine.loss(batch).backward()
    mine.step()
    for use in (
        mine.centers.step,
        mine.classifier.centers.grad.sum,
        mine.classifier.centers.grad.clone,
    ):
        with pytest.raises(UserError, match=r"already applied.*zero_grad\(\) after each step"):
            use()
    mine.classifier.zero_grad(set_to_none=False)
    mine.loss(batch).backward()
    mine.step()


@pytest.mark.parametrize("backend", ["streamed", "triton"])
@pytest.mark.parametrize("change", ["load", "write", "data"])
def test_centres_that_change_between_backward_pass_and_step(backend, change):
    mine, (batch, *_) = made("sparse", backend)
    mine.zero_grad()
    mine.loss(batch).backward()
    center_CD = mine.classifier.centers
    if change == "load":
        mine.classifier.load_state_dict(copy.deepcopy(mine.classifier.state_dict()))
    elif change == "write":
        with torch.no_grad():
            center_CD.mul_(1.1)
    else:
        center_CD.data = center_CD.data * 1.1
    with pytest.raises(UserError, match=r"changed between a forward pass.*fused=False"):
        mine.step()


def test_the_way_out_of_that_too():
    """Sharpness-aware minimisation: the gradient at centres that are then put back."""

    def sharp(trainer, batches):
        center_CD = trainer.classifier.centers
        for batch in batches:
            trainer.zero_grad()
            trainer.loss(batch).backward()
            with torch.no_grad():
                away_CD = 0.1 * center_CD.grad.clone()
                center_CD.add_(away_CD)
            trainer.zero_grad()
            trainer.loss(batch).backward()
            with torch.no_grad():
                center_CD.sub_(away_CD)
            trainer.step()

    trainers = pair("curricularface", "full", "streamed", fused=False)
    for trainer in trainers:
        sharp(trainer, batches())
    assert_same(*trainers)


def test_further_parameters():
    mine, _ = made("full", "dense")
    with pytest.raises(UserError, match="give other parameters, the head's among them, to another"):
        mine.centers.add_param_group({"params": [nn.Parameter(torch.ones(2))]})


@pytest.mark.parametrize("convert", ["bfloat16", "double", "half", "parent"])
def test_a_conversion_after_the_optimiser_was_built(convert):
    classifier = make_classifier(dtype=torch.float32)
    CentersSGD(classifier, **RATES)
    parent = nn.Sequential(classifier)
    with pytest.raises(
        UserError, match=r"converted from torch.float32 .* then build the optimiser"
    ):
        parent.double() if convert == "parent" else getattr(classifier, convert)()
    classifier.float().to("cpu").train()


@pytest.mark.parametrize("backend", ["dense", "streamed"])
@pytest.mark.parametrize("convert", ["bfloat16", "half"])
def test_centres_in_16_bits(convert, backend):
    classifier = getattr(make_classifier(backend=backend), convert)()
    x, labels = batches(1, dtype=torch.float32)[0]
    with pytest.raises(UserError, match=r"too coarse.*convert the backbone alone.*'split'"):
        classifier(x, labels)
    classifier.float()(x, labels).loss.backward()


@pytest.mark.parametrize("way", ["assign", "parameter", "low"])
def test_centres_that_were_replaced(way):
    format_ = "split" if way == "low" else "fp32"
    classifier = make_classifier(backend="streamed", center_format=format_)
    optimizer = CentersSGD(classifier, **RATES)
    if way == "assign":
        state = copy.deepcopy(classifier.state_dict())
        classifier.load_state_dict(state, assign=True)
    elif way == "parameter":
        classifier.centers = nn.Parameter(classifier.centers.detach().clone())
    else:
        classifier.center_low_CD = classifier.center_low_CD.clone()
    x, labels = batches(1, dtype=classifier.read_centers().dtype)[0]
    classifier(x, labels).loss.backward()
    with pytest.raises(UserError, match=r"replaced by others.*build it again.*assign=True"):
        optimizer.step()


def test_the_optimiser_before_the_latest():
    """Under "lazy" one of them knows which rows are behind; the others wait for no one."""
    mine, plain = pair("cosface", "lazy")
    for trainer in (mine, plain):
        one_by_one(trainer, batches(6))
    old = mine.centers
    mine.centers = CentersSGD(mine.classifier, **RATES)
    plain.centers = torch.optim.SGD([plain.classifier.centers], **RATES)
    for trainer in (mine, plain):
        one_by_one(trainer, batches(6))
    assert_same(mine, plain)
    mine.loss(batches(1)[0]).backward()
    with pytest.raises(UserError, match=r"has another one by now.*use that one"):
        old.step()


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("sampler", ["full", "sparse"])
@pytest.mark.parametrize("backend", ["dense", "streamed"])
def test_checkpointing_around_the_classifier(backend, sampler, reentrant):
    mine, (batch, *_) = made(sampler, backend)
    x_ND = mine.backbone(batch[0])
    loss = checkpoint(lambda x: mine.classifier(x, batch[1]).loss, x_ND, use_reentrant=reentrant)
    with pytest.raises(UserError, match=r"checkpoint the backbone alone.*'streamed'"):
        loss.backward()


@pytest.mark.parametrize("backend", ["dense", "streamed"])
def test_checkpointing_an_evaluation_is_right(backend):
    mine, (batch, *_) = made("sparse", backend)
    mine.model.eval()
    results = []
    for around in (lambda f, x: checkpoint(f, x, use_reentrant=False), lambda f, x: f(x)):
        mine.zero_grad()
        around(lambda x: mine.classifier(x, batch[1]).loss, mine.backbone(batch[0])).backward()
        results.append(mine.classifier.centers.grad.clone())
    assert_close(*results, rtol=1e-12, atol=1e-12)


def headed(**methods):
    return type("Broken", (Head,), methods)(CLASSES)


COLUMN = lambda x: x[:, None]  # noqa: E731
SHAPES = {
    "target": [(lambda self, c, b: COLUMN(c), "(5, 1)"), (lambda self, c, b: c.sum(), "()")],
    "negative": [
        (lambda self, c, t, b: c[:, :-1], "(5, 18)"),
        (lambda self, c, t, b: c.sum(1), "(5,)"),
    ],
    "scale": [
        (lambda self, b: COLUMN(b.norm_N), "(5, 1)"),
        (lambda self, b: b.norm_N[:2], "(2,)"),
        (lambda self, b: None, "NoneType"),
    ],
    "row_loss": [(lambda self, t, r: (r - t).mean(), "()")],
    "penalty": [(lambda self, b: COLUMN(b.norm_N), "(5, 1)")],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("method", "value", "shape"),
    [(method, *case) for method, cases in SHAPES.items() for case in cases],
)
def test_a_heads_shapes(method, value, shape, backend):
    """A target of (N, 1) would broadcast to (N, N) and train on something else."""
    if backend == "triton":
        pytest.importorskip("triton", minversion="3.4")
    classifier = Classifier(CLASSES, DIM, head=headed(**{method: value}), backend=backend)
    message = rf"Broken.{method} returned a value of shape {re.escape(shape)}; needed is .*\(5"
    with pytest.raises(UserError, match=message):
        classifier(*batches(1, dtype=torch.float32)[0])


def test_classes_that_do_not_build_their_base():
    class Unbuilt(Head):
        def __init__(self):
            self.margin = 0.2

    class Half(Head):
        def __init__(self):
            nn.Module.__init__(self)

    class UnbuiltSampler(Sampler):
        def __init__(self):
            self.rate = 0.2

    for head in (Unbuilt(), Half()):
        with pytest.raises(UserError, match=r"super\(\).__init__\(num_classes\)"):
            Classifier(CLASSES, DIM, head=head)
    with pytest.raises(UserError, match=r"UnbuiltSampler.__init__ .* super\(\).__init__\(\)"):
        Classifier(CLASSES, DIM, head="cosface", sampler=UnbuiltSampler())
