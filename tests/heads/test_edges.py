"""Edges of the contract beside tests/heads/test_contract.py: derivatives under samplers, labels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from frcore.errors import UserError
from frcore.heads import HEADS
from tests.contract_cases import KINDS, SAMPLER_CASES, batches, make_classifier

CLASSES = 8

# A queue's rows move the centres and not the encoder: there the gradient is not that of one value.
DIFFERENTIABLE = [name for name in SAMPLER_CASES if not name.startswith("broadface")]
PAIRS = [
    pytest.param(head, sampler, marks=() if head in fast else pytest.mark.grid)
    for sampler in DIFFERENTIABLE
    for fast in [KINDS if sampler == "filter-drop" else ["adacos"]]
    for head in HEADS
]


@pytest.mark.parametrize(("head", "sampler"), PAIRS)
def test_gradcheck_under_every_sampler(head, sampler):
    """The columns and the filter of a training step, held still; the head in evaluation mode.

    Finite differences would otherwise move a state and draw other columns at each evaluation.
    """
    classifier = make_classifier(head, sampler)
    ((x, labels),) = batches(1)
    x = F.normalize(x)
    active = classifier.sampler.columns(labels, classifier.read_centers)
    if sampler == "partial_fc-0":
        assert active is not None
        assert len(active) == len(labels.unique())
    centers = F.normalize(classifier.centers.detach())
    stops_norm = head == "adaface"  # its quality has no gradient, by definition
    head = classifier.head.eval()

    def loss(x, centers):
        x = F.normalize(x) if stops_norm else x
        entry_filter = classifier.sampler.entry_filter
        return classifier.backend(
            x, centers, labels, head, active=active, entry_filter=entry_filter
        ).loss

    assert torch.autograd.gradcheck(
        loss, (x.requires_grad_(), centers.requires_grad_()), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("head", KINDS)
def test_bad_labels_are_refused_before_anything_moves(head, training):
    """On the CPU, with row and reason; the state of head and sampler is as before."""
    classifier = make_classifier(head, "broadface-7-over-partial_fc").train(training)
    ((x, labels),) = batches(1)
    before = [buffer.clone() for buffer in classifier.buffers()]
    for bad, message in (
        (torch.tensor([0, 1, CLASSES, 2]), f"label {CLASSES} in row 2 .* 0 to {CLASSES - 1}"),
        (torch.tensor([0, -1, 3, 2]), f"label -1 in row 1 .* 0 to {CLASSES - 1}"),
        (labels.double(), r"labels of type torch\.float64; allowed are"),
        (labels == 0, r"labels of type torch\.bool; allowed are"),
        (labels[:3], r"labels of shape \(3,\) for 4 embeddings"),
        (labels[:, None], r"labels of shape \(4, 1\) for 4 embeddings"),
    ):
        with pytest.raises(UserError, match=message):
            classifier(x, bad)
    for buffer, then in zip(classifier.buffers(), before, strict=True):
        assert torch.equal(buffer, then)
    assert classifier.sampler.rows(classifier.read_centers) is None  # nothing was queued


@pytest.mark.parametrize("head", KINDS)
def test_labels_of_32_bits_are_labels(head):
    ((x, labels),) = batches(1)
    one, other = make_classifier(head), make_classifier(head)
    assert torch.equal(one(x, labels).row_loss_N, other(x, labels.int()).row_loss_N)


@pytest.mark.parametrize("head", HEADS)
def test_equal_rows_have_equal_losses_and_add_up(head):
    """One row twice is that row once with the mean of the others taken as often."""
    classifier = make_classifier(head).eval()  # a head that draws has one margin per row
    ((x, labels),) = batches(1)
    twice = classifier(torch.cat([x, x]), labels.repeat(2))
    once = classifier(x, labels)
    # A matrix product may sum each of its rows in another order, which the processor decides.
    torch.testing.assert_close(twice.row_loss_N[:4], twice.row_loss_N[4:], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(twice.loss, once.loss, rtol=1e-12, atol=0)
    a, b = (torch.autograd.grad(out.loss, classifier.centers)[0] for out in (once, twice))
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
