"""Trainings that start from weights, and parts of a backbone that they leave as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from frcore.errors import UserError
from frcore.files import sha256_of_file
from frcore.study.expansion import RunSpec
from frcore.study.parts import Backbone
from frcore.training.loop import Trainer
from frcore.training.train import train
from tests.training.conftest import leave_one_epoch, run_spec
from tests.training.test_train import assert_same_run, weights


def spec_from(file: Path, *, sampler: Any = "full", freeze: Any = (), **training: Any) -> RunSpec:
    """A run that starts from the weights in `file`."""
    part = Backbone(name="tiny", label="tuned", dim=16, width=8, weights=str(file), freeze=freeze,
                    sha256=sha256_of_file(file))  # fmt: skip
    return run_spec("arcface", sampler, **training).model_copy(update={"backbone": part})


@pytest.fixture(scope="module")
def first(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a first training."""
    out = tmp_path_factory.mktemp("first") / "run"
    train(run_spec("normface", epochs=4), tiny_data, out)
    return out


def test_a_training_starts_from_the_weights_of_another(first, tiny_data, tmp_path):
    still = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    train(spec_from(first / "model.pt", **still), tiny_data, tmp_path)
    for name, tensor in weights(first).items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(weights(tmp_path)[name], tensor, msg=name)


def test_the_backbone_starts_better_and_the_run_is_reproducible(first, tiny_data, tmp_path):
    losses = {}
    for name, spec in (
        ("tuned", spec_from(first / "model.pt", epochs=2)),
        ("again", spec_from(first / "model.pt", epochs=2)),
        ("scratch", run_spec("arcface", epochs=2)),
    ):
        losses[name] = train(spec, tiny_data, tmp_path / name)["final_loss"]
    assert_same_run(tmp_path / "tuned", tmp_path / "again")
    assert losses["tuned"] < losses["scratch"]


def test_a_run_cut_off_resumes_without_the_file(first, tiny_data, tmp_path, monkeypatch):
    file = tmp_path / "w.pt"
    file.write_bytes((first / "model.pt").read_bytes())
    spec = spec_from(file, freeze="trunk", sampler={"name": "partial_fc", "rate": 0.5})
    train(spec, tiny_data, tmp_path / "whole")
    leave_one_epoch(spec, tiny_data, tmp_path / "cut", monkeypatch)
    file.unlink()
    train(spec, tiny_data, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_another_file_is_another_run(first, tiny_data, tmp_path, monkeypatch):
    file = tmp_path / "w.pt"
    file.write_bytes((first / "model.pt").read_bytes())
    spec = spec_from(file)
    leave_one_epoch(spec, tiny_data, tmp_path / "run", monkeypatch)
    changed = torch.load(file, weights_only=True)
    changed["backbone"]["fc.weight"] *= 2
    torch.save(changed, file)
    other = spec_from(file)
    assert other.hash != spec.hash
    assert spec.model_copy(update={"backbone": spec.backbone.model_copy(
        update={"weights": "/elsewhere"})}).hash == spec.hash  # fmt: skip
    started: list[int] = []
    original = Trainer.train_step

    def watch(self: Trainer, *args: Any) -> Any:
        started.append(self.step)
        return original(self, *args)

    monkeypatch.setattr(Trainer, "train_step", watch)
    train(other, tiny_data, tmp_path / "run")
    assert started[0] == 0, "it resumed from the checkpoint of another file's run"
    with pytest.raises(UserError, match="get the right file"):
        train(spec, tiny_data, tmp_path / "new")


def test_weights_that_do_not_fit_leave_no_result(first, tiny_data, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match="does not have the weights of backbone 'tiny'"):
        train(spec_from(tmp_path / "w.pt"), tiny_data, tmp_path / "run")
    nameless = spec_from(first / "model.pt").backbone.model_copy(update={"sha256": None})
    spec = run_spec().model_copy(update={"backbone": nameless})
    with pytest.raises(UserError, match="its spec has no sha256"):
        train(spec, tiny_data, tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("freeze", ["trunk", ["trunk.0", "trunk.1"], "all"])
def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(freeze, first, tiny_data, tmp_path):
    train(spec_from(first / "model.pt", freeze=freeze), tiny_data, tmp_path)
    before, after = weights(first), weights(tmp_path)
    names = [freeze] if isinstance(freeze, str) else freeze
    prefixes = ["" if name == "all" else f"{name}." for name in names]
    frozen = {name for name in before if any(name.startswith(prefix) for prefix in prefixes)}
    assert {name for name in before if torch.equal(before[name], after[name])} == (
        frozen | {"features.weight"}
    )
    assert any("running_mean" in name for name in frozen)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dense", "streamed"])
@pytest.mark.parametrize("sampler", ["full", {"name": "broadface", "size": 40}])
def test_centres_alone_learn_with_every_backend(backend, sampler, first, tiny_data, tmp_path):
    spec = spec_from(first / "model.pt", freeze="all", sampler=sampler, backend=backend, epochs=2)
    result = train(spec, tiny_data, tmp_path)
    assert result["final_loss"] < 0.99 * _first_loss(tmp_path)


def _first_loss(out: Path) -> float:
    import json

    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return next(line["loss"] for line in lines if line["event"] == "step")


def test_a_module_that_does_not_exist_is_refused(first, tiny_data, tmp_path):
    with pytest.raises(UserError, match=r"no module 'layer1' .*Allowed: all, trunk, fc, features"):
        train(spec_from(first / "model.pt", freeze="layer1"), tiny_data, tmp_path)
