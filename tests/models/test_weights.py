"""Files of weights as users have them, against networks with arcface_torch's names."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from frcore.backbones import build_backbone
from frcore.errors import UserError
from frcore.evaluation.evaluate_model import open_network
from frcore.models.weights import load_weights
from frcore.study.models import CheckpointModel
from tests.models.arcface_torch import TheirIResNet, TheirMobileFaceNet, give_values
from tests.models.making import some_images

SIZE, DIM = 32, 16
NETWORKS = {
    "iresnet18": lambda: TheirIResNet((2, 2, 2, 2), SIZE, DIM),
    "iresnet50": lambda: TheirIResNet((3, 4, 14, 3), SIZE, DIM),
    "mobilefacenet": lambda: TheirMobileFaceNet(SIZE, DIM),
}


def ours(name: str = "mobilefacenet", **parameters: Any) -> torch.nn.Module:
    return build_backbone(name, **{"image_size": SIZE, "dim": DIM, **parameters})


@pytest.fixture(scope="module")
def theirs() -> torch.nn.Module:
    """A trained one."""
    return give_values(NETWORKS["mobilefacenet"]())


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", sorted(NETWORKS, reverse=True))
def test_embeddings_are_theirs_to_the_bit(name, tmp_path):
    network = give_values(NETWORKS[name]())
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    backbone = ours(name)
    load_weights(tmp_path / "backbone.pth", backbone, name)
    images = torch.rand(3, 3, SIZE, SIZE) * 2 - 1
    with torch.inference_mode():
        wanted = network(images)
        assert wanted.std() > 1e-3
        assert torch.equal(backbone.eval()(images), wanted)


def wrapped(before: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {before + name: tensor for name, tensor in state.items()}


def in_lightning(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {"epoch": 3, "state_dict": {**wrapped("backbone.", state), "fc7": torch.zeros(5, 2)}}


FORMS = {
    "DataParallel": lambda state: wrapped("module.", state),
    "compiled": lambda state: wrapped("_orig_mod.", state),
    "compiled and parallel": lambda state: wrapped("_orig_mod.module.", state),
    "parallel and compiled": lambda state: wrapped("module._orig_mod.", state),
    "a compiled part": lambda state: {
        name.replace("conv_sep.", "conv_sep._orig_mod."): tensor for name, tensor in state.items()
    },
    "checkpoint_gpu_0.pt": lambda state: {
        "epoch": 3,
        "global_step": 9,
        "state_dict_backbone": state,
        "state_dict_softmax_fc": {"weight": torch.zeros(4, DIM)},
        "state_optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "state_lr_scheduler": {"last_epoch": 9, "base_lrs": [0.1]},
    },
    "a dict": lambda state: {"state_dict": wrapped("module.", state), "arch": "mbf"},
    "a dict in a dict": lambda state: {"model": {"state_dict": state}, "epoch": 3},
    "a larger network": in_lightning,
    "a list of pairs": collections.OrderedDict,
    "before batches were counted": lambda state: {
        name: tensor for name, tensor in state.items() if "num_batches" not in name
    },
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("form", FORMS)
def test_files_as_trainers_leave_them(form, theirs, tmp_path):
    torch.save(FORMS[form](theirs.state_dict()), tmp_path / "f.pt")
    check_loaded(tmp_path / "f.pt", theirs)


@pytest.mark.parametrize("old", [False, True])
def test_other_formats_of_a_file(old, theirs, tmp_path):
    path = tmp_path / "f"
    if old:
        torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        save_file(theirs.state_dict(), path)
    check_loaded(path, theirs)


def check_loaded(path: Path, theirs: torch.nn.Module) -> None:
    backbone = ours()
    load_weights(path, backbone, "mobilefacenet")
    images = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(backbone.eval()(images), theirs(images))


def test_half_precision_is_converted(theirs, tmp_path):
    halves = {n: t.half() if t.is_floating_point() else t for n, t in theirs.state_dict().items()}
    torch.save(halves, tmp_path / "f.pt")
    backbone = ours()
    load_weights(tmp_path / "f.pt", backbone, "mobilefacenet")
    assert backbone.fc.weight.dtype == torch.float32
    assert torch.equal(backbone.fc.weight, halves["features.layers.2.weight"].float())


class Trap:
    """Pickled, it makes a file when it is read."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def _without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


