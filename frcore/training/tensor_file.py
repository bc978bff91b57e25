"""Writing and reading a tree of tensors as large as memory, without copying any of them."""

from __future__ import annotations

import contextlib
import copy
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frcore.centers.storage import copy_in_tiles
from frcore.machine.faults import reserve


def write_tensors(path: Path, tree: Any, *, in_tiles: bool | None = None) -> None:
    """`torch.save(tree, path)`, readable with `torch.load(path, weights_only=True)`.

    torch writes a CPU tensor directly from its memory, but a GPU tensor via a complete copy. With
    GPU tensors the file is therefore created first and then filled tile by tile.

    Args:
        path: a file that nobody reads yet.
        tree: dicts, lists, tuples, tensors and plain values.
        in_tiles: whether to fill the file tile by tile; None: if a tensor is not on the CPU.
    """
    if in_tiles is None:
        in_tiles = any(tensor.device.type != "cpu" for tensor in tensors_of(tree))
    # To a Python file: torch's own reports a full disk as "unexpected pos 576 vs 534".
    without_data = torch.serialization.skip_data() if in_tiles else contextlib.nullcontext()
    with without_data, path.open("wb") as file:
        torch.save(tree, file)
    if not in_tiles:
        return
    reserve(path, path.stat().st_size)
    with torch.serialization.set_default_mmap_options(mmap.MAP_SHARED):
        written = read_tensors(path)
    for target, source in zip(tensors_of(written), tensors_of(tree), strict=True):
        copy_in_tiles(target.detach(), source.detach())


def read_tensors(path: Path) -> Any:
    """The tree in `path`; its tensors, on the CPU, are read from the file when used.

    They are views of the file: to keep one longer than the file, copy it with `own`.
    """
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """All tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors_of(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from tensors_of(value)


def own(tree: Any) -> Any:
    """The tree with its tensors copied into memory."""
    return copy.deepcopy(tree)
