"""Cores, and independent computations on several of them at once."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Hashable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from frcore.machine.faults import ended_worker, refusal

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def available_cores() -> int:
    """The cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux: knows about cgroups and taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compute(jobs: Mapping[K, Callable[[], T]], processes: int) -> dict[K, T]:
    """The results of all jobs, by their keys and in their order.

    On Linux they run in forks of this process: a job sees all that is in memory now at no cost,
    what it changes there is lost, and its result is sent back pickled. Elsewhere, where a fork is
    not safe, and with one process or one job, they run here one after the other. Not for jobs that
    use torch: a fork lacks the threads that torch waits for.

    Args:
        jobs: independent of one another.
        processes: at most this many at once.

    Raises:
        UserError: a process was ended from outside.
        Exception: what the first job to fail raised; the others are abandoned.
    """
    if min(processes, len(jobs)) < 2 or not sys.platform.startswith("linux"):
        return {key: job() for key, job in jobs.items()}
    context = multiprocessing.get_context("fork")
    workers: dict[Connection, BaseProcess] = {}
    results: dict[K, T] = {}
    try:
        for _ in range(min(processes, len(jobs))):
            here, there = context.Pipe()
            child = context.Process(target=_work, args=(jobs, there, [*workers, here]))
            child.start()
            workers[here] = child
            there.close()
        waiting = iter(jobs)
        asked = dict(zip(workers, waiting, strict=False))
        for end, key in asked.items():
            end.send(key)
        while asked:
            for end in cast("list[Connection]", wait(list(asked))):
                results[asked.pop(end)] = _answer(end, workers[end])
                for key in itertools.islice(waiting, 1):
                    asked[end] = key
                    end.send(key)
    except BaseException:
        for worker in workers.values():
            worker.terminate()
        raise
    finally:
        for end, worker in workers.items():
            end.close()
            worker.join()
    return {key: results[key] for key in jobs}


def _work(
    jobs: Mapping[K, Callable[[], Any]], end: Connection, others: Sequence[Connection]
) -> None:
    """Run the jobs whose keys come in, until the parent sends no more."""
    # Who interrupts the parent interrupts the whole group; the parent ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in others:  # held open here, they would hide that the parent is gone
        other.close()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            job = jobs[end.recv()]
            result, failure = None, None
            try:
                result = job()
            except Exception as error:
                # Here, because the cause of an error is not pickled with it.
                failure = _sendable(refusal(error) or error)
            end.send((result, failure))


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, or only its text if it cannot be pickled."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    error.add_note(text)
    return error


def _answer(end: Connection, worker: BaseProcess) -> Any:
    try:
        result, error = end.recv()
    except (EOFError, ConnectionError):
        worker.join()
        raise ended_worker(worker.exitcode) from None
    if error is not None:
        raise error
    return result
