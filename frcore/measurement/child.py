"""A function in separate processes, whose death is a result and not a crash."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from frcore.errors import UserError
from frcore.measurement import process

Method = Literal["forkserver", "spawn"]

PRELOAD = ["frcore.measurement.row", "torch._dynamo"]
"""What the children find loaded. torch's optimisers import `torch._dynamo` when first made."""

LEAVE_SECONDS = 30.0
"""Processes that work together end together: after the first the others have so long."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a child: a value, or the error that ended it.

    Attributes:
        value: what the function returned.
        error: why there is none.
        user_error: whether that is a mistake in the user's input.
        out_of_memory: whether the system ended it for lack of memory.
        from_outside: whether another process killed it, which is not a result.
        at: when it came, by the monotonic clock; 0 for a process that died without a word.
    """

    value: Any = None
    error: str | None = None
    user_error: bool = False
    out_of_memory: bool = False
    from_outside: bool = False
    at: float = 0.0


def run_in_child(function: Callable[..., Any], *arguments: Any, method: Method) -> Outcome:
    """Call `function(*arguments)` in a fresh process and wait for its result.

    Args:
        function: of a module's top level; its result must be JSON-able.
        arguments: picklable.
        method: "forkserver" forks from a process that has imported this package's heavy parts and
            run nothing (0.1 s instead of the seconds that importing torch takes); "spawn" starts
            from nothing, which CUDA needs.

    Returns:
        The value; or the error, also where the process was killed.
    """
    (outcome,) = run_in_children(function, [arguments], method=method)
    return outcome


def run_in_children(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], *, method: Method
) -> list[Outcome]:
    """As `run_in_child`, in several processes at once that work together.

    Where one fails, the others cannot go on: they are ended after `LEAVE_SECONDS`.

    Args:
        function: of a module's top level.
        arguments: of each process.
        method: as in `run_in_child`.

    Returns:
        Their outcomes, in the order of `arguments`.
    """
    context: SpawnContext | ForkServerContext = multiprocessing.get_context("spawn")
    if method == "forkserver":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
    kills_before = process.oom_kills()
    children: dict[Connection, BaseProcess] = {}
    try:
        for given in arguments:
            receiver, sender = context.Pipe(duplex=False)
            child: BaseProcess = context.Process(target=_answer, args=(sender, function, given))
            # Ctrl-C reaches the whole group; blocked here, it is in the child too, which the
            # parent ends.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            child.start()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            sender.close()
            children[receiver] = child
        return _outcomes(children, kills_before)
    finally:
        for receiver, child in children.items():
            if child.is_alive():
                child.kill()
                child.join()
            receiver.close()


def _outcomes(children: dict[Connection, BaseProcess], kills_before: int | None) -> list[Outcome]:
    """Of children by the connections on which they answer."""
    found: dict[Connection, Outcome] = {}
    deadline: float | None = None
    while waiting := [receiver for receiver in children if receiver not in found]:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = wait(waiting, left)
        for receiver in waiting:
            if receiver in ready:
                found[receiver] = _outcome(receiver, children[receiver], kills_before)
            elif not ready:
                found[receiver] = Outcome(error="left alone by the others", at=time.monotonic())
        deadline = deadline or time.monotonic() + LEAVE_SECONDS
    return [found[receiver] for receiver in children]


def first_error(outcomes: Sequence[Outcome]) -> Outcome | None:
    """What went wrong first, of which the other processes' errors are consequences."""
    wrong = [outcome for outcome in outcomes if outcome.error is not None]
    return min(wrong, key=lambda outcome: outcome.at, default=None)


def _outcome(receiver: Connection, child: BaseProcess, kills_before: int | None) -> Outcome:
    """Of a child that has answered or ended."""
    with contextlib.suppress(EOFError):
        answer = json.loads(receiver.recv_bytes())
        # A process group whose other processes are gone may keep it from ending: it is killed.
        child.join(LEAVE_SECONDS)
        return Outcome(**answer)
    child.join()
    return _cause_of_death(child.exitcode, kills_before)


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_die_with_the_parent, daemon=True).start()
    process.volunteer_for_the_oom_killer()
    try:
        outcome = Outcome(value=function(*arguments))
    except UserError as error:
        outcome = Outcome(error=str(error), user_error=True)
    except Exception as error:
        outcome = Outcome(error=f"{type(error).__name__}: {error}")
    outcome = replace(outcome, at=time.monotonic())
    sender.send_bytes(json.dumps(asdict(outcome)).encode())
    sender.close()


def _die_with_the_parent() -> None:
    """End this process when its parent was killed, so that no GPU stays busy without a lease."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _cause_of_death(code: int | None, kills_before: int | None) -> Outcome:
    if code is None or code >= 0:
        return Outcome(error=f"the measuring process ended with exit code {code} and no result")
    name, kills = signal.Signals(-code).name, process.oom_kills()
    if name == "SIGKILL" and None not in (kills_before, kills) and kills != kills_before:
        return Outcome(error="killed by the system for lack of memory", out_of_memory=True)
    return Outcome(
        error=f"the measuring process was ended by {name}",
        from_outside=name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"),
    )
