"""Weights from elsewhere as a state dict: which files are read, and nothing in them is run.

torch's archives are read with `weights_only=True`, which builds tensors and plain containers and
refuses everything else; a safetensors file has no code. Either may have the state dict inside of
dicts with other things, as trainers save them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frcore.errors import UserError, first_line
from frcore.models.own import other_file
from frcore.text import one_line, visible

CONTAINERS = (
    "state_dict_backbone",  # arcface_torch's checkpoint_gpu_<rank>.pt
    "backbone",  # model.pt and checkpoint.pt of this harness
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
)
"""Keys under which a dict has a state dict, the first of them that it has."""

DEEPEST = 3
"""Dicts around a state dict."""

GIVE = "give a state dict of torch.save, such as InsightFace's backbone.pth, or safetensors"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors in the file `path` by the names that it has for them, on the CPU.

    They may be views of the file: copy those that outlive it.

    Raises:
        UserError: it cannot be read, holds anything that could run, or has no state dict.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if _is_safetensors(start, path.stat().st_size):
            return _safetensors(path)
        # An archive of torch before 1.6 has no parts that could be mapped.
        saved = torch.load(
            path, map_location="cpu", weights_only=True, mmap=start[:4] == b"PK\x03\x04"
        )
    except UserError:
        raise
    except Exception as error:  # torch raises many kinds for other files
        what = first_line(error) if isinstance(error, OSError) else other_file(path)
        raise UserError(f"{path} cannot be read as weights: {what}; {GIVE}") from None
    found = _inside(saved)
    if found is None:
        raise UserError(f"{path} has no state dict: it is {_described(saved)}; {GIVE}, alone or "
                        f"under one of the keys {', '.join(CONTAINERS)}")  # fmt: skip
    return found


def _inside(saved: Any, depth: int = 0) -> dict[str, Tensor] | None:
    if not isinstance(saved, Mapping) or not saved or depth > DEEPEST:
        return None
    if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in saved.items()):
        return dict(saved)
    inner = next((saved[k] for k in CONTAINERS if isinstance(saved.get(k), Mapping)), None)
    return _inside(inner, depth + 1)


def _described(saved: Any) -> str:
    if not isinstance(saved, Mapping):
        return f"a {type(saved).__name__}"
    keys = ", ".join(str(key) for key in list(saved)[:8])
    return f"a dict of {one_line(visible(keys), 200)}" if saved else "an empty dict"


def _is_safetensors(start: bytes, size: int) -> bool:
    """Eight bytes with the length of a header in JSON, and that header."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") + 8 <= size


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise UserError(
            f"{path} is no whole safetensors file: {first_line(error)}; get it again"
        ) from error
