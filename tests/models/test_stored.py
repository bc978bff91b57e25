"""Stored embeddings: rows by order and by name, and files that are refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frcore.errors import UserError
from frcore.models.stored import stored_embeddings
from frcore.study.models import StoredEmbeddings

NAMES = pd.Series([f"p{i}/{i}.jpg" for i in range(6)], dtype="str")
ROWS = np.array([1, 3, 4])


def section(path: Path, names: Path | None = None) -> StoredEmbeddings:
    return StoredEmbeddings.model_validate(
        {"label": "m", "kind": "embeddings", "files": {"b": str(path)},
         "names": {"b": str(names)} if names else {}}
    )  # fmt: skip


def refusal(path: Path, names: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        stored_embeddings(section(path, names), "b", NAMES, ROWS)
    return str(caught.value)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, 4))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f4"])
def test_rows_are_those_of_the_index(tmp_path, vectors, dtype):
    np.save(tmp_path / "e.npy", vectors.astype(dtype))
    if dtype == ">f4":  # the other byte order is another type; say so, do not guess
        assert ">f4" in refusal(tmp_path / "e.npy")
        return
    out = stored_embeddings(section(tmp_path / "e.npy"), "b", NAMES, ROWS)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, vectors.astype(dtype)[[1, 3, 4]].astype(np.float32))


def test_rows_are_found_by_name_in_any_order_and_among_more(tmp_path, vectors):
    order = [5, 2, 4, 0, 3, 1]
    listed = [NAMES[i] for i in order] + ["another.jpg"]
    np.save(tmp_path / "e.npy", np.vstack([vectors[order], [9, 9, 9, 9]]).astype(np.float32))
    (tmp_path / "n.txt").write_text("\n".join(listed) + "\n")
    out = stored_embeddings(section(tmp_path / "e.npy", tmp_path / "n.txt"), "b", NAMES, ROWS)
    np.testing.assert_array_equal(out, vectors[ROWS].astype(np.float32))


def test_another_number_of_rows_is_refused(tmp_path, vectors):
    np.save(tmp_path / "e.npy", vectors[:5].astype(np.float32))
    message = refusal(tmp_path / "e.npy")
    assert "5 embeddings" in message
    assert "6 images" in message


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["a"] * 6, "duplicate names"),
        ([f"p{i}/{i}.jpg" for i in (0, 1, 2, 5, 7, 8)], "p3/3.jpg"),
        (["a"], "1 names"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path, vectors, lines, part):
    np.save(tmp_path / "e.npy", vectors.astype(np.float32))
    (tmp_path / "n.txt").write_text("\n".join(lines))
    assert part in refusal(tmp_path / "e.npy", tmp_path / "n.txt")


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("e.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert "e.npy" in refusal(tmp_path / "e.npy")
    # A pickle alone, of which numpy says how to load it unsafely.
    Path("e.npy").write_bytes(pickle.dumps(Trap()))
    message = refusal(tmp_path / "e.npy")
    assert "another kind of file, or holds pickled objects; write it with numpy.save" in message
    assert "trust" not in message
    assert "allow_pickle" not in message
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((6, 4)), "float64"),
        (np.zeros((6, 4, 1), np.float32), "(6, 4, 1)"),
        (np.zeros((6, 1), np.float32), "1 numbers"),
        (np.zeros((6, 4), np.int8), "int8"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, array, part):
    np.save(tmp_path / "e.npy", array)
    assert part in refusal(tmp_path / "e.npy")


def test_archives_and_garbage_are_refused(tmp_path, vectors):
    np.savez(tmp_path / "e.npz", vectors)
    assert "archive" in refusal(tmp_path / "e.npz")
    for content in (b"", b"garbage", b"\x93NUMPY\x01\x00"):
        (tmp_path / "g.npy").write_bytes(content)
        assert "g.npy" in refusal(tmp_path / "g.npy")


def test_a_header_that_promises_too_much_is_refused(tmp_path, vectors):
    path = tmp_path / "e.npy"
    np.save(path, vectors.astype(np.float32))
    path.write_bytes(path.read_bytes()[:-8])
    assert "e.npy" in refusal(path)


def test_all_rows_of_a_file_are_not_copied(tmp_path, vectors):
    np.save(tmp_path / "e.npy", vectors.astype(np.float16))
    out = stored_embeddings(section(tmp_path / "e.npy"), "b", NAMES, np.arange(6))
    assert isinstance(out, np.memmap)
    np.testing.assert_array_equal(out, vectors.astype(np.float16))
