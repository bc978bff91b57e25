"""Drift of embeddings: against copies of the models at every step; no trace in the training."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from frcore.data.loader import to_network
from frcore.data.prepared.folder import Prepared
from frcore.study.parts import Drift
from frcore.training.drift import DriftProbe
from frcore.training.loop import Trainer
from frcore.training.train import train
from tests.training.conftest import run_spec

DRIFT = {"starts": [0.2, 0.7], "ages": [1, 3, 11, 99], "samples": 7}
QUEUE = {"name": "broadface", "size": 32}


def cosine(a: list[float], b: list[float]) -> float:
    def dot(x: list[float], y: list[float]) -> float:
        return float(sum(p * q for p, q in zip(x, y, strict=True)))

    return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5


def slowly(copies: dict[int, Any], data: Path, start: int, age: int) -> tuple[float, float]:
    """Image by image, from the whole models after steps `start` and `start + age`."""
    prepared = Prepared.open(data)
    images, labels = to_network(prepared.images[:]), prepared.labels
    queued = compensated = 0.0
    for k in range(7):
        row = k * len(labels) // 7
        label = int(labels[row])
        old, new = ([float(x) for x in copies[step][0](images[row : row + 1])[0]]
                    for step in (start, start + age))  # fmt: skip
        past, now = ([float(x) for x in copies[step][1][label]] for step in (start, start + age))
        ratio = sum(x * x for x in old) ** 0.5 / sum(x * x for x in past) ** 0.5
        star = [e + ratio * (w - v) for e, w, v in zip(old, now, past, strict=True)]
        queued += cosine(old, new) / 7
        compensated += cosine(star, new) / 7
    return queued, compensated


def test_cosines_are_those_of_copies_of_the_models(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copies: dict[int, Any] = {}
    step = Trainer.train_step

    def copied(self: Trainer, images: Tensor, label_N: Tensor) -> Any:
        found = step(self, images, label_N)
        backbone = copy.deepcopy(self.backbone).eval().requires_grad_(False)
        copies[self.step + 1] = backbone, self.classifier.centers.detach().clone()
        return found

    monkeypatch.setattr(Trainer, "train_step", copied)
    train(run_spec("arcface", QUEUE, drift=DRIFT), tiny_data, tmp_path)
    rows = json.loads((tmp_path / "diagnostics.json").read_text())["drift"]
    # 18 steps: starts after 4 and 13; 11 is too old for the second start, 99 for both.
    assert [(r["step"], r["age"]) for r in rows] == [(4, 1), (4, 3), (4, 11), (13, 1), (13, 3)]
    for row in rows:
        expected = slowly(copies, tiny_data, row["step"], row["age"])
        assert row["start"] == {4: 0.2, 13: 0.7}[row["step"]]
        assert row["images"] == 7
        assert (row["queued"], row["compensated"]) == pytest.approx(expected, abs=1e-5)
    assert rows[2]["queued"] < rows[0]["queued"] - 0.01
    assert abs(rows[2]["queued"] - rows[2]["compensated"]) > 1e-3


def test_recording_leaves_no_trace_in_the_training(tiny_data: Path, tmp_path: Path):
    for name, drift in (("with", DRIFT), ("without", None)):
        train(run_spec("arcface", QUEUE, drift=drift, epochs=1), tiny_data, tmp_path / name)
    found, expected = (
        torch.load(tmp_path / name / "model.pt", weights_only=True)["backbone"]
        for name in ("with", "without")
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert (
        "drift"
        not in json.loads((tmp_path / "without" / "run.json").read_text())["spec"]["training"]
    )
    assert json.loads((tmp_path / "without" / "diagnostics.json").read_text())["drift"] is None


def test_nothing_is_embedded_unless_due():
    probe = DriftProbe(Drift(starts=(0.5,), ages=(2,)), torch.tensor([0]), steps=10)
    asked = []

    def embed() -> Tensor:
        asked.append(step)
        return torch.ones(1, 2)

    for step in range(1, 11):
        probe.after(step, embed, lambda label: torch.ones(2, 2)[label])
    assert asked == [5, 7]
    assert probe.state_dict()["kept"] == []  # no longer than the oldest age asks


@pytest.mark.parametrize("wrong", [{"starts": [0]}, {"starts": [1]}, {"ages": [0]}, {"ages": []}])
def test_starts_and_ages_that_cannot_be_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        Drift(**wrong)
