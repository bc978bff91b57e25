"""Counts of positive and passive touches against a replay in plain Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.samplers import build_sampler
from frcore.training.class_counts import CenterTouches
from frcore.training.loop import Trainer
from frcore.training.train import train
from tests.training.conftest import run_spec

CLASSES, DIM = 12, 4

SAMPLERS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "partial_fc": {"name": "partial_fc", "rate": 0.5},
    "positives only": {"name": "partial_fc", "rate": 0.0},
    "queue": {"name": "broadface", "size": 7},
    "queue over sampled": {
        "name": "broadface", "size": 7, "over": {"name": "partial_fc", "rate": 0.6}
    },
}  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_counts_are_those_of_a_slow_replay(sampler: dict[str, Any]):
    head = build_head("cosface", num_classes=CLASSES, scale=16, margin=0.1)
    classifier = Classifier(CLASSES, DIM, head=head, sampler=build_sampler(**sampler))
    touches = CenterTouches(CLASSES, torch.device("cpu"))
    classifier.backend = touches.around(classifier.backend)
    generator = torch.Generator().manual_seed(1)
    positive, queue, passive = ([0] * CLASSES for _ in range(3))
    past: list[int] = []  # the queue: the latest labels, at most its size
    for _ in range(15):
        label_N = torch.randint(0, CLASSES, (5,), generator=generator)
        classifier(torch.randn(5, DIM, generator=generator), label_N)
        own = label_N.tolist()
        for label in own:
            positive[label] += 1
        for label in past:
            queue[label] += 1
        columns = range(CLASSES) if classifier.active is None else classifier.active.tolist()
        for column in columns:
            if column not in own and column not in past:
                passive[column] += 1
        past = (past + own)[-sampler.get("size", 0) :] if sampler.get("size") else []
    assert touches.positive_C.tolist() == positive
    assert touches.queue_C.tolist() == queue
    assert touches.passive_C.tolist() == passive


def test_a_class_is_never_passive_where_only_positives_are_columns():
    touches = CenterTouches(CLASSES, torch.device("cpu"))
    label_N = torch.tensor([3, 3, 5])
    touches.add(label_N, label_N.unique(), None)
    assert touches.positive_C.tolist() == [0, 0, 0, 2, 0, 1] + 6 * [0]
    assert touches.passive_C.sum() == 0


@pytest.mark.slow
def test_a_run_counts_each_image_once_per_epoch(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[Trainer] = []
    original = Trainer.train_epoch

    def watch(self: Trainer, *args: Any) -> Any:
        seen.append(self)
        return original(self, *args)

    monkeypatch.setattr(Trainer, "train_epoch", watch)
    train(run_spec(epochs=2), tiny_data, tmp_path)
    positive_C = seen[-1].touches.positive_C.numpy()
    np.testing.assert_array_equal(positive_C, np.full(12, 2 * 8))
