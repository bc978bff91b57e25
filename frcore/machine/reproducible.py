"""Seed, threads and algorithms with which a computation repeats itself on one machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def reproducible(
    seed: int,
    threads: int,
    device: str = "cpu",
    *,
    deterministic: bool = True,
    cudnn_benchmark: bool = False,
) -> Iterator[None]:
    """Seed, threads and, on a GPU, algorithms such that a run repeats itself on one machine.

    Without `deterministic`, or with `cudnn_benchmark`, which picks algorithms by their time, a run
    on a GPU repeats itself up to rounding only.

    What runs on a CPU here is deterministic for a given number of threads: no index occurs twice
    where gradients are gathered. Asking torch for it there costs 2 s, which is what it takes to
    import the compiler.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    benchmark_before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = cudnn_benchmark
    try:
        on = deterministic and device != "cpu"
        with _deterministic_algorithms() if on else contextlib.nullcontext():
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark_before
        torch.set_num_threads(before)


@contextlib.contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    # cuBLAS reads this when it starts; without it matrix products may differ between runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Deterministic mode also fills each new tensor with NaN, which finds bugs and costs traffic.
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
