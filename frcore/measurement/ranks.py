"""The processes that one step is measured in.

The processes run the same steps: whatever decides how many (times, clocks) is agreed on between
their hosts, which no timed step includes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup

from frcore.sharding.shard import part_of

TIMEOUT = timedelta(minutes=30)
"""For a process that waits for another one: a step of ten million classes on a CPU takes minutes.
Where one has ended, the parent ends the others long before."""


class Ranks:
    """The processes that measure one step; this one alone, without a group.

    Args:
        group: of all of them, also for tensors on the host.

    Attributes:
        group: that one.
        rank: of this process.
        size: number of processes.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        self.group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.size = 1 if group is None else dist.get_world_size(group)

    def largest(self, number: float) -> float:
        """The largest of the processes' numbers, for which they wait for one another."""
        return self._reduced(number, dist.ReduceOp.MAX)

    def total(self, number: float) -> float:
        """The sum of the processes' numbers, for which they wait for one another."""
        return self._reduced(number, dist.ReduceOp.SUM)

    def _reduced(self, number: float, by: dist.ReduceOp.RedOpType) -> float:
        if self.group is None:
            return number
        reduced = torch.tensor([number], dtype=torch.float64)
        dist.all_reduce(reduced, by, self.group)
        return float(reduced)

    def own_rows(self, rows: int) -> slice:
        """This process's part of a batch of so many rows."""
        return part_of(rows, self.rank, self.size)


ALONE = Ranks()


@contextlib.contextmanager
def joined(rank: int, size: int, store: Path, device: str) -> Iterator[Ranks]:
    """The processes that measure one step, for the block; on GPUs each has its own one.

    Args:
        rank: of this process.
        size: number of processes.
        store: a file, which does not exist, through which they find one another.
        device: `cpu` or `cuda`.
    """
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        # NCCL between GPUs, gloo between their hosts.
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        init_method=store.absolute().as_uri(), rank=rank, world_size=size, timeout=TIMEOUT,
    )  # fmt: skip
    ranks = Ranks(dist.group.WORLD)
    yield ranks
    # A process that leaves while others receive its last answer would take that with it. After an
    # error nobody is waited for: the group stays as it is until the process ends.
    ranks.largest(0.0)
    dist.destroy_process_group()
