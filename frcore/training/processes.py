"""The processes of one training: starting them, joining them, and agreeing between two steps."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from frcore.errors import UserError
from frcore.machine.processes import started_with
from frcore.sharding.collectives import gathered
from frcore.study.parts import Training

SHUTDOWN_SECONDS = 600
"""How long processes that were asked to stop may take to finish their step and to save."""

HANDLED = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"
"""Signals to the process that started the others, which it passes on to them."""


class LostError(UserError):
    """Another process of the training ended or hangs; `frcore` exits with `exit_code`."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: the same command may succeed later."""


class Team:
    """The processes that train one run; this one alone, unless it is a `Ranks`.

    Attributes:
        rank: of this process.
        size: number of processes.
        group: of all of them; None where there is one.
    """

    rank, size = 0, 1
    group: ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def agree(self, *numbers: int) -> list[int]:
        """The largest of every process's numbers."""
        return list(numbers)

    def gather(self, x_N: Tensor, sizes: Sequence[int]) -> Tensor:
        """The rows of all processes in their order; `sizes` has their numbers of rows."""
        return x_N

    def told(self, text: str) -> str:
        """What the first process says."""
        return text

    def moving(self) -> None:
        """Called at every step: nothing hangs."""


class Ranks(Team):
    """Several processes, as `torchrun` started them.

    Args:
        group: of all of them.
        host: of all of them, between the hosts' memories: what they agree on at every step waits
            for no GPU.
        seconds: after which a process that waits for another one gives up.
    """

    def __init__(self, group: ProcessGroup, host: ProcessGroup, seconds: float) -> None:
        self.group: ProcessGroup = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._host, self._seconds = host, seconds

    def agree(self, *numbers: int) -> list[int]:
        largest = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, self._host)
        return [int(number) for number in largest]

    def gather(self, x_N: Tensor, sizes: Sequence[int]) -> Tensor:
        return gathered(x_N, list(sizes), self.group)

    def told(self, text: str) -> str:
        said = [text]
        dist.broadcast_object_list(said, group=self._host, group_src=0)
        return said[0]

    def moving(self) -> None:
        # Shortly before the others give up, the one that they wait for shows where it is.
        faulthandler.dump_traceback_later(0.9 * self._seconds, file=sys.stderr)


ALONE = Team()


@contextlib.contextmanager
def joined(training: Training) -> Iterator[Team]:
    """The processes of a training, for the block.

    Raises:
        UserError: there are not as many processes as the study says.
        LostError: from the block, if another process ended or hangs.
    """
    found = started_with()
    if found != training.processes:
        raise UserError(
            f"training.processes is {training.processes}, but this training has {found}: start it "
            f"with `frcore train`, which starts as many, or with torchrun --nproc-per-node "
            f"{training.processes} -m frcore train …; or set training.processes to {found}"
        )
    if found == 1:
        yield ALONE
        return
    limit = timedelta(minutes=training.timeout_minutes)
    backend = "nccl" if training.device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=limit)
    group = dist.group.WORLD
    assert group is not None
    try:
        host = group if backend == "gloo" else dist.new_group(backend="gloo", timeout=limit)
        yield Ranks(group, host, limit.total_seconds())
    except RuntimeError as error:
        # The group stays as it is: taking it down would wait for those that are lost.
        if isinstance(error, UserError) or not _of_another_process(error):
            raise
        raise LostError(
            "another process of this training ended, or did nothing for "
            f"{training.timeout_minutes:g} minutes (training.timeout_minutes), as its own message "
            f"says; the same command resumes from the last checkpoint. Here: {error}"
        ) from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    dist.destroy_process_group()


def _of_another_process(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, dist.DistError) or any(
        sign in text for sign in ("gloo", "NCCL", "Connection closed", "Connection reset")
    )


def launch(processes: int, arguments: Sequence[str]) -> None:
    """Run `frcore` with these arguments in several processes, as `torchrun --standalone` does.

    Requests to stop are passed on, and waited for. Where a process fails the others are ended.

    Raises:
        SystemExit: not all of them succeeded; with the exit code of the first that did not, which
            has said why.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    # Each process would warn that looking for unused parameters takes time; see `Trainer`.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=str(uuid.uuid4()),
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        signals_to_handle=HANDLED,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-P", "-m", "frcore", *arguments)
    except SignalException as stop:
        raise SystemExit(128 + stop.sigval) from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode >= 0:
            raise SystemExit(failure.exitcode) from None
        number = signal.Signals(-failure.exitcode)
        kind = "stopped" if number in (signal.SIGKILL, signal.SIGTERM) else "error"
        print(
            f"{kind}: process {rank} of {processes} was killed ({number.name}); the same command "
            "resumes from the last checkpoint", file=sys.stderr, flush=True,
        )  # fmt: skip
        raise SystemExit(128 + number) from None
