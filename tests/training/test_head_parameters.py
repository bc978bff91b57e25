"""Parameters of a head: the loop trains them with the backbone's optimiser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.training.loop import Trainer
from frcore.training.train import train
from tests.training.conftest import run_spec


@pytest.mark.parametrize("head", ["sphereface2", "uniface"])
def test_the_bias_is_trained_with_the_backbone_s_rate_momentum_and_decay(head, tiny_data: Path):
    """Two steps of SGD written out: v ← μ v + (∂L/∂b + λ b), b ← b − η v."""
    spec = run_spec(head, weight_decay=0.01, momentum=0.8)
    prepared = Prepared.open(tiny_data)
    trainer = Trainer(spec, Batches(prepared, 16, seed=0), prepared.num_classes)
    bias = trainer.classifier.head.bias
    images, labels = next(iter(trainer.batches.epoch(0)))
    velocity = 0.0
    for _ in range(2):
        trainer.set_learning_rate()
        rate = trainer.backbone_optimizer.param_groups[0]["lr"]
        before = bias.item()
        trainer.train_step(images, labels)
        assert bias.grad.abs() > 1e-4
        velocity = 0.8 * velocity + bias.grad.item() + 0.01 * before
        assert bias.item() == pytest.approx(before - rate * velocity, rel=1e-5)
        assert bias.item() != before
        trainer.step += 1


@pytest.mark.slow
@pytest.mark.parametrize("head", ["sphereface2", "uniface"])
def test_a_run_learns_and_logs_its_bias(head, tiny_data: Path, tmp_path: Path):
    spec = run_spec(head, epochs=6)
    train(spec, tiny_data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert epochs[-1]["loss"] < 0.7 * epochs[0]["loss"]
    assert epochs[-1]["target_angle"] < epochs[0]["target_angle"] - 10
    logged = [line["head"]["bias"] for line in lines if "head" in line]
    assert len(set(logged)) == len(logged) > 6
