"""An older result stays until the new one is whole, and a kill at any moment loses no epoch."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frcore.errors import UserError
from frcore.machine.faults import RefusedError
from frcore.results.reading import read_run
from frcore.study.expansion import RunSpec
from frcore.training import train as run_module
from frcore.training.loop import Trainer
from frcore.training.run_folder import FILES, UNFINISHED
from frcore.training.train import train
from tests.training.conftest import run_spec
from tests.training.test_train import TIMES, assert_same_run

OLD, NEW = run_spec("softmax", epochs=1), run_spec("adacos", epochs=2)


def content(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES if (out / name).exists()}


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


@pytest.fixture(scope="module")
def old(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("old")
    train(OLD, tiny_data, out)
    return out


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train(NEW, tiny_data, out)
    return out


def interrupted(*_: Any) -> Any:
    raise KeyboardInterrupt


def disk_full(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


Breaks = Callable[[pytest.MonkeyPatch], None]
ENDINGS: dict[str, tuple[type[BaseException], Breaks]] = {
    "Ctrl-C": (KeyboardInterrupt, lambda patch: patch.setattr(Trainer, "train_epoch", interrupted)),
    "disk full": (RefusedError, lambda patch: patch.setattr(run_module, "save_model", disk_full)),
    "disk full at the end": (
        RefusedError,
        lambda patch: patch.setattr(run_module, "diagnose_run", disk_full),
    ),
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_training_that_ends_early_leaves_the_older_result(
    ending: str, old: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = shutil.copytree(old, tmp_path / "run")
    before = content(out)
    assert set(before) == set(FILES)
    error, breaks = ENDINGS[ending]
    with monkeypatch.context() as patch, pytest.raises(error):  # noqa: PT012
        breaks(patch)
        train(NEW, tiny_data, out)
    assert content(out) == before
    assert read_run(out, OLD).usable
    assert read_run(out, NEW).status == ("unfinished" if error is KeyboardInterrupt else "failed")

    train(NEW, tiny_data, out)
    assert read_run(out, NEW).usable
    assert names(out) == {*FILES, "checkpoint.pt"}


def test_a_training_that_cannot_begin_leaves_the_older_result(
    old: Path, tiny_data: Path, tmp_path: Path
):
    out = shutil.copytree(old, tmp_path / "run")
    before = content(out)
    image = NEW.image.model_copy(update={"size": 32})
    for spec, data in ((NEW, tmp_path / "nowhere"), (NEW.model_copy(update={"image": image}),
                                                     tiny_data)):  # fmt: skip
        with pytest.raises(UserError):
            train(spec, data, out)
        assert content(out) == before
        assert names(out) == {*FILES, "checkpoint.pt", "failure.json"}
        assert read_run(out, OLD).usable
        assert read_run(out, spec).status == "failed"


def _dies_at(n: int, spec: str, data: Path, out: Path, code: str) -> None:
    """Train, and be gone just before the n-th time that something is renamed, made or removed."""
    seen = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == n:
                os._exit(9)
            return original(*args, **options)

        return wrapped

    for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    # In this child alone; the code's fingerprint is the parent's, which saves its computation.
    Trainer.train_epoch = interrupted  # type: ignore[method-assign]
    run_module.run_code = lambda *_, **__: code
    train(RunSpec.model_validate_json(spec), data, out)


@pytest.mark.slow
@pytest.mark.long
def test_a_kill_after_the_last_epoch_repeats_the_end_alone(
    old: Path, whole: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Killed before each step of the end in turn, over an older result of another spec."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.test_run_folder"])
    monkeypatch.setattr(Trainer, "train_epoch", interrupted)
    before, code = content(old), run_module.run_code(NEW, "synthetic", in_place=False)
    states: list[str] = []
    while not states or states[-1] != "done":
        out = shutil.copytree(old, tmp_path / str(len(states)))
        shutil.copyfile(whole / "checkpoint.pt", out / "checkpoint.pt")
        args = (len(states) + 1, NEW.model_dump_json(), tiny_data, out, code)
        child = context.Process(target=_dies_at, args=args)
        child.start()
        child.join(600)
        assert child.exitcode in (0, 9)
        if child.exitcode == 0:
            states.append("done")
        elif content(out) == before:
            states.append("old")
        elif not (out / "result.json").exists():
            states.append("unfinished")
            assert not read_run(out, OLD).usable
            assert not read_run(out, NEW).usable
        else:
            states.append("new")
            assert read_run(out, NEW).usable
        train(NEW, tiny_data, out)
        assert_same_run(out, whole)
        for name in ("result.json", "diagnostics.json"):
            one, other = (json.loads((place / name).read_text()) for place in (out, whole))
            assert {k: v for k, v in one.items() if k not in TIMES} == {
                k: v for k, v in other.items() if k not in TIMES
            }
        assert names(out) == {*FILES, "checkpoint.pt"}
        shutil.rmtree(out)
    # Each kind of state was met, one after the other.
    assert list(dict.fromkeys(states)) == ["old", "unfinished", "new", "done"]
    assert states.count("unfinished") == 1 + len(FILES)  # "failure.json" goes as well


def test_the_present_attempt_is_what_watch_sees(old: Path, tmp_path: Path):
    out = shutil.copytree(old, tmp_path / "run")
    (out / UNFINISHED).mkdir()
    (out / UNFINISHED / "run.json").write_text(json.dumps({"spec_hash": NEW.hash}))
    assert read_run(out, NEW).status == "unfinished"
    assert read_run(out, OLD).usable
