"""The backend that picks, and says what it picked."""

from __future__ import annotations

import logging

import pytest
import torch

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.loss import get_backend
from frcore.loss.auto import DENSE_BELOW, pick
from frcore.loss.passes import TILE, tile_of
from frcore.samplers import build_sampler


def classifier(num_classes, **options):
    return Classifier(num_classes, 4, head="cosface", backend="auto", **options)


@pytest.mark.parametrize(
    ("num_classes", "sampler", "picked"),
    [
        (DENSE_BELOW - 1, {"name": "full"}, "dense"),
        (DENSE_BELOW, {"name": "full"}, "streamed"),
        # What counts are the columns that a step has.
        (DENSE_BELOW, {"name": "partial_fc", "rate": 0.5}, "dense"),
    ],
)
def test_by_columns_and_said(num_classes, sampler, picked, caplog):
    ours = classifier(num_classes, sampler=build_sampler(**sampler))
    assert ours.backend_name == "auto"
    x, labels = torch.ones(2, 4), torch.tensor([0, 1])
    with caplog.at_level(logging.INFO, logger="frcore.loss.auto"):
        loss = ours(x, labels).loss
        ours(x, labels)
    assert ours.backend_name == picked
    assert [f"'{picked}'" in record.getMessage() for record in caplog.records] == [True]
    named = Classifier(
        num_classes, 4, head="cosface", sampler=build_sampler(**sampler), backend=picked
    )
    assert torch.equal(loss, named(x, labels).loss)
    assert named.backend_name == picked


def test_it_stays_with_its_choice_in_evaluation():
    ours = classifier(DENSE_BELOW, sampler=build_sampler("partial_fc", rate=0.5))
    x, labels = torch.ones(2, 4), torch.tensor([0, 1])
    ours(x, labels)
    ours.eval()(x, labels)
    assert ours.backend_name == "dense"


def test_a_head_without_kernels_is_never_given_to_them():
    assert pick(build_head("sphereface2", num_classes=5), 10_000_000, "cuda") != "triton"


def test_unknown_names():
    with pytest.raises(UserError, match="auto"):
        get_backend("fast")


def test_on_a_gpu_the_matrix_has_to_fit():
    """Of its memory in all, so that a run picks again what it picked."""
    head, memory = build_head("sphereface2", num_classes=5), 141 << 30
    assert pick(head, 300_000, "cuda", rows=1024, memory=memory) == "dense"
    assert pick(head, 500_000, "cuda", rows=1024, memory=memory) == "streamed"
    assert pick(head, 500_000, "cuda", rows=128, memory=memory) == "dense"
    assert pick(head, 100, "cuda", rows=128, memory=memory, is_split=True) == "streamed"


def test_tiles_are_the_devices():
    assert tile_of(1024, torch.device("cpu")) == tile_of(16, torch.device("cpu")) == TILE
    assert tile_of(1024, torch.device("cuda")) == 16_384
    assert tile_of(10**6, torch.device("cuda")) == TILE
