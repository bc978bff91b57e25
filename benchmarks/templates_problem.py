"""A templates benchmark of IJB-C's size with made-up embeddings, and one evaluation of it.

`python -m benchmarks.templates_problem make FOLDER` writes it, `... judge FOLDER` evaluates it and
prints what each part took, `... peers FOLDER` scores a sample of its pairs as the peers do. Each is
a process of its own, so that a peak of memory is that of its own work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.contents import Contents, index_of
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.writing import write
from frcore.evaluation.judge import tar_rows
from frcore.evaluation.protocol import pooled_templates, rows_needed, score_templates
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.scoring import score_rows
from frcore.measurement.process import peak_rss_bytes
from frcore.study.data import Image
from frcore.study.parts import Evaluation

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Size:
    """IJB-C's: Maze et al., "IARPA Janus Benchmark – C" (2018), and InsightFace's lists of it."""

    images: int = 469_375
    people: int = 3_531
    probes: int = 19_593
    pairs: int = 15_658_489
    genuine: int = 19_557
    dim: int = 512

    def part(self, share: float) -> Size:
        """A smaller one: `share` of the people, so its square of the pairs."""
        counts = {name: max(20, int(value * share)) for name, value in asdict(self).items()}
        pairs = int(self.pairs * share**2)
        return Size(**counts | {"pairs": pairs, "dim": self.dim})


def make(folder: Path, size: Size, seed: int = 0) -> None:
    """Write the prepared benchmark `folder`/benchmark and `folder`/embeddings.npy (float16).

    One gallery template per person and the probes, as many images in each as in IJB-C on average.
    Of all pairs gallery × probe a random part is listed, in random order: the worst case for tiles.
    """
    rng = np.random.default_rng(seed)
    person_of_template = np.r_[np.arange(size.people), rng.integers(size.people, size=size.probes)]
    # Ids are not rows, as in IJB, and every template has an image.
    ids = np.sort(rng.choice(10 * person_of_template.size, person_of_template.size, replace=False))
    template = np.r_[np.arange(ids.size), rng.integers(ids.size, size=size.images - ids.size)]
    template.sort()
    _write_embeddings(folder / "embeddings.npy", person_of_template[template], size, rng)
    names = np.array([f"person {code:05d}" for code in range(size.people)])
    people = names[person_of_template[template]]
    medium = rng.integers(0, 3 * ids.size, size.images)
    a, b = _pairs(person_of_template, size, rng)
    about = {"kind": "synthetic_templates", "spec": {"data": {"fars": FARS}}, "spec_hash": "0" * 64}
    index = index_of(
        [f"{row}.jpg" for row in range(size.images)],
        person_of_template[template],
        names,
        medium,
    )
    templates = pd.DataFrame(
        {
            "template": ids[template],
            "image": np.arange(size.images),
            "medium": medium,
            "identity": people,
            "weight": rng.random(size.images),
        }
    )
    same = person_of_template[a] == person_of_template[b]
    pairs = pd.DataFrame({"a": ids[a].astype(np.int32), "b": ids[b].astype(np.int32), "same": same})
    contents = Contents("templates", None, index, {"templates": templates, "template_pairs": pairs})
    image = Image(size=112, alignment="none")
    write(folder / "benchmark", contents, image, alignment="none", synthetic=True, **about)


def _write_embeddings(
    path: Path, person: NDArray[np.int64], size: Size, rng: np.random.Generator
) -> None:
    """People at random directions, their images about them: TAR is high and not perfect."""
    out = np.lib.format.open_memmap(path, "w+", np.float16, (size.images, size.dim))
    centre = rng.normal(size=(size.people, size.dim)).astype(np.float32)
    # People that resemble each other, or impostor scores would be those of noise alone.
    centre += 2 * rng.normal(size=(50, size.dim))[rng.integers(50, size=size.people)]
    for start in range(0, size.images, 8192):
        rows = person[start : start + 8192]
        noise = rng.standard_normal((rows.size, size.dim), dtype=np.float32)
        out[start : start + rows.size] = centre[rows] + 6 * noise
    out.flush()


def _pairs(
    person: NDArray[np.int64], size: Size, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows of templates: each listed genuine pair, and impostor pairs without repeats."""
    every = size.people * size.probes
    probe_people = person[size.people :]
    genuine = np.arange(size.probes) + probe_people * size.probes
    chosen = np.zeros(every, dtype=np.bool_)
    impostors = size.pairs - size.genuine
    while (missing := impostors - np.count_nonzero(chosen)) > 0:
        chosen[rng.integers(every, size=missing)] = True
        chosen[genuine] = False
    chosen[rng.choice(genuine, min(size.genuine, genuine.size), replace=False)] = True
    pairs = rng.permutation(np.flatnonzero(chosen))
    a, b = np.divmod(pairs, size.probes)
    return a.astype(np.int32), (size.people + b).astype(np.int32)


class Clock:
    """What each part took: wall and CPU seconds, and the process's peak memory after it."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.parts[name] = {
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "peak_mib": peak_rss_bytes() / 2**20,
        }


def judge(folder: Path) -> dict[str, object]:
    """From stored embeddings to the table of TAR with its intervals."""
    clock = Clock()
    evaluation = Evaluation(flip="none")
    with clock.part("load"):
        benchmark = Prepared.open(folder / "benchmark")
        embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
        rows = rows_needed(benchmark)
        seen = np.zeros(benchmark.manifest.images, dtype=np.bool_)
    with clock.part("pool"):
        pooled = pooled_templates(benchmark, embeddings, rows, seen, evaluation)
        del embeddings  # as in an evaluation, which maps the file for no longer than this
    with clock.part("score"):
        pairs = score_templates(benchmark, pooled)
    with clock.part("tar"):
        Ranked(pairs.scores, pairs.same).tar_at_fars(FARS)
    with clock.part("table"):  # TAR again, and the intervals
        table = tar_rows(pairs, "all", FARS)
    return {"parts": clock.parts, "pairs": pairs.scores.size, "table": table}


def peers(folder: Path, sample: int) -> dict[str, object]:
    """The peers' way, two rows fetched per pair in double precision, on the first pairs."""
    clock = Clock()
    benchmark = Prepared.open(folder / "benchmark")
    size = len(benchmark.column("template_pairs", "a"))
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
    rows = rows_needed(benchmark)
    seen = np.zeros(benchmark.manifest.images, dtype=np.bool_)
    pooled = pooled_templates(benchmark, embeddings, rows, seen, Evaluation(flip="none"))
    vectors, ids = pooled.templates
    a, b = (np.searchsorted(ids, benchmark.column("template_pairs", s)[:sample]) for s in "ab")
    double = vectors.astype(np.float64)
    found = []
    with clock.part("peers"):
        for start in range(0, sample, 100_000):
            part = slice(start, start + 100_000)
            found.append(np.sum(double[a[part]] * double[b[part]], axis=-1))
    scores = np.concatenate(found)
    error = float(np.abs(scores - score_rows(vectors, a, b)).max())
    return {"parts": clock.parts, "sample": len(a), "pairs": size, "largest_difference": error}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("make", "judge", "peers"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--sample", type=int, default=500_000)
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder, Size() if given.share == 1 else Size().part(given.share))
        return
    what = given.what
    found = judge(given.folder) if what == "judge" else peers(given.folder, given.sample)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
