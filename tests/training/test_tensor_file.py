"""Files of tensors, written in one go or tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from frcore.centers import storage
from frcore.machine.faults import RefusedError, refusals_told
from frcore.training.tensor_file import own, read_tensors, tensors_of, write_tensors


def tree() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(6, 4, generator=generator)
    return {
        "number": 3,
        "none": None,
        "half": torch.randn(37, 3, generator=generator).bfloat16(),
        "nested": [torch.arange(9, dtype=torch.int16), {"scalar": torch.tensor(2.5)}, "text"],
        "views": (shared, shared[2:]),
        "transposed": torch.randn(5, 11, generator=generator).T,
        "bytes": torch.get_rng_state(),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(3, 2, generator=generator)),
    }


def assert_same(one: Any, other: Any) -> None:
    pairs = list(zip(tensors_of(one), tensors_of(other), strict=True))
    assert len(pairs) == 9
    for left, right in pairs:
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    assert other["number"] == 3
    assert other["none"] is None
    assert other["nested"][2] == "text"


@pytest.mark.parametrize("in_tiles", [None, False, True])
def test_what_was_written_is_read(in_tiles: bool | None, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(storage, "TILE", 4)
    path = tmp_path / "tree.pt"
    write_tensors(path, tree(), in_tiles=in_tiles)
    assert_same(tree(), torch.load(path, weights_only=True))
    read = read_tensors(path)
    assert_same(tree(), read)
    one, other = read["views"]
    assert one[2:].data_ptr() == other.data_ptr()


def test_reading_does_not_write_and_own_tensors_are_free_of_the_file(tmp_path: Path):
    path = tmp_path / "tree.pt"
    write_tensors(path, tree())
    read = own(read_tensors(path))
    mapped = read_tensors(path)
    mapped["half"].zero_()
    assert_same(tree(), read_tensors(path))
    path.write_bytes(bytes(path.stat().st_size))
    assert_same(tree(), read)


@pytest.mark.parametrize("in_tiles", [False, True])
def test_a_full_disk_is_told_and_not_the_end(small_disk, in_tiles):
    """Space is asked for before the mapping is written to."""
    path = small_disk.work / "tree.pt"
    small_disk.leave(50_000)
    with pytest.raises(RefusedError, match="no space left"), refusals_told(path):
        write_tensors(path, {"x": torch.zeros(100_000)}, in_tiles=in_tiles)
