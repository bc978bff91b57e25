"""The trainer on a GPU that is rehearsed (tests/rehearsal.py): batches, augmentation, steps, and a
checkpoint taken up again. Mixed precision is left out, which the device "meta" does not have."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.training.checkpoint import read_checkpoint, restore_from, save_checkpoint
from frcore.training.loop import Trainer
from frcore.training.metrics import MetricsFile
from tests.rehearsal import META, GpuRules, without_a_gpu
from tests.training.conftest import run_spec

EVERYTHING = {"crop": 0.5, "low_resolution": 0.5, "colour": 0.5}


def trainer_on(device: str, data) -> Trainer:
    spec = run_spec(
        head="mv_softmax", sampler={"name": "broadface", "size": 20}, backend="streamed",
        clip_norm=1.0, augment=EVERYTHING,
    )  # fmt: skip
    training = spec.training.model_copy(update={"device": device})
    spec = spec.model_copy(update={"training": training})
    batches = Batches(Prepared.open(data), 16, 0, device=device, augment=training.augment)
    with torch.device(device):
        trainer = Trainer(spec, batches, 12)
    trainer.classifier.to(device)  # what head and sampler make on the host
    return trainer


@pytest.mark.slow
def test_a_training_waits_for_nothing_between_logged_steps(tiny_data, tmp_path, monkeypatch):
    without_a_gpu(monkeypatch)
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())
    before = trainer_on("cpu", tiny_data)
    before.train_step(*next(before.batches.epoch(0)))
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    save_checkpoint(tmp_path / "checkpoint.pt", before, metrics, "key")
    metrics.close()
    trainer = trainer_on("meta", tiny_data)
    state = read_checkpoint(tmp_path / "checkpoint.pt", "key")
    assert state is not None
    restore_from(tmp_path / "checkpoint.pt", state, trainer)
    batches = trainer.batches.epoch(0)
    with GpuRules() as rules:
        for _ in range(2):
            images, labels = next(batches)
            assert images.device == labels.device == META
            output, _ = trainer.train_step(images, labels)
            trainer.last_angles.add(output.target_cosine_N, labels)
    assert rules.blocking == 0


def test_all_that_a_batch_takes_to_a_gpu_is_pinned(tiny_data, monkeypatch):
    """By the thread that reads ahead; a copy from other memory would wait, and pin it first."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    augment = run_spec(augment=EVERYTHING).training.augment
    data = Prepared.open(tiny_data)
    batches = Batches(data, 16, 0, device="cuda", augment=augment)
    batch = batches._on_the_way(0, np.array(data.images[:16]), batches.order(0)[:16], 0)
    assert set(batch.changes) == set(EVERYTHING)
    tensors = [*batch[:3], *(value for values in batch.changes.values() for value in values)]
    assert {id(tensor) for tensor in tensors} == {id(tensor) for tensor in pinned}
