"""Which board is torch's `cuda:<i>`, and the facts that a result records about it.

CUDA and NVML number the boards differently: CUDA counts the boards of CUDA_VISIBLE_DEVICES, the
fastest first; NVML counts all of them along the PCI bus. Only the UUID is common to both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import pynvml

from frcore.machine.board import MIB, Board
from frcore.machine.nvml import Nvml


def visible_entries(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """The entries of CUDA_VISIBLE_DEVICES that CUDA uses; None when it is not set.

    Like CUDA, everything from the first invalid entry (-1, an empty one) on is ignored.
    """
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return None
    entries: list[str] = []
    for entry in (part.strip() for part in given.split(",")):
        if not entry or entry.startswith("-"):
            break
        entries.append(entry)
    return entries


def _torch_uuid(index: int, *, start_cuda: bool) -> str | None:
    """The UUID as CUDA gives it; where CUDA is not running yet, only if `start_cuda`."""
    if not start_cuda and "torch" not in sys.modules:
        return None
    import torch

    if not (torch.cuda.is_initialized() or start_cuda):
        return None
    try:
        return str(torch.cuda.get_device_properties(index).uuid)
    except (RuntimeError, AssertionError, AttributeError):
        return None


def visible_boards(nvml: Nvml, environ: Mapping[str, str] = os.environ) -> list[Board] | None:
    """The boards that CUDA sees, in CUDA's order.

    None where the order cannot be known without starting CUDA: numbers, or nothing, in
    CUDA_VISIBLE_DEVICES on a machine with boards of several models, which CUDA sorts by speed.
    """
    every = nvml.boards()
    entries = visible_entries(environ)
    by_number = entries is None or any(entry.isdigit() for entry in entries)
    same_order = (
        environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({b.name for b in every}) <= 1
    )
    if by_number and not same_order:
        return None
    if entries is None:
        # CUDA runs on an instance of a divided board, never on the board itself.
        return [usable for board in every for usable in board.instances() or [board]]
    found: list[Board] = []
    for entry in entries:
        if entry.isdigit():
            board = every[int(entry)] if int(entry) < len(every) else None
        else:
            board = nvml.board(entry)
        if board is None:
            break
        found.append(board)
    return found


def board_of(
    nvml: Nvml, device: str = "cuda", environ: Mapping[str, str] = os.environ
) -> Board | None:
    """The board behind torch's `device`, or None when NVML has none for it.

    CUDA is asked when it runs in this process already, and is started only where the environment
    does not settle the question: a CUDA context takes some hundred MiB of the board.
    """
    index = int(device.partition(":")[2] or 0)
    uuid = _torch_uuid(index, start_cuda=False)
    if uuid is None:
        boards = visible_boards(nvml, environ)
        if boards is not None:
            return boards[index] if index < len(boards) else None
        uuid = _torch_uuid(index, start_cuda=True)
    if uuid is None:
        return None
    return nvml.board(f"GPU-{uuid}") or nvml.board(f"MIG-{uuid}")


def describe_gpu(device: str, library: Any = pynvml) -> dict[str, Any]:
    """What a result records about the GPU that made it, torch's `device`: 'cuda' or 'cuda:1'.

    Values that NVML does not have are None and `note` says why; it never raises for a missing GPU,
    because provenance must not stop a run.
    """
    found: dict[str, Any] = dict.fromkeys(
        ("name", "uuid", "driver", "power_limit_watts", "memory_mib", "mig", "note")
    )
    reason = Nvml.why_not(library)
    if reason is not None:
        return found | {"note": reason}
    with Nvml(library) as nvml:
        found["driver"] = nvml.driver
        board = board_of(nvml, device)
        if board is None:
            return found | {"note": f"NVML has no board for {device}"}
        total, _ = board.memory_bytes()
        found |= {
            "name": board.name,
            "uuid": board.uuid,
            "power_limit_watts": board.power_limit_watts(),
            "memory_mib": None if total is None else total // MIB,
            "mig": board.mig_enabled,
        }
        return found | {"note": "; ".join(board.why_missing()) or None}
