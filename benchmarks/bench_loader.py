"""What decoding costs while training: `pytest benchmarks/bench_loader.py`.

CPU time of all threads, so images/s are per core. The limit is OpenCV's bare JPEG decoder on the
same bytes. The images are the 112×112 JPEGs of LFW in RecordIO where `FRCORE_SHARED_DATA` has
them, else synthetic faces. Opening is measured on a file of a million records without images, on
which reading the file itself takes next to nothing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from frcore.data import loader
from frcore.data.loader import Batches
from frcore.data.pixels.decoding import decode_rgb
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.in_place import InPlaceImages
from frcore.data.recordio.dataset import RecordIODataset
from frcore.study.data import Image
from frcore.study.expansion import TrainDataSpec
from tests.data.recordio.rec_writer import insightface, write_rec

SIZE, IMAGES, BATCH = 112, 2048, 128
RECORDS = 1_000_000

pytestmark = pytest.mark.benchmark(timer=time.process_time, min_rounds=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `.rec` of 112×112 JPEGs."""
    shared = os.environ.get("FRCORE_SHARED_DATA")
    if shared is not None:
        return Path(shared) / "lfw" / "recordio-min5"
    out = tmp_path_factory.mktemp("faces")
    made = prepared(out / "set", "synthetic", kind="synthetic", identities=32, images=64)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    encoded = [cv2.imencode(".jpg", face[:, :, ::-1], quality)[1].tobytes() for face in made.images]
    write_rec(out / "train.rec", insightface(made.labels.tolist(), encoded))
    return out


def prepared(out: Path, alignment: str, **data: Any) -> Prepared:
    image = Image.model_validate({"size": SIZE, "alignment": alignment})
    spec = TrainDataSpec.model_validate({"image": image.model_dump(), "data": data})
    prepare(spec, out)
    return Prepared.open(out)


@pytest.fixture(scope="module")
def encoded(folder: Path) -> list[bytes]:
    data = RecordIODataset(folder)
    rows = np.random.default_rng(0).permutation(len(data))[:IMAGES]
    return [bytes(data.encoded(int(row))) for row in rows]


def rate(benchmark: Any, images: int) -> None:
    benchmark.extra_info["images_per_second_per_core"] = round(images / benchmark.stats["median"])


def test_bare_decode(benchmark: Any, encoded: list[bytes]) -> None:
    """The limit: OpenCV alone, in one thread."""
    arrays = [np.frombuffer(content, np.uint8) for content in encoded]

    def decode() -> None:
        for array in arrays:
            cv2.imdecode(array, cv2.IMREAD_COLOR_RGB)

    benchmark(decode)
    rate(benchmark, len(arrays))


def test_strict_decode(benchmark: Any, encoded: list[bytes]) -> None:
    """With the walk over the segments of each file."""

    def decode() -> None:
        for content in encoded:
            decode_rgb(content)

    benchmark(decode)
    rate(benchmark, len(encoded))


@pytest.mark.parametrize("threads", [1, 2])
def test_images_in_place(benchmark: Any, folder: Path, threads: int) -> None:
    """From the memory map to uint8 batches."""
    images = InPlaceImages(
        RecordIODataset(folder).images, Image(size=SIZE, alignment="none"), threads=threads
    )
    order = np.random.default_rng(0).permutation(len(images))[:IMAGES]
    benchmark(lambda: [images[order[at : at + BATCH]] for at in range(0, len(order), BATCH)])
    rate(benchmark, len(order))


@pytest.mark.parametrize("threads", [1, 2])
def test_loader(benchmark: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                threads: int) -> None:  # fmt: skip
    """All of it: decode, batch, mirror, and the network's float32 input, on the CPU."""
    torch.set_num_threads(1)
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    data = prepared(tmp_path / "set", "none", kind="recordio", root=str(folder), check="none")
    batches = Batches(data, BATCH, seed=0, threads=threads)
    steps = len(batches)

    def epoch() -> None:
        for _ in batches.epoch(0):
            pass

    benchmark(epoch)
    rate(benchmark, steps * BATCH)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.rec` of very many records with four bytes in place of an image, and its index."""
    words = np.zeros((RECORDS, 9), "<u4")
    words[:, 0], words[:, 1] = 0xCED7230A, 28
    words[:, 3] = np.repeat(np.arange(RECORDS // 10, dtype="<f4"), 10).view("<u4")
    words[:, 8] = 1
    path = tmp_path_factory.mktemp("many") / "train.rec"
    path.write_bytes(words.tobytes())
    lines = (f"{key}\t{36 * key}\n" for key in range(RECORDS))
    path.with_suffix(".idx").write_text("".join(lines))
    return path


@pytest.mark.parametrize("idx", [True, False])
def test_open(benchmark: Any, many: Path, tmp_path: Path, idx: bool) -> None:
    """Find every record, check it and read its label."""
    path = many
    if not idx:
        # The same file where no index lies beside it.
        path = tmp_path / "train.rec"
        path.hardlink_to(many)
    data = benchmark(lambda: RecordIODataset(path))
    assert (len(data), data.num_classes) == (RECORDS, RECORDS // 10)
    benchmark.extra_info["microseconds_per_record"] = benchmark.stats["median"] * 1e6 / RECORDS
