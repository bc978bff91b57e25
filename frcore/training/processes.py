"""The processes of one training: starting them, joining them, and agreeing between two steps."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from frcore.errors import UserError
from frcore.machine.lifetime import Grace, Stopped
from frcore.machine.processes import started_with
from frcore.sharding.collectives import gathered
from frcore.study.parts import Training
from frcore.training.lost import Alarm, LostError, Notes, is_of_another

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

SHUTDOWN_SECONDS = 600
"""How long processes that were asked to stop may take to finish their step and to save."""

HANDLED = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"
"""Signals to the process that started the others, which it passes on to them."""

_trainings = itertools.count()
"""One after another in these processes: each has notes of its own."""


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
        alarm: which a process that moves puts off.
    """

    def __init__(self, group: ProcessGroup, host: ProcessGroup, alarm: Alarm | None = None) -> None:
        self.group: ProcessGroup = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._host, self._alarm = host, alarm

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
        if self._alarm is not None:
            self._alarm.put_off()


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
    store, rank, size = next(dist.rendezvous("env://", timeout=limit))
    store = dist.PrefixStore(f"training {next(_trainings)}", store)
    notes = Notes(dist.PrefixStore("notes", store), rank, size, training.timeout_minutes)
    notes.wait_for_all()
    alarm = Alarm(notes.name, limit.total_seconds())
    try:
        with _explained(notes):
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
            group = dist.group.WORLD
            assert group is not None
            host = group if backend == "gloo" else dist.new_group(backend="gloo", timeout=limit)
            yield Ranks(group, host, alarm)
    finally:
        alarm.stop()
    dist.destroy_process_group()


@contextlib.contextmanager
def _explained(notes: Notes) -> Iterator[None]:
    """Tell the others what is raised in the block, or learn from them what is behind it.

    The group stays as it is: taking it down would wait for those that are lost.
    """
    try:
        try:
            yield
        except Exception as error:
            with Grace():  # time to say it, before who started the processes ends them
                if isinstance(error, UserError) or not is_of_another(error):
                    notes.failed(error)
                    raise
                raise notes.explained(error) from error
    except Stopped as stop:
        if failure := notes.failure():
            raise failure from stop
        raise


def launch(processes: int, arguments: Sequence[str]) -> None:
    """Run `frcore` with these arguments in several processes, as `torchrun --standalone` does.

    Requests to stop are passed on, and waited for. Where a process fails the others are ended.

    Raises:
        SystemExit: not all of them succeeded; with the exit code of the one that the others ended
            for, which has said why.
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
        rank, failure = _culprit(failed.failures)
        if failure.exitcode >= 0:
            raise SystemExit(failure.exitcode) from None
        number = signal.Signals(-failure.exitcode)
        kind = "stopped" if number in (signal.SIGKILL, signal.SIGTERM) else "error"
        print(
            f"{kind}: process {rank} of {processes} was killed ({number.name}); the same command "
            "resumes from the last checkpoint", file=sys.stderr, flush=True,
        )  # fmt: skip
        raise SystemExit(128 + number) from None


def _culprit(failures: dict[int, ProcessFailure]) -> tuple[int, ProcessFailure]:
    """Rank and failure of the process for which the others ended.

    Several may be found ended at once. Those that torch then ends itself come later, by up to half
    a minute, or have obeyed SIGTERM.
    """
    first = min(failure.timestamp for failure in failures.values())
    followed = (LostError.exit_code, 128 + signal.SIGTERM, -signal.SIGTERM)
    return min(
        failures.items(),
        key=lambda item: (item[1].timestamp > first + 1, item[1].exitcode in followed),
    )
