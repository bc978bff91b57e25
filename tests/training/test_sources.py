"""A run does not depend on how its training set is stored: copied, or in place in any format."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from frcore.data import loader
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.study.expansion import TrainDataSpec
from frcore.training.loop import Trainer
from frcore.training.train import train
from tests.training.conftest import IMAGE, run_spec
from tests.training.test_train import assert_same_run

SPEC = run_spec("arcface", epochs=2, loader_threads=2,
                augment={"crop": 0.3, "low_resolution": 0.3, "colour": 0.3})  # fmt: skip


@pytest.fixture(scope="module")
def people(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny training set as a folder of PNG files, which keep every pixel."""
    root = tmp_path_factory.mktemp("people")
    data = Prepared.open(tiny_data)
    for row, label in enumerate(data.labels):
        (root / f"{label:02d}").mkdir(exist_ok=True)
        Pillow.fromarray(data.images[row]).save(root / f"{label:02d}" / f"{row:03d}.png")
    return root


@pytest.fixture(scope="module")
def copied(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on copied images."""
    out = tmp_path_factory.mktemp("copied")
    prepared({"kind": "folder", "root": str(people)}, out / "data")
    train(SPEC, out / "data", out / "run")
    return out / "run"


def prepared(data: dict[str, Any], out: Path) -> None:
    prepare(TrainDataSpec.model_validate({"image": IMAGE.model_dump(), "data": data}), out)


def as_folder(people: Path, out: Path) -> dict[str, Any]:
    return {"kind": "folder", "root": str(people), "storage": "in_place"}


def as_list(people: Path, out: Path) -> dict[str, Any]:
    lines = [f"{path.relative_to(people)},{path.parent.name}" for path in files(people)]
    (out / "list.csv").write_text("\n".join(lines))
    return {"kind": "list", "root": str(people), "list": str(out / "list.csv")}


def as_parquet(people: Path, out: Path) -> dict[str, Any]:
    table = pa.table({"image": [path.read_bytes() for path in files(people)],
                      "label": [int(path.parent.name) for path in files(people)]})  # fmt: skip
    pq.write_table(table, out / "train.parquet", row_group_size=7)
    return {"kind": "parquet", "root": str(out / "train.parquet")}


def as_tar(people: Path, out: Path) -> dict[str, Any]:
    with tarfile.open(out / "train.tar", "w") as tar:
        for path in files(people):
            for name, content in (
                (f"{path.stem}.png", path.read_bytes()),
                (f"{path.stem}.cls", path.parent.name.encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return {"kind": "tar", "root": str(out / "train.tar")}


def files(people: Path) -> list[Path]:
    return sorted(people.glob("*/*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("stored", [as_folder, as_list, as_parquet, as_tar])
def test_every_format_gives_the_same_run(
    people: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Any
):
    prepared(stored(people, tmp_path), tmp_path / "data")
    assert Prepared.open(tmp_path / "data").manifest.storage == "in_place"
    # Decoded in every epoch, as it is where there are too many images to keep.
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    train(SPEC, tmp_path / "data", tmp_path / "run")
    assert_same_run(tmp_path / "run", copied)


@pytest.mark.slow
def test_a_source_that_changes_during_a_training_is_refused_and_moved_ones_are_followed(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(people, tmp_path / "people")
    data = {"kind": "folder", "root": str(tmp_path / "people"), "storage": "in_place"}
    prepared(data, tmp_path / "data")
    first = files(tmp_path / "people")[0]
    content, epoch = first.read_bytes(), Trainer.train_epoch

    def changed_after(trainer: Trainer, *arguments: Any) -> Any:
        first.write_bytes(content + b"\0")
        return epoch(trainer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", changed_after)
        with pytest.raises(UserError, match=f"{first.name}: had {len(content)} bytes"):
            train(SPEC, tmp_path / "data", tmp_path / "run")
    # Not even where it is put back: nobody knows what the epochs were of.
    assert not list((tmp_path / "run").rglob("*.pt"))
    first.write_bytes(content)
    place = (tmp_path / "people").rename(tmp_path / "moved")
    train(SPEC, tmp_path / "data", tmp_path / "run", place=place)
    assert (tmp_path / "run" / "result.json").is_file()
