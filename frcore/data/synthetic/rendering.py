"""Rendering many synthetic images, on all cores, into one memory-mapped array.

Kept free of torch and pandas, because every worker process imports this module anew.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
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
"""Up to this many images, a single process finishes before others would have started."""

_PER_PICTURE = ("identity", "medium", "image", "video")

_identity = functools.lru_cache(maxsize=64)(identity)
"""A person, cached because its images are consecutive."""


@dataclass(frozen=True)
class Shots:
    """Which images to render: one entry per image in each array (N,)."""

    seed: int
    split: str
    difficulty: float
    identity: NDArray[np.int64]
    medium: NDArray[np.int64]
    image: NDArray[np.int64]
    video: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.identity)

    def parts(self) -> Iterator[tuple[int, Shots]]:
        """The images in parts, one per task, each with the number of its first image."""
        for start in range(0, len(self), _CHUNK):
            cut = slice(start, start + _CHUNK)
            yield start, replace(self, **{key: getattr(self, key)[cut] for key in _PER_PICTURE})

    def person(self, at: int) -> Identity:
        """The person in image number `at`."""
        return _identity(self.seed, self.split, int(self.identity[at]))

    def nuisance(self, at: int) -> Nuisance:
        """The nuisance parameters of image number `at`."""
        who, medium, image = (
            int(values[at]) for values in (self.identity, self.medium, self.image)
        )
        return nuisance(self.seed, self.split, who, medium, image, video=bool(self.video[at]),
                        difficulty=self.difficulty,
                        glasses_habit=self.person(at).glasses)  # fmt: skip

    def render(self, at: int, size: int) -> NDArray[np.uint8]:
        """Image number `at`: uint8 (size, size, 3), RGB."""
        return render(self.person(at), self.nuisance(at), size)


def render_all(shots: Shots, images: Path, *, workers: int | None = None) -> None:
    """Render every image of `shots` into the array file `images`, uint8 (N, S, S, 3).

    Args:
        shots: the images.
        images: an existing `.npy` file of that shape.
        workers: processes; all available cores by default. The pixels do not depend on it.
    """
    tasks = [(part, images, start) for start, part in shots.parts()]
    over_cores(_render_part, tasks, len(shots), workers)


def _render_part(shots: Shots, images: Path, start: int) -> None:
    array = np.load(images, mmap_mode="r+")
    for at in range(len(shots)):
        array[start + at] = shots.render(at, array.shape[1])
    array.flush()


def over_cores(
    work: Callable[..., T], tasks: Sequence[tuple[Any, ...]], pictures: int, workers: int | None
) -> list[T]:
    """Call `work` with each of `tasks`, in processes if that is faster; results are in task order.

    Args:
        work: a function of a module that imports little; OpenCV and BLAS use one thread in it.
        tasks: of at most `_CHUNK` images each.
        pictures: number of images in all tasks, for the progress bar.
        workers: processes; all available cores by default.
    """
    if workers is None:
        workers = available_cores() if pictures > _SERIAL else 1
    workers = min(workers, len(tasks))
    call = functools.partial(_with_one_thread, work)
    results: list[T] = []
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(progress_bar())
        bar = progress.add_task("rendering faces", total=pictures)
        done: Iterator[T] = map(call, tasks)
        if workers > 1:
            # Spawned, not forked: a fork copies the locks of torch's and OpenCV's running threads.
            context = multiprocessing.get_context("spawn")
            done = stack.enter_context(ProcessPoolExecutor(workers, context)).map(call, tasks)
        try:
            for result in done:
                results.append(result)
                progress.advance(bar, pictures / len(tasks))
        except BrokenProcessPool as error:
            raise ended_worker() from error
    return results


def _with_one_thread(work: Callable[..., T], task: tuple[Any, ...]) -> T:
    """Call `work` with one thread: images are small, and the processes use all cores."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            return work(*task)
    finally:
        cv2.setNumThreads(threads)
