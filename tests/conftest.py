"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.small_disk import small_disk  # noqa: F401

if not (any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()):
    # No GPU, nor one of Windows under WSL: Triton's kernels run in its interpreter. It reads this
    # when it is imported, by whomever.
    os.environ.setdefault("TRITON_INTERPRET", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real faces, protocols and embeddings that are not ours to redistribute."""
    given = os.environ.get("FRCORE_SHARED_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not (folder / "lfw").is_dir():
        pytest.skip(f"no real data at {folder}: set FRCORE_SHARED_DATA to a folder that has lfw/")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


TIERS = ("slow", "gpu", "workflow", "grid")
"""Markers of tests that run after the fast ones, in this order."""


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The fast tests first, so that a simple mistake shows before minutes of workflow."""
    seen: Counter[str] = Counter()
    for item in items:
        if fast := item.get_closest_marker("fast_cases"):
            name = item.nodeid.partition("[")[0]
            seen[name] += 1
            if seen[name] > fast.args[0]:
                item.add_marker(pytest.mark.slow)

    def tier(item: pytest.Item) -> int:
        return max(
            (1 + TIERS.index(m.name) for m in item.iter_markers() if m.name in TIERS), default=0
        )

    items.sort(key=tier)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Long tests run on demand. Tests for a GPU skip with the reason where torch sees none, and
    never pass without it."""
    if item.get_closest_marker("long") and not os.environ.get("FRCORE_LONG"):
        pytest.skip("takes a minute or more on two cores: set FRCORE_LONG=1")
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU")
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        pytest.fail("TRITON_INTERPRET is set: the kernels would run on the CPU; unset it")
