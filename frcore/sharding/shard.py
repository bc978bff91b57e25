"""The classes that one process holds, and how processes make one softmax of them.

Every rank sees the rows of all ranks against its own classes. What depends on one number per row
(margin, scale, statistics, the loss) is computed by every rank alike, from target cosines and
reductions that are summed over the ranks: a head's state is therefore equal on all of them, and no
head knows that there are several.

Each rank's loss is the mean over all rows. Its slope is divided by the number of ranks, so that
what is differentiated, the sum over the ranks (`frcore.sharding.collectives`), is that mean.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from frcore.errors import UserError
from frcore.sharding.collectives import (
    GatherRows,
    LogSumExp,
    Sum,
    apply,
    gathered,
    maximum,
    scale_slope,
    sum_gradient,
)


def part_of(rows: int, rank: int, size: int) -> slice:
    """A rank's rows of a batch that `size` ranks share, in their order and as evenly as can be."""
    return slice(rank * rows // size, (rank + 1) * rows // size)


class Whole:
    """All classes in one process: nothing is communicated.

    Args:
        num_classes: C.

    Attributes:
        start: first class here.
        stop: the class after the last one here.
        rank: of this process.
        size: number of processes.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.rank, self.size = 0, 1
        self.start, self.stop = 0, num_classes

    def announce(self, rows: int, device: torch.device) -> None:
        """Tell all ranks how many rows this one has, before `gather`; −1 if it refuses them.

        Args:
            rows: of this rank.
            device: of the centres.

        Raises:
            UserError: another rank refuses its rows, or none has any.
        """

    def gather(self, embedding_ND: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and labels of all ranks, in their order."""
        return embedding_ND, label_N

    def own_rows(self, x_N: Tensor) -> Tensor:
        """Of values of all rows those of this rank's rows, as `gather` last ordered them."""
        return x_N

    def local(self, label_M: Tensor) -> Tensor:
        """Rows in this shard's table of centres; −1 for classes of another one."""
        return label_M

    def here(self, label_M: Tensor) -> Tensor:
        """`local` without the classes of other shards."""
        return label_M

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the ranks."""
        return x

    def logsumexp(self, x_M: Tensor) -> Tensor:
        """log Σ exp over the ranks."""
        return x_M

    def maximum(self, number: int, device: torch.device) -> int:
        """The largest of the ranks' numbers."""
        return number

    def share(self, x: Tensor) -> Tensor:
        """`x`, with the slope that is this rank's part of the objective."""
        return x


class Shard(Whole):
    """The classes of one rank of a process group.

    They are split as `torch.chunk` and DTensor's `Shard(0)` do: ⌈C/G⌉ per rank, the last ranks
    with fewer or none.

    Args:
        group: of the ranks; NCCL for tensors on GPUs, gloo on CPUs.
        num_classes: C, of all ranks together.
    """

    def __init__(self, group: ProcessGroup, num_classes: int) -> None:
        super().__init__(num_classes)
        if not isinstance(group, ProcessGroup):
            raise UserError(
                f"group = {group!r}, which is no process group that this process belongs to; "
                "give torch.distributed.group.WORLD after init_process_group, or what "
                "torch.distributed.new_group returns on its members"
            )
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        each = -(-num_classes // self.size)
        self.start, self.stop = (min(n * each, num_classes) for n in (self.rank, self.rank + 1))
        self._sizes = [0] * self.size
        devices = {device.type for device in group._device_types}
        self._host = torch.device("cpu") if "cpu" in devices else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Shard:
        return Shard(self.group, self.num_classes)  # a process group has no copy

    def announce(self, rows: int, device: torch.device) -> None:
        # Sizes go from host to host where the group can: reading them back from a GPU would make
        # the host wait for it at every step.
        size = torch.tensor([rows], device=self._host or device)
        self._sizes = gathered(size, [1] * self.size, self.group).tolist()
        refusing = [rank for rank, rows_there in enumerate(self._sizes) if rows_there < 0]
        if refusing and rows >= 0:
            raise UserError(
                f"rank {refusing[0]} of {self.size} refuses its part of the batch, as its own "
                "message says; the other ranks, of which this is one, would have waited for it"
            )
        if not any(self._sizes):
            raise UserError("a batch without a row on any rank; drop empty batches")

    def gather(self, embedding_ND: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
        # DistributedDataParallel divides by the number of ranks what it sums over them.
        embedding_ND = apply(
            GatherRows, embedding_ND, self._sizes, self.rank, float(self.size), self.group
        )
        return embedding_ND, gathered(label_N, self._sizes, self.group)

    def own_rows(self, x_N: Tensor) -> Tensor:
        start = sum(self._sizes[: self.rank])
        return x_N[start : start + self._sizes[self.rank]]

    def local(self, label_M: Tensor) -> Tensor:
        is_here_M = (label_M >= self.start) & (label_M < self.stop)
        return torch.where(is_here_M, label_M - self.start, -1)

    def here(self, label_M: Tensor) -> Tensor:
        local_M = self.local(label_M)
        return local_M[local_M >= 0]

    def sum(self, x: Tensor) -> Tensor:
        return apply(Sum, x, self.group)

    def logsumexp(self, x_M: Tensor) -> Tensor:
        return apply(LogSumExp, x_M, self.group)

    def maximum(self, number: int, device: torch.device) -> int:
        return int(maximum(torch.tensor([number], device=device), self.group))

    def share(self, x: Tensor) -> Tensor:
        return scale_slope(x, 1 / self.size)

    def sum_gradients(self, module: nn.Module) -> None:
        """Have the gradients of a module's parameters summed over the ranks, once and for all.

        Its parameters are equal on all ranks and act on each rank's classes.
        """
        for parameter in module.parameters():
            if parameter.requires_grad and getattr(parameter, "summed_over", None) is not self:
                sum_gradient(parameter, self.group)
                parameter.summed_over = self  # type: ignore[attr-defined]

    def check_equal(self, numbers: dict[str, int], device: torch.device) -> None:
        """Refuse ranks that were not built alike.

        Args:
            numbers: what must agree, by its name.
            device: of the tensors that are sent.

        Raises:
            UserError: a number differs between ranks.
        """
        own_K = torch.tensor(list(numbers.values()), dtype=torch.int64, device=device)
        all_GK = gathered(own_K[None], [1] * self.size, self.group)
        for name, values in zip(numbers, all_GK.T.tolist(), strict=True):
            if len(set(values)) > 1:
                raise UserError(
                    f"a sharded classifier whose {name} differs between ranks; build it with the "
                    "same arguments on every rank of its group"
                )
