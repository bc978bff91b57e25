"""A checkpoint of a training in several processes, and reading it in any other number of them.

`torch.distributed.checkpoint` writes it: a folder to which each process adds a file with its rows
of what is split with the class centres, and with a small state of its own. Reading takes whatever
rows the reader has. Neither keeps a second copy of the centres.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from frcore.files import FolderKind, atomic_directory
from frcore.training.processes import Team

KIND = FolderKind("a checkpoint of a training in several processes", ".metadata", ("*",))


class Rows:
    """How the class centres, and what goes with them, are split over the processes of a training.

    Args:
        team: of the processes.
        num_classes: C, of all together.
    """

    def __init__(self, team: Team, num_classes: int) -> None:
        self._team, self._classes = team, num_classes

    def whole(self, own: Tensor) -> Tensor:
        """A tensor of C rows of which this process has `own`; nothing is copied."""
        if self._team.group is None:
            return own
        mesh = DeviceMesh.from_group(self._team.group, own.device.type)
        shape = torch.Size((self._classes, *own.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(
            own.detach(), mesh, [Shard(0)], run_check=False, shape=shape, stride=stride
        )


def write(path: Path, split: dict[str, Tensor], own: Any, rows: Rows, team: Team) -> None:
    """Write a checkpoint whole or not at all; every process calls it.

    Args:
        path: of the folder.
        split: this process's rows of what is split, by names.
        own: what else this process keeps: a tree as `frcore.training.tensor_file` has it.
        rows: how `split` is split.
        team: the processes.
    """
    parts = {name: rows.whole(tensor) for name, tensor in split.items()}
    parts[_name(team.rank)] = _as_bytes(own)
    with _shared_directory(path, team) as temporary:
        try:
            writer = FileSystemWriter(temporary)
            dcp.save(parts, storage_writer=writer, process_group=team.group)
        except dcp.CheckpointException as error:
            raise _cause(error) from error


class SavedParts:
    """A checkpoint of several processes, opened.

    Raises:
        Exception: of many kinds, where it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes = {
            name: entry.size
            for name, entry in _Reader(path).read_metadata().state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }

    @property
    def processes(self) -> int:
        """How many there were."""
        return sum(name.startswith(_PREFIX) for name in self._sizes)

    def own(self, rank: int) -> Any:
        """The tree that this process had kept."""
        packed = torch.empty(self._sizes[_name(rank)], dtype=torch.uint8)
        self._read({_name(rank): packed})
        return torch.load(io.BytesIO(packed.numpy().tobytes()), weights_only=True)

    def read_rows(self, split: dict[str, Tensor], rows: Rows) -> None:
        """Fill tensors with this process's rows, in place."""
        self._read({name: rows.whole(tensor) for name, tensor in split.items()})

    def _read(self, targets: dict[str, Any]) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # which is meant
            try:
                dcp.load(targets, storage_reader=_Reader(self._path), no_dist=True)
            except dcp.CheckpointException as error:
                raise _cause(error) from error


def _cause(error: dcp.CheckpointException) -> BaseException:
    """What went wrong in the first process in which something did."""
    # The library's own is no Exception, and hides that a disk is full.
    return next(iter(error.failures.values()))[0]


_PREFIX = "process-"


def _name(rank: int) -> str:
    return f"{_PREFIX}{rank}"


def _as_bytes(tree: Any) -> Tensor:
    # torch.distributed.checkpoint reads anything but tensors with an unrestricted pickle.
    file = io.BytesIO()
    torch.save(tree, file)
    return torch.frombuffer(bytearray(file.getbuffer()), dtype=torch.uint8)


@contextlib.contextmanager
def _shared_directory(path: Path, team: Team) -> Iterator[Path]:
    """`atomic_directory` of the first process for all of them."""
    if team.is_first:
        with atomic_directory(path, KIND) as temporary:
            yield Path(team.told(str(temporary)))
            team.agree(0)  # all have written
    else:
        yield Path(team.told(""))
        team.agree(0)
    team.agree(0)  # it is in place


class _Reader(FileSystemReader):
    """Reads the index with a pickle that knows the names in an index and no others."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with (Path(self.path) / ".metadata").open("rb") as file:
            metadata: Metadata = _IndexUnpickler(file).load()
        metadata.storage_meta.load_id = self.load_id  # type: ignore[union-attr]
        return metadata


class _IndexUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_type or name in _INDEX_NAMES.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a checkpoint's index")


_INDEX_NAMES = {
    "torch": ("Size",),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed.checkpoint.metadata": (
        "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta", "TensorProperties",
        "TensorStorageMetadata", "_MEM_FORMAT_ENCODING",
    ),
    "pathlib": ("PosixPath",),
    "pathlib._local": ("PosixPath",),
}  # fmt: skip
