"""The static tiles: which class of GPU gets which, and who gets none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton", reason="no triton: pip install 'frcore[gpu]'")
import triton

from frcore.heads import build_head
from frcore.loss import triton as backend
from frcore.loss.triton import launch
from frcore.loss.triton.tiles import A100, CONSUMER, HOPPER, candidates, shared_memory, static_tiles
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
