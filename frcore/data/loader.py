"""Batches for training, and the only place where pixels become the network's input.

The order of the images is a function of (seed, epoch); which of them are mirrored or augmented is
one of (seed, epoch, step). Neither depends on the device, nor on where an epoch was resumed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from frcore.data.pixels.augment import Changes, augmented, draw, planned
from frcore.data.prepared.folder import Prepared
from frcore.sharding.shard import part_of
from frcore.study.expansion import HELD_IN_MEMORY
from frcore.study.parts import Augment

if TYPE_CHECKING:
    from frcore.data.prepared.in_place import InPlaceImages

T = TypeVar("T")

_PREFETCHED = 3
_ORDER, _MIRROR, _AUGMENT = 1, 2, 3


def to_network(
    images_NHWC: NDArray[np.uint8] | torch.Tensor,
    device: torch.device | str = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
) -> torch.Tensor:
    """Turn uint8 RGB images (N, H, W, 3) into the network's input, float32 (N, 3, H, W).

    Pixels become (x − 127.5) / 127.5, so −1 to 1; the channel order stays R, G, B. They move as
    bytes and converted on `device`, which takes a quarter of the traffic.
    """
    if isinstance(images_NHWC, np.ndarray):
        # A memory map is read-only, which torch.from_numpy would warn about.
        images_NHWC = torch.from_numpy(np.array(images_NHWC))
    if images_NHWC.dtype != torch.uint8 or images_NHWC.ndim != 4 or images_NHWC.shape[3] != 3:
        raise ValueError(
            f"got {images_NHWC.dtype} {tuple(images_NHWC.shape)}; images must be uint8 (N, H, W, 3)"
        )
    moved = images_NHWC.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return moved.to(torch.float32, memory_format=memory_format).sub_(127.5).div_(127.5)


class _Batch(NamedTuple):
    """A batch on the CPU: what the device needs to finish it.

    Attributes:
        image_NHWC: uint8 RGB.
        label_N: int64.
        mirror_N: which images are mirrored; None for none.
        changes: of the augmentation.
    """

    image_NHWC: torch.Tensor
    label_N: torch.Tensor
    mirror_N: torch.Tensor | None
    changes: Changes

    def pinned(self) -> _Batch:
        """The same in pinned memory, from which a copy to a GPU waits for nothing."""
        changes = {k: tuple(v.pin_memory() for v in values) for k, values in self.changes.items()}
        mirror_N = None if self.mirror_N is None else self.mirror_N.pin_memory()
        return _Batch(self.image_NHWC.pin_memory(), self.label_N.pin_memory(), mirror_N, changes)


class Batches:
    """The batches of each epoch of a prepared data set.

    An epoch visits the images in random order without repetition. All batches have `batch_size`
    images, and images left over at the end of an epoch are not used in it: a short batch would
    weight its images more, and add another tensor shape. Only a data set smaller than one batch
    gives a short batch, one per epoch.

    Args:
        prepared: the data.
        batch_size: images per step.
        seed: of order and mirroring.
        device: where to put the batches.
        flip: mirror every image with probability ½.
        augment: probabilities of the augmentations of `frcore.data.pixels.augment`; None for none.
        threads: that decode images read in place. They never change the batches.
        channels_last: images as NHWC in memory, as they come; their shape is the same.
        rank, ranks: with several processes, each gets its part of every batch, in order.
    """

    def __init__(
        self,
        prepared: Prepared,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        flip: bool = True,
        augment: Augment | None = None,
        threads: int = 1,
        rank: int = 0,
        ranks: int = 1,
        channels_last: bool = False,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.device = torch.device(device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.flip = flip
        self.augment = augment
        self.seed = seed
        self._labels = prepared.labels
        images = prepared.images
        self._images: NDArray[np.uint8] | InPlaceImages = images
        if not isinstance(images, np.ndarray):
            images.use_threads(threads)
        if images.nbytes <= HELD_IN_MEMORY:
            self._images = np.array(images) if isinstance(images, np.ndarray) else images[:]
        self.batch_size = min(batch_size, len(self._labels))
        self.steps_per_epoch = len(self._labels) // self.batch_size
        parts = [part_of(self.batch_size, k, ranks) for k in range(ranks)]
        self.sizes = [part.stop - part.start for part in parts]
        """Rows of each process."""
        self._own = parts[rank]

    def __len__(self) -> int:
        """Steps per epoch."""
        return self.steps_per_epoch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of the images used in `epoch`, (steps · batch size,)."""
        order = self._generator(_ORDER, epoch, 0).permutation(len(self._labels))
        return order[: self.steps_per_epoch * self.batch_size]

    def mirrored(self, epoch: int, step: int) -> NDArray[np.bool_]:
        """Which images of a batch are mirrored, (batch size,)."""
        return self._generator(_MIRROR, epoch, step).random(self.batch_size) < 0.5

    def sample(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """At most `count` images at equal distances in the data set, and their labels.

        Neither mirrored nor augmented, the same at every call, and with several processes the same
        on each; float32 (P, 3, H, W) and int64 (P,), on the device.
        """
        count = min(count, len(self._labels))
        rows = np.arange(count, dtype=np.int64) * len(self._labels) // count
        [pixels] = self._pixels([rows])
        labels = torch.from_numpy(self._labels[rows]).to(self.device)
        return to_network(pixels, self.device), labels

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images float32 (B, 3, H, W) and labels int64 (B,), this process's, on the device.

        Args:
            epoch: which one; the same number gives the same batches.
            start_step: steps to skip, to resume exactly in the middle of an epoch.
        """
        order = self.order(epoch)
        rows = [
            order[step * self.batch_size : (step + 1) * self.batch_size][self._own]
            for step in range(start_step, self.steps_per_epoch)
        ]
        steps = range(start_step, self.steps_per_epoch)
        gathered: Iterator[_Batch]
        gathered = map(partial(self._on_the_way, epoch), self._pixels(rows), rows, steps)
        if self.device.type == "cuda" or type(self._images) is not np.ndarray:
            gathered = _ahead(gathered)
        for batch in gathered:
            yield self._finish(batch), self._move(batch.label_N)

    def _pixels(self, batches: list[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        """The images of each batch of rows."""
        if not isinstance(self._images, np.ndarray):
            return self._images.read_ahead(batches)
        return map(self._gather, batches)

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = self._images
        assert isinstance(images, np.ndarray), "those in place are decoded ahead"
        if not isinstance(images, np.memmap):
            return images[rows]
        # Rows are read in file order; the batch keeps its own order.
        into = np.argsort(rows)
        pixels = np.empty((len(rows), *images.shape[1:]), np.uint8)
        pixels[into] = images[rows[into]]
        return pixels

    def _on_the_way(
        self, epoch: int, pixels: NDArray[np.uint8], rows: NDArray[np.int64], step: int
    ) -> _Batch:
        """A batch with all that is drawn for it as tensors, in pinned memory for a GPU.

        Nothing of this is left to the thread that trains, which has a GPU to keep busy.
        """
        mirror, changes = None, {}
        if self.augment is not None:
            generator = self._generator(_AUGMENT, epoch, step)
            # Drawn for the whole batch, so that each image has its own however many processes.
            choices = draw(self.augment, self.batch_size, pixels.shape[1], generator)
            own = np.arange(self.batch_size)[self._own]
            changes = planned(choices.of(own), pixels.shape[1])
        if self.flip:
            mirror = torch.from_numpy(self.mirrored(epoch, step)[self._own])
        images, labels = torch.from_numpy(pixels), torch.from_numpy(self._labels[rows])
        batch = _Batch(images, labels, mirror, changes)
        return batch.pinned() if self.device.type == "cuda" else batch

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _finish(self, batch: _Batch) -> torch.Tensor:
        images = self._move(batch.image_NHWC)
        if batch.changes:
            on_device = {k: tuple(map(self._move, values)) for k, values in batch.changes.items()}
            images = augmented(images, on_device)
        if batch.mirror_N is not None:
            # As bytes, which is a quarter of the work.
            mirror = self._move(batch.mirror_N)
            images = torch.where(mirror[:, None, None, None], images.flip(2), images)
        return to_network(images, self.device, self.memory_format)

    def _generator(self, purpose: int, epoch: int, step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, epoch, step])


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield `items`, which another thread produces a few ahead."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        waiting = deque(pool.submit(next, items, None) for _ in range(_PREFETCHED))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
    finally:
        # Also if the caller leaves the epoch early.
        pool.shutdown(cancel_futures=True)
