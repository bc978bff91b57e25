"""TorchScript archives of strangers: what they give, and what is refused before it can act."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frcore.errors import UserError
from frcore.models.networks import TorchScriptNetwork
from frcore.models.torchscript_file import FILE_OPERATORS
from tests.models.making import (
    Linear,
    expected,
    some_images,
    tiny_torchscript,
    torchscript_section,
)


def refusal(path: Path, images: np.ndarray | None = None, **changes) -> str:
    def use() -> None:
        network = TorchScriptNetwork(torchscript_section(path, **changes))
        network(some_images(1) if images is None else images)

    with pytest.raises(UserError) as caught:
        use()
    return str(caught.value)


class Saves(Linear):
    """Writes a file as it runs."""

    def forward(self, image: Tensor) -> Tensor:
        torch.save(image, "written")
        return image.flatten(1) @ self.weight


class Reads(Linear):
    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1) @ self.weight + torch.from_file("secret", False, 8)


class Forks(Linear):
    def forward(self, image: Tensor) -> Tensor:
        future = torch.jit.fork(torch.flatten, image, 1)
        return torch.jit.wait(future) @ self.weight


class Prints(Linear):
    def forward(self, image: Tensor) -> Tensor:
        print(image)
        return image.flatten(1) @ self.weight


class Inner(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        torch.save(image, "written")
        return image


class Nested(Linear):
    """Hides the writing in a sub-module, behind a condition."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, image: Tensor) -> Tensor:
        if bool(image.sum() > 0):
            image = self.inner(image)
        return image.flatten(1) @ self.weight


class OnLoading(Linear):
    """Writes a file when the archive is read, before any graph can be looked at."""

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]):
        self.weight = state[0]
        self.training = state[1]
        torch.save(state[0], "written")


class Length(Linear):
    """Writes a file where Python asks for its truth."""

    @torch.jit.export
    def __len__(self) -> int:
        torch.save(self.weight, "written")
        return 1


class Two(Linear):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image.flatten(1) @ self.weight, image


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_embeddings_are_those_of_the_formula(here, colour):
    network = TorchScriptNetwork(
        torchscript_section(tiny_torchscript(here / "m.pt"), colour=colour)
    )
    images = some_images(5)
    out = network(images)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected(images, colour), rtol=1e-4, atol=1e-3)


def test_a_traced_network_runs_in_eval_mode(here):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.5), nn.BatchNorm1d(4),
    )  # fmt: skip
    module.eval()
    torch.jit.script(module.train()).save("m.pt")
    images = some_images(3)
    out = TorchScriptNetwork(torchscript_section(here / "m.pt", mean=0, std=255))(images)
    with torch.no_grad():
        values = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        np.testing.assert_allclose(out, module.eval()(values).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("module", "part"),
    [
        (Saves, "aten::save"),
        (Nested, "aten::save"),
        (Length, "aten::save"),
        (Reads, "aten::from_file"),
        (Forks, "prim::fork"),
        (Prints, "prim::Print"),
        (OnLoading, "__setstate__"),
    ],
)
def test_what_reaches_beyond_the_graph_is_refused_before_it_runs(here, module, part):
    path = tiny_torchscript(here / "m.pt", module())
    Path("written").unlink(missing_ok=True)
    assert part in refusal(path)
    assert not Path("written").exists()


def test_the_trap_on_loading_would_have_worked(here):
    path = tiny_torchscript(here / "m.pt", OnLoading())
    torch.jit.load(str(path))
    assert Path("written").exists(), "otherwise the test above proves nothing"


def test_the_files_that_torchs_operators_open_are_all_known():
    named = {
        schema.name
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("aten::")
        for argument in schema.arguments
        if "str" in str(argument.type) and ("file" in argument.name or "path" in argument.name)
    }
    assert named <= FILE_OPERATORS
    assert {schema.name for schema in torch._C._jit_get_all_schemas()} >= FILE_OPERATORS


def test_objects_of_built_in_classes_are_refused(here):
    path = tiny_torchscript(here / "m.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile("other.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("/data.pkl"):
                # A pickle that names one of torch's own classes.
                content = b"\x80\x02c__torch__.torch.classes.dist_c10d\nFileStore\n)\x81."
            new.writestr(name, content)
    assert "__torch__.torch.classes.dist_c10d.FileStore" in refusal(here / "other.pt")


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


def test_a_pickled_module_is_refused_unread(here):
    torch.save({"model": Trap()}, "m.pt")
    assert "pickled Python objects" in refusal(here / "m.pt")
    assert not Path("trapped").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage" * 30])
def test_other_files_are_refused(here, content):
    Path("m.pt").write_bytes(content)
    assert "m.pt" in refusal(here / "m.pt")


def test_a_file_cut_short_is_refused(here):
    path = tiny_torchscript(here / "m.pt")
    path.write_bytes(path.read_bytes()[:-200])
    assert "m.pt" in refusal(path)


def test_images_that_do_not_fit_are_refused(here):
    path = tiny_torchscript(here / "m.pt")
    assert "(1, 3, 24, 24)" in refusal(path, some_images(1, 24))
    assert "takes images of 16 pixels" in refusal(path, some_images(1, 24), size=16)


def test_two_outputs_are_refused(here):
    assert "gives a tuple" in refusal(tiny_torchscript(here / "m.pt", Two()))
