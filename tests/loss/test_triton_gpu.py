"""The kernels on a real GPU, in bfloat16 and at sizes that an interpreter cannot do."""

from __future__ import annotations

import pytest
import torch

from frcore.classifier import Classifier
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler

pytest.importorskip("triton", minversion="3.4", reason="no triton: pip install 'frcore[gpu]'")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]


ROWS, DIM = 256, 512
TOLERANCE = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 3e-2}
"""Relative to the largest number of a tensor."""


def step(backend, head, rate, classes, precision=None, *, fused=True, center_format="fp32"):
    """Row losses, embeddings' gradient, and how far the centres moved, of one step in float32."""
    sampler = build_sampler("partial_fc", rate=rate) if rate < 1 else "full"
    classifier = Classifier(
        classes,
        DIM,
        head=head,
        sampler=sampler,
        backend=backend,
        precision=precision,
        center_std=1,
        center_format=center_format,
    )
    classifier.cuda()
    sgd = CentersSGD(classifier, lr=0.1, fused=fused)
    before = classifier.read_centers().clone()
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (ROWS,), generator=generator).cuda()
    x = torch.randn(ROWS, DIM, generator=generator).cuda()
    x = (x + before[labels]).requires_grad_()
    output = classifier(x, labels)
    output.loss.backward()
    sgd.step()
    return [output.row_loss_N, x.grad, classifier.read_centers() - before]


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize("head", ["arcface", "curricularface", "mv_softmax", "adacos", "softmax"])
def test_a_step_is_that_of_dense(head, rate, precision):
    expected = step("dense", head, rate, 20_011)
    for ours, theirs in zip(step("triton", head, rate, 20_011, precision), expected, strict=True):
        assert (ours - theirs).abs().max() <= TOLERANCE[precision] * theirs.abs().max()


@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize("head", ["arcface", "curricularface", "adacos"])
def test_a_step_of_split_centres_is_that_of_streamed(head, rate):
    """Both read the bfloat16 halves, `streamed` in float32 products, the kernels in bfloat16 ones.

    `dense` does not read halves. A step has no momentum yet, so nothing depends on its rounding.
    """
    expected = step("streamed", head, rate, 20_011, "fp32", center_format="split")
    found = step("triton", head, rate, 20_011, "bf16", center_format="split")
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= TOLERANCE["bf16"] * theirs.abs().max()


def test_split_centres_train_as_whole_ones_do():
    """Ten steps with momentum: the mean loss of the last is that of whole centres within 1 %."""
    last = {}
    for form in ("fp32", "split"):
        classifier = Classifier(
            20_011, DIM, head="arcface", backend="triton", center_format=form
        ).cuda()
        sgd = CentersSGD(classifier, lr=0.1, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(ROWS, DIM, generator=generator).cuda()
        labels = torch.randint(20_011, (ROWS,), generator=generator).cuda()
        for _ in range(10):
            loss = classifier(x.requires_grad_(), labels).loss
            loss.backward()
            sgd.step()
        last[form] = loss.item()
    assert last["split"] == pytest.approx(last["fp32"], rel=0.01)


def test_split_centres_and_momentum_take_six_bytes_per_entry():
    classes = 1_000_000
    before = torch.cuda.memory_allocated()
    classifier = Classifier(
        classes, DIM, head="arcface", backend="triton", center_format="split"
    ).cuda()
    sgd = CentersSGD(classifier, lr=0.1, momentum=0.9)
    x = torch.randn(1024, DIM, device="cuda", requires_grad=True)
    labels = torch.randint(classes, (1024,), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        classifier(x, labels).loss.backward()
        sgd.step()
    taken = torch.cuda.max_memory_allocated() - before
    assert 6 * classes * DIM <= taken < 6 * classes * DIM + 128 * 2**20


@pytest.mark.parametrize("center_format", ["fp32", "split"])
def test_the_same_input_gives_the_same_bits(center_format):
    first, second = (
        step("triton", "arcface", 0.1, 100_003, center_format=center_format) for _ in range(2)
    )
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_offsets_beyond_31_bits():
    """4.3 million classes of 512: C·D > 2³¹; the last centres move as in a small table."""
    classes = 4_300_000
    classifier = Classifier(classes, DIM, head="arcface", backend="triton").cuda()
    sgd = CentersSGD(classifier, lr=0.1)
    labels = torch.arange(classes - 64, classes, device="cuda")
    x = torch.randn(64, DIM, device="cuda")
    before = classifier.centers.detach()[-64:].clone()
    classifier(x, labels).loss.backward()
    sgd.step()
    moved = classifier.centers.detach()[-64:] - before
    pull = torch.nn.functional.normalize(x)
    assert ((moved * pull).sum(1) > 0).all()


def test_memory_is_that_of_centres_and_momentum():
    """No logits (rows × classes) and no gradient (classes × dim)."""
    classes = 1_000_000
    classifier = Classifier(classes, DIM, head="arcface", backend="triton").cuda()
    sgd = CentersSGD(classifier, lr=0.1)
    x = torch.randn(1024, DIM, device="cuda", requires_grad=True)
    labels = torch.randint(classes, (1024,), device="cuda")
    state = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    classifier(x, labels).loss.backward()
    sgd.step()
    assert torch.cuda.max_memory_allocated() - state < 128 * 2**20


def test_nothing_waits_for_the_device():
    step("triton", "curricularface", 1.0, 20_011)  # compiles
    classifier = Classifier(20_011, DIM, head="curricularface", backend="triton").cuda()
    sgd = CentersSGD(classifier, lr=0.1)
    x = torch.randn(ROWS, DIM, device="cuda", requires_grad=True)
    labels = torch.randint(20_011, (ROWS,), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        classifier(x, labels).loss.backward()
        sgd.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
