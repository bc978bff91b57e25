"""Rendering many synthetic pictures, over all cores, into one memory-mapped array.

Kept free of torch and pandas, because every worker process imports this module anew.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from frcore.data.progress import progress_bar
from frcore.data.synthetic.faces.identity import Identity, identity
from frcore.data.synthetic.faces.nuisance import Nuisance, nuisance
from frcore.data.synthetic.faces.render import render
from frcore.machine.faults import ended_worker
from frcore.machine.parallel import available_cores

T = TypeVar("T")

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
def person_of(seed: int, split: str, index: int) -> Identity:
    """A person, remembered while its pictures follow one another."""
    return identity(seed, split, index)


def render_shot(shots: Shots, at: int, size: int) -> NDArray[np.uint8]:
    """Picture number `at` of `shots`: uint8 (size, size, 3), RGB."""
    who = int(shots.identity[at])
    person = person_of(shots.seed, shots.split, who)
    taken = nuisance_of(shots, at)
    return render(person, taken, size)


def nuisance_of(shots: Shots, at: int) -> Nuisance:
    """How picture number `at` of `shots` was taken."""
    who = int(shots.identity[at])
    return nuisance(
        shots.seed,
        shots.split,
        who,
        int(shots.medium[at]),
        int(shots.image[at]),
        video=bool(shots.video[at]),
        difficulty=shots.difficulty,
        glasses_habit=person_of(shots.seed, shots.split, who).glasses,
    )


def render_all(shots: Shots, images: Path, *, workers: int | None = None) -> None:
    """Render every picture of `shots` into the array file `images`, uint8 (N, S, S, 3).

    Args:
        shots: the pictures.
        images: an existing `.npy` file of that shape.
        workers: processes; all available cores when absent. The pixels do not depend on it.
    """
    tasks = [(shots.part(start, start + _CHUNK), images, start)
             for start in range(0, len(shots), _CHUNK)]  # fmt: skip
    over_cores(_render_chunk, tasks, len(shots), workers)


def over_cores(
    work: Callable[..., T], tasks: Sequence[tuple[Any, ...]], pictures: int, workers: int | None
) -> list[T]:
    """Call `work` with each of `tasks`, in processes where that is faster; results in their order.

    Args:
        work: a function of a module that imports little.
        tasks: of at most `_CHUNK` pictures each.
        pictures: of all tasks, for the progress bar.
        workers: processes; all available cores when absent.
    """
    if workers is None:
        workers = available_cores() if pictures > _SERIAL else 1
    with progress_bar() as progress:
        bar = progress.add_task("rendering faces", total=pictures)
        share = pictures / max(1, len(tasks))
        if min(workers, len(tasks)) <= 1:
            results = []
            for task in tasks:
                results.append(work(*task))
                progress.advance(bar, share)
            return results
        # Spawned, not forked: a fork copies the locks of torch's and OpenCV's running threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
            futures = [pool.submit(work, *task) for task in tasks]
            for _ in as_completed(futures):
                progress.advance(bar, share)
            try:
                return [future.result() for future in futures]
            except BrokenProcessPool as error:
                raise ended_worker() from error


def _render_chunk(shots: Shots, images: Path, start: int) -> None:
    array = np.load(images, mmap_mode="r+")
    with one_thread():
        for at in range(len(shots)):
            array[start + at] = render_shot(shots, at, array.shape[1])
    array.flush()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV and BLAS without threads: pictures are small, and the processes use the cores."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(threads)
