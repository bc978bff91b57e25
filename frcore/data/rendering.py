"""Rendering many synthetic pictures, over all cores, into one memory-mapped array.

Kept free of torch and pandas, because every worker process imports this module anew.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from frcore.data.faces.identity import Identity, identity
from frcore.data.faces.nuisance import nuisance
from frcore.data.faces.render import render

_CHUNK = 256
_SERIAL = 1500
"""Up to so many pictures a single process is done before the others have started."""


@dataclass(frozen=True)
class Shots:
    """Which pictures: one entry per picture in each array (N,)."""

    seed: int
    split: str
    difficulty: float
    identity: NDArray[np.int64]
    medium: NDArray[np.int64]
    image: NDArray[np.int64]
    video: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.identity)

    def part(self, start: int, stop: int) -> Shots:
        """The pictures from `start` up to `stop`."""
        cut = slice(start, stop)
        return Shots(self.seed, self.split, self.difficulty, self.identity[cut],
                     self.medium[cut], self.image[cut], self.video[cut])  # fmt: skip


@functools.lru_cache(maxsize=64)
def _person(seed: int, split: str, index: int) -> Identity:
    return identity(seed, split, index)


def render_shot(shots: Shots, at: int, size: int) -> NDArray[np.uint8]:
    """Picture number `at` of `shots`: uint8 (size, size, 3), RGB."""
    who = int(shots.identity[at])
    person = _person(shots.seed, shots.split, who)
    taken = nuisance(
        shots.seed,
        shots.split,
        who,
        int(shots.medium[at]),
        int(shots.image[at]),
        video=bool(shots.video[at]),
        difficulty=shots.difficulty,
        glasses_habit=person.glasses,
    )
    return render(person, taken, size)


def available_cores() -> int:
    """The cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def render_all(shots: Shots, images: Path, *, workers: int | None = None) -> None:
    """Render every picture of `shots` into the array file `images`, uint8 (N, S, S, 3).

    Args:
        shots: the pictures.
        images: an existing `.npy` file of that shape.
        workers: processes; all available cores when absent. The pixels do not depend on it.
    """
    starts = range(0, len(shots), _CHUNK)
    if workers is None:
        workers = available_cores() if len(shots) > _SERIAL else 1
    workers = min(workers, len(starts))
    with _progress() as progress:
        task = progress.add_task("rendering faces", total=len(shots))
        if workers <= 1:
            for start in starts:
                progress.advance(task, _render_chunk(shots.part(start, start + _CHUNK),
                                                     images, start))  # fmt: skip
            return
        # Spawned, not forked: a fork copies the locks of torch's and OpenCV's running threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            chunks = [
                pool.submit(_render_chunk, shots.part(start, start + _CHUNK), images, start)
                for start in starts
            ]
            for chunk in as_completed(chunks):
                progress.advance(task, chunk.result())


def _render_chunk(shots: Shots, images: Path, start: int) -> int:
    array = np.load(images, mmap_mode="r+")
    size = array.shape[1]
    threads = cv2.getNumThreads()
    # The pictures are small: threads would wait for each other, and the processes use the cores.
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            for at in range(len(shots)):
                array[start + at] = render_shot(shots, at, size)
    finally:
        cv2.setNumThreads(threads)
    array.flush()
    return len(shots)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
