"""The static tiles: which class of GPU gets which, and who gets none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", minversion="3.4", reason="no triton: pip install 'frcore[gpu]'")
import triton

from frcore.heads import build_head
from frcore.loss import triton as backend
from frcore.loss.triton import launch
from frcore.loss.triton.tiles import (
    A100,
    CONSUMER,
    HOPPER,
    SPLIT_BYTES,
    candidates,
    shared_memory,
    splits_of,
    static_tiles,
)
from tests.loss.test_triton import make, run, steps

KERNELS = ("reduce", "score", "center")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("precision", ["bf16", "tf32", "fp32"])
def test_a_gpu_between_two_classes_gets_the_tiles_of_the_smaller_one(kernel, precision):
    for width in (16, 128, 256, 512):
        for least, above in ((CONSUMER, A100), (A100, HOPPER), (HOPPER, 2 * HOPPER)):
            expected = static_tiles(kernel, width, precision, least)
            for shared in (least + 1, above - 1):
                assert static_tiles(kernel, width, precision, shared) == expected
        fewest = static_tiles(kernel, width, precision, CONSUMER)
        most = static_tiles(kernel, width, precision, HOPPER)
        assert fewest.rows * fewest.columns <= most.rows * most.columns


def test_tiles_are_those_of_the_device(monkeypatch):
    given = []
    monkeypatch.setattr(launch, "shared_memory", lambda device: CONSUMER)
    monkeypatch.setattr(launch, "candidates", lambda *kind: given.append(kind) or candidates(*kind))
    run(*make("arcface", "full", "triton"), list(steps(1)))
    assert given
    assert {kind[3] for kind in given} == {CONSUMER}


def test_a_gpu_with_too_little_shared_memory_goes_to_streamed(monkeypatch):
    center_CD = torch.zeros(4, 32)
    head = build_head("arcface", num_classes=4)
    assert backend.unsuited(head, center_CD) == ""
    monkeypatch.setattr(backend, "shared_memory", lambda device: 64 * 1024)
    assert "64 KiB of shared memory" in backend.unsuited(head, center_CD)


def test_shared_memory_is_what_triton_says_of_the_gpu(monkeypatch):
    """Asked by a name that every triton since 3.4 has; `triton.compiler` has its own since 3.7."""
    limits = {"get_device_properties": lambda index: {"max_shared_mem": 1000 + index}}
    driver = SimpleNamespace(active=SimpleNamespace(utils=SimpleNamespace(**limits)))
    assert hasattr(type(triton.runtime.driver), "set_active")  # that is where the real one is
    monkeypatch.setattr(triton.runtime, "driver", driver)
    monkeypatch.delattr(triton.compiler, "max_shared_mem", raising=False)
    shared_memory.cache_clear()
    assert shared_memory(torch.device("cuda", 3)) == 1003
    shared_memory.cache_clear()


@pytest.mark.parametrize(
    ("rows", "least"),
    [(64, 0.99), (256, 0.99), (1024, 0.96), (3072, 0.9), (4352, 0.77), (8704, 0.8), (9216, 0.85)],
)
def test_few_processors_wait_for_the_last_columns(rows, least):
    """On an H200's 132; one wave of programs at most, as it was, used 73, 52 and 52 % of them."""
    row_tiles, bytes_each = -(-rows // 64), rows * 512 * 4
    splits = splits_of(row_tiles, 31_250, 132, bytes_each)
    programs = row_tiles * splits
    assert programs / (-(-programs // 132) * 132) >= least
    assert splits * bytes_each <= max(SPLIT_BYTES, 4 * bytes_each)


def test_few_columns_are_not_cut_into_splinters():
    assert splits_of(16, 1, 132, 0) == 1
    assert splits_of(48, 12, 132, 3072 * 2048) <= 3
    assert all(1 <= splits_of(r, c, 132, 0) <= c for r in (1, 3, 200) for c in (1, 2, 7, 500))
