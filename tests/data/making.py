"""Small inputs for the tests of the data stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.study.data import Image
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec

SYNTHETIC = Image(size=16, alignment="synthetic")
PLAIN = Image(size=16, alignment="none")


def train(out: Path, image: Image = SYNTHETIC, workers: int | None = 1, **data: Any) -> Prepared:
    spec = TrainDataSpec.model_validate({"image": image.model_dump(), "data": data})
    prepare(spec, out, workers=workers)
    return Prepared.open(out)


def benchmark(out: Path, image: Image = SYNTHETIC, **data: Any) -> Prepared:
    spec = BenchmarkSpec.model_validate({"name": "b", "image": image.model_dump(), "data": data})
    prepare(spec, out, workers=1)
    return Prepared.open(out)


def pixels(seed: int, side: int = 20) -> np.ndarray:
    """A smooth picture, so that JPEG keeps it."""
    ramp = np.linspace(0, 200, side)
    picture = np.stack([ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None]], axis=-1)
    return np.dstack([picture, np.full((side, side), 10 * (seed % 25))]).astype(np.uint8)


def write_person(root: Path, name: str, count: int, *, suffix: str = ".jpg") -> list[Path]:
    folder = root / name
    folder.mkdir(parents=True)
    paths = [folder / f"{name}_{number:04d}{suffix}" for number in range(1, count + 1)]
    for number, path in enumerate(paths):
        Pillow.fromarray(pixels(number)).save(path)
    return paths
