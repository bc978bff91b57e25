"""Images of a data set that is read in place: decoded, cropped and resized on access."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.data.contents import EncodedImages, GeneratedImages
from frcore.data.pixels.align import align_face
from frcore.data.pixels.decoding import BadImageError, decode_rgb
from frcore.data.pixels.images import each_image, fit
from frcore.data.refusal import refuse_rows
from frcore.errors import UserError
from frcore.machine.parallel import available_cores
from frcore.study.data import Image

_PARTS_PER_THREAD = 4
_GENERATED = 65536
"""Images generated at a time for the hash of all."""


class InPlaceImages:
    """A replacement for `images.npy`: `len`, `.shape`, and rows as uint8 (B, size, size, 3), RGB.

    Each image is decoded, and then aligned by its landmarks if there are any, else cropped and
    resized by `fit`; generated ones are only computed. The pixels depend only on the row, not on
    the number of threads or on what else is read with it.

    Args:
        source: the encoded images.
        image: crop and size; with landmarks only the size is used.
        landmarks: float32 (N, 5, 2), x and y in pixels of each encoded image.
        threads: in the pool that decodes; all available cores by default.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        source: EncodedImages,
        image: Image,
        *,
        landmarks: NDArray[np.float32] | None = None,
        threads: int | None = None,
    ):
        if landmarks is not None and landmarks.shape != (len(source), 5, 2):
            raise UserError(
                f"landmarks have shape {landmarks.shape}, but {len(source)} images need "
                f"({len(source)}, 5, 2); prepare the data again"
            )
        self.source = source
        self.image = image
        self.landmarks = landmarks
        self.shape = (len(source), image.size, image.size, 3)
        self._numbers = np.arange(len(source), dtype=np.int32)
        self.threads = threads or available_cores()
        self._pool: ThreadPoolExecutor | None = None

    def take(self, rows: NDArray[np.int64]) -> InPlaceImages:
        """The images `rows` only, in that order."""
        landmarks = None if self.landmarks is None else self.landmarks[rows]
        source = self.source.take(rows)
        return InPlaceImages(source, self.image, landmarks=landmarks, threads=self.threads)

    def __len__(self) -> int:
        """Number of images, N."""
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """The size of all decoded images."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, rows: int | slice | ArrayLike) -> NDArray[np.uint8]:
        """One image (size, size, 3) for an int, else images (B, size, size, 3).

        Raises:
            IndexError: a row outside the data set.
            UserError: an image is damaged or gone (naming the first).
        """
        chosen = self._rows(rows)
        images = self._start(np.atleast_1d(chosen))()
        return images if chosen.ndim else images[0]

    def _start(self, rows: NDArray[np.int64]) -> Callable[[], NDArray[np.uint8]]:
        """Start decoding `rows` (B,) in the pool; the returned function waits for the images."""
        into = np.empty((len(rows), *self.shape[1:]), np.uint8)
        problems: dict[int, str] = {}
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        parts = 1 if self.threads == 1 else _PARTS_PER_THREAD * self.threads
        futures = [
            self._pool.submit(self._decode, rows, part, into, problems)
            for part in np.array_split(np.arange(len(rows)), min(len(rows), parts) or 1)
        ]

        def images() -> NDArray[np.uint8]:
            for future in futures:
                future.result()
            bad = sorted(problems)
            refuse_rows(
                "images cannot be used", bad,
                lambda at: f"{self.source.names.iloc[rows[at]]}: {problems[at]}",
                "They were usable when the data were prepared, or were not checked then: repair "
                "the source and run `frcore prepare` again",
            )  # fmt: skip
            return into

        return images

    def read_ahead(
        self, batches: Iterable[NDArray[np.int64]], ahead: int = 3
    ) -> Iterator[NDArray[np.uint8]]:
        """The images of each batch of rows, in order, while the next `ahead` are being decoded.

        Raises:
            UserError: an image is damaged or gone (naming the first of its batch).
        """
        waiting: deque[Callable[[], NDArray[np.uint8]]] = deque()
        for rows in batches:
            waiting.append(self._start(rows))
            if len(waiting) > ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def use_threads(self, threads: int) -> None:
        """Decode with this number of threads from now on."""
        if threads != self.threads:
            self.close()
            self.threads = threads

    def close(self) -> None:
        """Stop the pool's threads; they restart when images are requested again."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def problems(self, into: NDArray[np.uint8] | None = None) -> dict[int, str]:
        """Decode every image once, and return the reason for each that cannot be used.

        Args:
            into: where to put the pixels (N, size, size, 3), if given.
        """

        if isinstance(self.source, GeneratedImages):
            if into is not None:
                into[:] = self[:]
            return {}

        def work(row: int) -> None:
            image = self._one(row)
            if into is not None:
                into[row] = image

        return each_image(work, len(self), "reading images", self.threads)

    def content(self) -> Iterator[bytes | memoryview]:
        """The bytes that determine every pixel, for a hash: encoded images and cropping, or pixels
        that are generated."""
        if isinstance(self.source, GeneratedImages):
            yield f"generated {self.shape}".encode()
            for start in range(0, len(self), _GENERATED):
                yield self[start : start + _GENERATED].data
            return
        cut = "landmarks" if self.landmarks is not None else f"crop {self.image.crop}"
        yield f"encoded {len(self)} size {self.image.size} {cut}".encode()
        for row in range(len(self)):
            encoded = self.source.encoded(row)
            # The lengths make ("ab", "c") and ("a", "bc") differ.
            yield len(encoded).to_bytes(8, "little")
            yield encoded
        if self.landmarks is not None:
            yield np.ascontiguousarray(self.landmarks, np.float32).data

    def _rows(self, rows: Any) -> NDArray[np.int64]:
        """Row numbers from 0, as in numpy indexing: () for an int, else (B,)."""
        chosen = np.asarray(self._numbers[rows], np.int64)
        if chosen.ndim > 1:
            raise IndexError(f"rows of images must have one dimension, got {rows!r}")
        return chosen

    def _decode(self, rows: NDArray[np.int64], part: NDArray[np.int64],
                into: NDArray[np.uint8], problems: dict[int, str]) -> None:  # fmt: skip
        if isinstance(self.source, GeneratedImages):
            into[part] = self.source.generated(rows[part], self.image.size)
            return
        for at in part:
            try:
                into[at] = self._one(int(rows[at]))
            except BadImageError as problem:
                problems[int(at)] = str(problem)

    def _one(self, row: int) -> NDArray[np.uint8]:
        image = decode_rgb(self.source.encoded(row))
        if self.landmarks is None:
            return fit(image, self.image)
        try:
            return align_face(image, self.landmarks[row], self.image.size)
        except UserError as error:
            raise BadImageError(str(error)) from error
