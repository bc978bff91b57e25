import json
import shutil

import numpy as np
import pandas as pd
import pytest

from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.tables import content_sha256, pixels
from frcore.errors import UserError
from tests.data.making import benchmark, train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    train(folder / "train", kind="synthetic", identities=3, images=2)
    benchmark(folder / "pairs", kind="synthetic_pairs", identities=20, images=2, pairs=20, folds=5)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_written_is_read(folder):
    data = Prepared.open(folder / "train")
    assert data.manifest.kind == "synthetic"
    assert data.manifest.colour == "RGB"
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable
    assert data.images.shape == (6, 16, 16, 3)
    assert data.labels.dtype == np.int64
    data.verify()
    Prepared.open(folder / "pairs").verify()


def test_a_changed_pixel_is_noticed(folder):
    path = folder / "train" / "images.npy"
    images = np.load(path)
    images[4, 3, 2, 1] ^= 1
    np.save(path, images)
    with pytest.raises(UserError, match="changed after they were prepared"):
        Prepared.open(folder / "train").verify()


@pytest.mark.parametrize("column", ["name", "identity", "label", "medium", "true_identity"])
def test_a_changed_row_of_the_index_is_noticed(folder, column):
    path = folder / "train" / "index.parquet"
    table = pd.read_parquet(path)
    table[column] = table[column].to_numpy()[[1, 2, 3, 4, 5, 0]]
    table.to_parquet(path)
    with pytest.raises(UserError, match="sha256"):
        Prepared.open(folder / "train").verify()


def test_a_reordered_list_of_pairs_is_noticed(folder):
    path = folder / "pairs" / "pairs.parquet"
    table = pd.read_parquet(path)
    table.iloc[[1, 0, *range(2, len(table))]].to_parquet(path)
    with pytest.raises(UserError, match="sha256"):
        Prepared.open(folder / "pairs").verify()


def test_the_hash_is_of_values_not_of_the_encoding(folder):
    path = folder / "train" / "index.parquet"
    pd.read_parquet(path).to_parquet(path, compression="gzip")
    Prepared.open(folder / "train").verify()


def test_texts_are_hashed_with_their_lengths():
    images = np.zeros((2, 1, 1, 3), np.uint8)
    table = pd.DataFrame({"name": ["ab", "c"], "identity": "x", "label": 0, "medium": 0,
                          "true_identity": "x"})  # fmt: skip
    moved = table.assign(name=["a", "bc"])
    first, second = (content_sha256(pixels(images), {"index": part}) for part in (table, moved))
    assert first != second


def test_not_a_prepared_folder(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Prepared.open(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        Prepared.open(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"format": 1}, "format 1"), ({"format": None}, "format None"),
     ({"images": "many"}, "cannot be read"), ({"unknown": 1}, "cannot be read"),
     ({"images": 7}, "damaged"), ({"image_size": 20}, "damaged")],
)  # fmt: skip
def test_a_manifest_that_does_not_fit(folder, changes, message):
    edit_manifest(folder / "train", **changes)
    with pytest.raises(UserError, match=message):
        Prepared.open(folder / "train")


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_manifest_that_is_no_manifest(folder, content):
    (folder / "train" / "manifest.json").write_text(content)
    with pytest.raises(UserError, match="frcore prepare"):
        Prepared.open(folder / "train")


@pytest.mark.parametrize("name", ["images.npy", "index.parquet", "pairs.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_missing_and_damaged_files(folder, name, content):
    path = folder / "pairs" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=name):
        Prepared.open(folder / "pairs")


def test_an_index_of_another_length(folder):
    path = folder / "train" / "index.parquet"
    pd.read_parquet(path).iloc[:-1].to_parquet(path)
    with pytest.raises(UserError, match="5 rows"):
        Prepared.open(folder / "train")


def test_a_label_without_a_class(folder):
    edit_manifest(folder / "train", label_range=[0, 1])
    with pytest.raises(UserError, match="label 2 of image 4"):
        _ = Prepared.open(folder / "train").labels


def test_a_table_of_another_protocol(folder):
    with pytest.raises(UserError, match="protocol 'train'"):
        _ = Prepared.open(folder / "train").pairs
