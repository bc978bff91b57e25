"""Whole runs: they repeat themselves, resume exactly, and fail with a diagnosis."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.machine.reproducible import reproducible
from frcore.models.own import load_backbone
from frcore.provenance import fingerprint
from frcore.study.parts import Schedule
from frcore.training import train as run_module
from frcore.training.loop import Trainer, TrainingFailedError
from frcore.training.run_folder import UNFINISHED
from frcore.training.train import train
from tests.training.conftest import leave_one_epoch, run_spec

EVERYTHING = {
    "name": "broadface",
    "size": 40,
    "over": {"name": "partial_fc", "rate": 0.5},
}
TIMES = {"seconds", "images_per_second"}


def lines(out: Path) -> list[dict[str, Any]]:
    """The run's metrics without what depends on the clock."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "model.pt", weights_only=True)["backbone"]


def assert_same_run(one: Path, other: Path) -> None:
    assert lines(one) == lines(other)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(other)[name], tensor, rtol=0, atol=0)


def test_a_run_learns_and_tells_what_it_did(tiny_data: Path, tmp_path: Path):
    result = train(run_spec(epochs=6), tiny_data, tmp_path)
    epochs = [line for line in lines(tmp_path) if line["event"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["loss"] < 0.7 * epochs[0]["loss"]
    assert epochs[-1]["target_angle"] < epochs[0]["target_angle"] - 10
    assert 80 < epochs[-1]["negative_angle"] < 105
    assert sum(epochs[0]["target_histogram"]) > 0
    assert result["final_loss"] == epochs[-1]["loss"]
    assert result["steps"] == 6 * (12 * 8 // 16)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["spec_hash"] == run_spec(epochs=6).hash
    assert record["environment"]["versions"]["torch"]


@pytest.mark.parametrize("head", ["softmax", "normface"])
def test_target_cosines_are_cosines_whatever_the_head_makes_of_them(head: str, tiny_data: Path):
    batches = Batches(Prepared.open(tiny_data), 16, seed=0, device="cpu", flip=False)
    trainer = Trainer(run_spec(head), batches, 12)
    with torch.no_grad():
        trainer.classifier.centers *= 300  # norms of 10 and more: x̂ · w is far above 1
    images, label_N = next(iter(batches.epoch(0)))
    before_CD = trainer.classifier.centers.detach().double().clone()
    output, embedding_ND = trainer.train_step(images, label_N)
    for k, label in enumerate(label_N.tolist()):
        x, w = embedding_ND[k].double(), before_CD[label]
        cosine = (x @ w / (x.norm() * w.norm())).item()
        assert output.target_cosine_N[k].item() == pytest.approx(cosine, abs=1e-5)


@pytest.mark.slow
def test_two_runs_are_identical_and_two_seeds_are_not(tiny_data: Path, tmp_path: Path):
    spec = run_spec("adacos", EVERYTHING, epochs=2)
    train(spec, tiny_data, tmp_path / "a")
    torch.manual_seed(123)  # what ran before must not matter
    train(spec, tiny_data, tmp_path / "b")
    assert_same_run(tmp_path / "a", tmp_path / "b")
    train(run_spec("adacos", EVERYTHING, epochs=2, seed=1), tiny_data, tmp_path / "c")
    assert lines(tmp_path / "c") != lines(tmp_path / "a")
    augment = {"crop": 0.2}
    train(run_spec("adacos", EVERYTHING, epochs=2, augment=augment), tiny_data, tmp_path / "d")
    assert lines(tmp_path / "d") != lines(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "sampler", "augment"),
    [
        ("adacos", EVERYTHING, None),
        ("arcface", {"name": "partial_fc", "rate": 0.3}, None),
        ("softmax", "full", {"crop": 0.5, "low_resolution": 0.5, "colour": 0.5}),
    ],
)
def test_a_run_cut_off_resumes_exactly(
    head: str,
    sampler: Any,
    augment: Any,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    spec = run_spec(head, sampler, augment=augment)
    train(spec, tiny_data, tmp_path / "whole")

    original = Trainer.train_step

    def cut_off(self: Trainer, *args: Any) -> Any:
        if self.step == 9:  # in the middle of the second of three epochs
            raise KeyboardInterrupt
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(spec, tiny_data, tmp_path / "cut")
    assert not (tmp_path / "cut" / "result.json").exists()

    # A resumed run needs none of it: the lines so far are in the checkpoint.
    for path in (tmp_path / "cut" / UNFINISHED).iterdir():
        path.unlink()
    started_at: list[int] = []

    def watch(self: Trainer, *args: Any) -> Any:
        started_at.append(self.step)
        return original(self, *args)

    monkeypatch.setattr(Trainer, "train_step", watch)
    torch.manual_seed(99)
    train(spec, tiny_data, tmp_path / "cut")
    assert started_at[0] == 6, "it started again instead of resuming"
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_kill_minus_nine_leaves_a_run_that_resumes(tiny_data: Path, tmp_path: Path):
    spec = run_spec("adacos", EVERYTHING, epochs=12)
    code = (
        "import sys; from pathlib import Path; from frcore.study.expansion import RunSpec;"
        "from frcore.training.train import train;"
        "train(RunSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, spec.model_dump_json(), str(tiny_data)]
    killed = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "checkpoint.pt").exists():
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "result.json").exists()

    again = subprocess.run(
        [*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True
    )
    assert "resuming after epoch" in again.stderr
    subprocess.run([*command, str(tmp_path / "whole")], check=True, stderr=subprocess.DEVNULL)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def epochs_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the epochs that are trained from now on."""
    seen: list[int] = []
    original = Trainer.train_epoch

    def watch(self: Trainer, *args: Any) -> Any:
        seen.append(self.epoch)
        return original(self, *args)

    monkeypatch.setattr(Trainer, "train_epoch", watch)
    return seen


@pytest.mark.slow
def test_a_checkpoint_of_another_run_or_other_code_is_not_used(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    leave_one_epoch(run_spec(), tiny_data, tmp_path, monkeypatch)
    seen = epochs_run(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "run_code", lambda *args, **kw: "other code")
        train(run_spec(), tiny_data, tmp_path)
    assert seen == [0, 1, 2]
    leave_one_epoch(run_spec(), tiny_data, tmp_path, monkeypatch)
    seen.clear()
    train(run_spec(learning_rate=0.04), tiny_data, tmp_path)
    assert seen == [0, 1, 2]


OWN_HEAD = """
from frcore.heads.cosface import CosFace
from own_margins import margin

class Mine(CosFace):
    def target(self, cosine_N, batch):
        return cosine_N - margin()
"""


@pytest.mark.slow
def test_the_helper_of_an_own_head_belongs_to_the_code_of_a_checkpoint(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own_head.py").write_text(OWN_HEAD)
    helper = tmp_path / "own_margins.py"
    monkeypatch.syspath_prepend(tmp_path)
    seen = epochs_run(monkeypatch)
    for text, epochs in (("# a comment", [1, 2]), ("    # and\n    return 0.2", [0, 1, 2])):
        out = tmp_path / f"run{len(epochs)}"
        helper.write_text("def margin():\n    return 0.1\n")
        fingerprint._code.cache_clear()  # as in a process of its own
        leave_one_epoch(run_spec("own_head:Mine"), tiny_data, out, monkeypatch)
        helper.write_text("def margin():\n" + text + "\n    return 0.1\n")
        fingerprint._code.cache_clear()
        seen.clear()
        train(run_spec("own_head:Mine"), tiny_data, out)
        assert seen == epochs


@pytest.mark.slow
def test_a_damaged_checkpoint_starts_afresh(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = epochs_run(monkeypatch)
    leave_one_epoch(run_spec(), tiny_data, tmp_path, monkeypatch)
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    seen.clear()
    train(run_spec(), tiny_data, tmp_path)
    assert seen == [0, 1, 2]


def test_nan_stops_the_run_with_a_diagnosis(tiny_data: Path, tmp_path: Path):
    spec = run_spec("softmax", learning_rate=1e18, clip_norm=None)
    with pytest.raises(TrainingFailedError, match=r"loss is (nan|inf).*training\.learning_rate"):
        train(spec, tiny_data, tmp_path)
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert failure["status"] == "failed"
    assert failure["diagnosis"]["learning_rate"] > 1e16
    assert failure["diagnosis"]["rows_not_finite"] > 0
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "model.pt").exists()


def test_a_failure_of_yesterday_is_gone_after_a_good_run(tiny_data: Path, tmp_path: Path):
    (tmp_path / "failure.json").write_text("{}")
    train(run_spec(epochs=1, schedule={"kind": "poly"}), tiny_data, tmp_path)
    assert not (tmp_path / "failure.json").exists()


def test_data_of_another_size_are_refused(tiny_data: Path, tmp_path: Path):
    spec = run_spec()
    other = spec.model_copy(update={"image": spec.image.model_copy(update={"size": 32})})
    with pytest.raises(UserError, match=r"24×24 but image\.size is 32"):
        train(other, tiny_data, tmp_path)


def test_the_trained_backbone_is_read_back(tiny_data: Path, tmp_path: Path):
    train(run_spec(epochs=1, schedule={"kind": "poly"}), tiny_data, tmp_path)
    backbone = load_backbone(tmp_path)
    assert not backbone.training
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 24, 24)).shape == (1, 16)


def test_a_model_file_with_code_in_it_is_refused(tmp_path: Path):
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    (tmp_path / "model.pt").write_bytes(pickle.dumps({"spec": "{}", "backbone": Bomb()}))
    with pytest.raises(UserError, match=r"model\.pt is not a model file"):
        load_backbone(tmp_path)
    assert not (tmp_path / "exploded").exists()


class Touch:
    """Pickled, it makes a file when it is read."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def _write_torchscript(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def _write_cut(path: Path) -> None:
    torch.save({"spec": "{}", "backbone": {}}, path)
    path.write_bytes(path.read_bytes()[:-40])


OTHER_FILES = {
    "it is empty": lambda path: path.touch(),
    "it is not an archive of torch.save": lambda path: path.write_bytes(b"garbage" * 9),
    "not an archive of torch.save": lambda path: path.write_bytes(pickle.dumps(Touch())),
    "truncated or damaged": _write_cut,
    "a TorchScript archive": _write_torchscript,
    "PosixPath), which can run anything": lambda path: torch.save({"m": Touch()}, path),
    "(numpy.": lambda path: torch.save({"m": torch.arange(3).numpy()}, path),
    "torch.nn.modules.linear.Linear": lambda path: torch.save(torch.nn.Linear(2, 2), path),
    "as a state dict does": lambda path: torch.save(torch.nn.Linear(2, 2).state_dict(), path),
    "without the spec": lambda path: torch.save([1, 2], path),
    "(image: Field required)": lambda path: torch.save({"spec": "{}", "backbone": {}}, path),
    "it is a training checkpoint": lambda path: torch.save({"classifier": {}}, path),
}


@pytest.mark.parametrize("what", OTHER_FILES)
def test_other_files_are_said_to_be_what_they_are(tmp_path: Path, monkeypatch, what: str):
    """Without torch's advice to load them all the same, with `weights_only=False`."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    OTHER_FILES[what](path)
    with pytest.raises(UserError) as caught:
        load_backbone(tmp_path)
    message = str(caught.value)
    assert what in message
    assert "give the model.pt of a run" in message
    for advice in ("weights_only", "trust", "allowlist", "Re-running"):
        assert advice not in message
    assert not Path("trapped").exists()


def test_a_missing_model_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"model\.pt does not exist; train the run first"):
        load_backbone(tmp_path)


@pytest.mark.slow
def test_options_for_speed_train_the_same_up_to_rounding(tiny_data: Path, tmp_path: Path):
    """One epoch, as rounding grows; and no option is in the spec of a run without it."""
    plain, fast = (
        run_spec(epochs=1, schedule=Schedule()),
        {"channels_last": True, "fused_sgd": True},
    )
    assert not {"channels_last", "fused_sgd", "compile"} & plain.training.model_dump().keys()
    train(plain, tiny_data, tmp_path / "plain")
    train(run_spec(epochs=1, schedule=Schedule(), **fast), tiny_data, tmp_path / "fast")
    for name, tensor in weights(tmp_path / "plain").items():
        found = weights(tmp_path / "fast")[name]
        torch.testing.assert_close(found, tensor, rtol=1e-2, atol=1e-3)


def test_options_for_speed_reach_the_backbone(tiny_data: Path, monkeypatch: pytest.MonkeyPatch):
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    training = run_spec(channels_last=True, fused_sgd=True, compile=True).training
    spec = run_spec().model_copy(update={"training": training})
    batches = Batches(Prepared.open(tiny_data), 16, 0, channels_last=True)
    trainer = Trainer(spec, batches, 12)
    assert compiled == [trainer.backbone]
    assert trainer.backbone_optimizer.defaults["fused"] is True
    images, _ = next(batches.epoch(0))
    assert images.is_contiguous(memory_format=torch.channels_last)
    kernels = [p for p in trainer.backbone.parameters() if p.dim() == 4 and p.shape[1] > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


def test_what_only_a_gpu_has():
    for option in ({"cudnn_benchmark": True}, {"deterministic": False}):
        with pytest.raises(ValueError, match="with device 'cpu', where neither has an effect"):
            run_spec(**option)
        assert run_spec(device="cuda", **option).training.loader_threads == 2
    assert run_spec().training.loader_threads == 1
    assert run_spec(device="cuda", loader_threads=5).training.loader_threads == 5
    before = torch.backends.cudnn.benchmark
    with reproducible(0, 1, "cuda", deterministic=False, cudnn_benchmark=True):
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before
