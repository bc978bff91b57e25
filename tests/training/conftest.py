"""A prepared training set that is tiny, and specs over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frcore.data.prepare import prepare
from frcore.study.data import Image, SyntheticFaces
from frcore.study.expansion import RunSpec, TrainDataSpec
from frcore.study.parts import Component, Schedule, Training
from frcore.training.loop import Trainer
from frcore.training.train import train

IMAGE = Image(size=24, alignment="synthetic")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve identities of eight images."""
    out = tmp_path_factory.mktemp("data") / "train"
    faces = SyntheticFaces(kind="synthetic", identities=12, images=8, difficulty=0.3)
    prepare(TrainDataSpec(image=IMAGE, data=faces), out)
    return out


def run_spec(
    head: str | dict[str, Any] = "normface",
    sampler: str | dict[str, Any] = "full",
    *,
    seed: int = 0,
    **training: Any,
) -> RunSpec:
    """A run of a few seconds at most."""
    settings: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 0.05,
        "schedule": Schedule(warmup=0.5),
    }
    return RunSpec(
        image=IMAGE,
        backbone=Component.model_validate({"name": "tiny", "dim": 16, "width": 8}),
        head=Component.model_validate(head),
        sampler=Component.model_validate(sampler),
        seed=seed,
        training=Training(**{**settings, **training}),
    )


def leave_one_epoch(spec: RunSpec, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was cut off in its second epoch."""
    original = Trainer.train_epoch

    def cut_off(self: Trainer, *args: Any) -> Any:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(spec, data, out)