LAST = "features.layers.3.running_var"
REFUSED = {
    "1 missing, 'features.running_var'": lambda state: _without(state, LAST),
    "1 not expected, 'more'": lambda state: {**state, "more": torch.zeros(1)},
    f"1 of another shape, '{LAST}' (3,) where (16,) is needed": lambda state: {
        **state,
        LAST: torch.ones(3),
    },
    f"'{LAST}' has values that are not finite": lambda state: {
        **state,
        LAST: torch.full((DIM,), torch.nan),
    },
    f"no ordinary tensors of numbers, '{LAST}' torch.int64": lambda state: {
        **state,
        LAST: torch.ones(DIM, dtype=torch.int64),
    },
    "on meta": lambda state: {**state, LAST: torch.ones(DIM, device="meta")},
    "torch.sparse_coo": lambda state: {**state, LAST: torch.ones(DIM).to_sparse()},
    f"1 given twice, 'module.{LAST}'": lambda state: {**state, f"module.{LAST}": state[LAST]},
    "it is a list": lambda state: [state],
    "it is a dict of epoch, weights": lambda state: {"epoch": 3, "weights": state},
    "it is an empty dict": lambda state: {},
    "can run anything": lambda state: {**state, "trap": Trap()},
    "are those of iresnet18 with dim 16 on images of 32 px": lambda _: NETWORKS[
        "iresnet18"
    ]().state_dict(),
    "are those of mobilefacenet with dim 8 on images of 48 px": lambda _: TheirMobileFaceNet(
        48, 8
    ).state_dict(),
    "The file has 2 tensors, the first is 'weight' (2, 2)": lambda _: torch.nn.Linear(
        2, 2
    ).state_dict(),
    "U+001B": lambda state: {"\x1b[31m" + "x" * 10_000: torch.zeros(1)},
}


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_and_named(what, theirs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(REFUSED[what](theirs.state_dict()), "f.pt")
    with pytest.raises(UserError) as caught:
        load_weights("f.pt", ours(), "mobilefacenet")
    assert what in str(caught.value)
    assert "give" in str(caught.value)
    assert len(str(caught.value)) < 900
    assert not Path("trapped").exists()


def _cut(path: Path) -> None:
    torch.save({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-60])


def _torchscript(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def _cut_safetensors(path: Path) -> None:
    save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-60])


def _old_trap(path: Path) -> None:
    torch.save({"trap": Trap()}, path, _use_new_zipfile_serialization=False)


BROKEN = {
    "it is empty": lambda path: path.touch(),
    "not an archive of torch.save": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "it is not": lambda path: path.write_bytes(b"garbage" * 9),
    "truncated or damaged": _cut,
    "a TorchScript archive": _torchscript,
    "no whole safetensors file": _cut_safetensors,
    "pickled objects": _old_trap,
}


@pytest.mark.parametrize("what", BROKEN)
def test_other_files_run_nothing(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BROKEN[what](Path("f"))
    with pytest.raises(UserError) as caught:
        load_weights("f", ours(), "mobilefacenet")
    assert what in str(caught.value)
    for advice in ("weights_only", "trust", "allowlist"):
        assert advice not in str(caught.value)
    assert not Path("trapped").exists()


def test_another_file_than_the_wanted_one_is_refused(theirs, tmp_path):
    torch.save(theirs.state_dict(), tmp_path / "f.pt")
    with pytest.raises(UserError, match="get the right file"):
        load_weights(tmp_path / "f.pt", ours(), "mobilefacenet", sha256="0" * 64)
    with pytest.raises(UserError, match="is not a file; put it there"):
        load_weights(tmp_path / "none.pt", ours(), "mobilefacenet")


def section(path: Path, **settings: Any) -> CheckpointModel:
    return CheckpointModel.model_validate(
        {"label": "m", "kind": "checkpoint", "file": str(path), **settings}
    )


def test_weights_are_judged_where_their_backbone_is_named(theirs, tmp_path):
    torch.save(FORMS["checkpoint_gpu_0.pt"](theirs.state_dict()), tmp_path / "f.pt")
    network = {"name": "mobilefacenet", "dim": DIM}
    judged = open_network(section(tmp_path / "f.pt", backbone=network, size=SIZE))
    images = some_images(3, SIZE)
    with torch.inference_mode():
        wanted = theirs(torch.from_numpy(images).permute(0, 3, 1, 2).float().sub(127.5).div(127.5))
    torch.testing.assert_close(torch.from_numpy(judged(images)), wanted, rtol=1e-4, atol=1e-5)
    assert "weights of the backbone mobilefacenet" in judged.about
    with pytest.raises(UserError, match=r"name: `backbone: iresnet50`"):
        open_network(section(tmp_path / "f.pt"))
    with pytest.raises(UserError, match="are those of mobilefacenet with dim 16 on images of 32"):
        open_network(section(tmp_path / "f.pt", backbone={"name": "iresnet18"}))
