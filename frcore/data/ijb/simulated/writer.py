"""A synthetic folder in the layout of IJB-B and IJB-C, at any scale up to theirs.

Its images are either embeddings alone (`embeddings.npy`, drawn from a model of scores; there are no
pictures) or rendered faces (`loose_crop/`, with their true landmarks, so that alignment is really
exercised). The lists are the same in both cases, and what reads IJB reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from frcore.data.ijb.layout import CROPS, PUBLISHED, SYNTHETIC_MARK, Name, meta_file
from frcore.data.ijb.simulated.embeddings import write_embeddings
from frcore.data.ijb.simulated.faces import render_crops
from frcore.data.ijb.simulated.protocol import Protocol, simulate
from frcore.data.synthetic.faces.streams import stream
from frcore.errors import UserError
from frcore.files import FolderKind, atomic_directory, refuse_other_folder, write_json

SIMULATED = FolderKind(
    "a simulated IJB folder",
    SYNTHETIC_MARK,
    (SYNTHETIC_MARK, "meta/*.txt", "meta/*.csv", "embeddings.npy", f"{CROPS}/*.jpg"),
)

Source = Literal["embeddings", "faces"]

_MOST_FACES = 50_000
"""Rendered pictures; more take hours and say no more than embeddings do."""


def write_synthetic(
    out: str | Path,
    *,
    name: str = "ijbc",
    scale: float = 0.01,
    source: str = "embeddings",
    seed: int = 0,
    dim: int = 512,
    dtype: str = "float16",
    workers: int | None = None,
) -> Protocol:
    """Write the folder `out`; equal arguments give equal files.

    Args:
        out: the folder; it appears whole, or not at all. An older simulation is replaced, and
            nothing else.
        name: which benchmark's layout and proportions.
        scale: of all counts, 1 for the released ones.
        source: what stands for the images.
        seed: of everything that is drawn.
        dim: of the embeddings.
        dtype: of the embeddings.
        workers: processes that render; all available cores when absent.

    Raises:
        UserError: an impossible scale or dimension, or more faces than are sensible.
    """
    if name not in PUBLISHED:
        raise UserError(f"no benchmark '{name}'; allowed: {', '.join(PUBLISHED)}")
    if source not in ("embeddings", "faces") or dtype not in ("float16", "float32"):
        raise UserError(
            f"source '{source}' with type '{dtype}'; allowed are embeddings and faces, float16 "
            "and float32"
        )
    refuse_other_folder(Path(out), SIMULATED)
    protocol = simulate(name, scale, seed)
    count = len(protocol.template)
    if source == "faces" and count > _MOST_FACES:
        raise UserError(
            f"scale {scale} is {count:,} faces; at most {_MOST_FACES:,} are rendered: lower the "
            "scale, or use embeddings"
        )
    with atomic_directory(out, SIMULATED) as folder:
        (folder / "meta").mkdir()
        if source == "faces":
            landmarks, score = render_crops(protocol, seed, folder / CROPS, workers)
        else:
            landmarks, score = _detections(protocol, seed)
            write_embeddings(folder / "embeddings.npy", protocol, score, seed, dim, dtype)
        _write_lists(folder, name, protocol, landmarks, score)
        write_json(folder / SYNTHETIC_MARK, {
            "what": "synthetic, in the layout of " + PUBLISHED[name].title, "source": source,
            "scale": scale, "seed": seed, **protocol.sizes._asdict(),
        })  # fmt: skip
    return protocol


def _detections(protocol: Protocol, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Landmarks (N, 5, 2) and scores (N,) as of a detector, for images that do not exist.

    98 in 100 scores are above 0.9, as in the released list of IJB-B (histogram in ijb_evals.py).
    """
    from frcore.data.pixels.align import TEMPLATE_112

    rng = stream("ijb", seed, "detections")
    count = len(protocol.template)
    size = rng.uniform(0.5, 3, (count, 1, 1))
    landmarks = TEMPLATE_112 * size + rng.normal(0, 2, (count, 5, 2)) * size
    sharp = 1 - 0.02 * np.abs(rng.standard_normal(count))
    blurred = rng.random(count) < 0.02
    return landmarks, np.where(blurred, rng.uniform(0.1, 0.9, count), sharp)


def image_names(count: int) -> pa.Array:
    """The names of the images, `1.jpg` to `N.jpg`, as they are in the released lists."""
    numbers = pa.array(np.arange(1, count + 1)).cast(pa.string())
    return pa.compute.binary_join_element_wise(numbers, ".jpg", "")


def _write_lists(
    root: Path,
    name: Name,
    protocol: Protocol,
    landmarks: NDArray[np.float64],
    score: NDArray[np.float64],
) -> None:
    names, ids = image_names(len(protocol.template)), protocol.ids
    _write(meta_file(root, name, "face_tid_mid.txt"),
           [names, ids[protocol.template], protocol.medium])  # fmt: skip
    points = np.round(landmarks, 3).reshape(len(names), 10)
    _write(meta_file(root, name, "name_5pts_score.txt"),
           [names, *points.T, np.round(score, 3)])  # fmt: skip
    _write(meta_file(root, name, "template_pair_label.txt"),
           [ids[protocol.a], ids[protocol.b], protocol.same.astype(np.int8)])  # fmt: skip
    first, second = PUBLISHED[name].galleries
    # Subjects have numbers of their own, with gaps.
    subject = 3 * stream("ijb", "subjects").permutation(protocol.sizes.subjects) + 1
    endings = {1: f"1N_gallery_{first}.csv", 2: f"1N_gallery_{second}.csv", 0: "1N_probe_mixed.csv"}
    for number, ending in endings.items():
        rows = protocol.list_of(number)
        template = rows["template"].to_numpy()
        columns = [ids[template], subject[protocol.subject[template]],
                   names.take(pa.array(rows["image"].to_numpy()))]  # fmt: skip
        _write(meta_file(root, name, ending), columns, ["TEMPLATE_ID", "SUBJECT_ID", "FILENAME"])


def _write(path: Path, columns: list[pa.Array | NDArray], header: list[str] | None = None) -> None:
    """A text table: with a header and commas, or without and spaces, as the released lists are."""
    names = header or [str(place) for place in range(len(columns))]
    options = pyarrow.csv.WriteOptions(
        include_header=header is not None,
        delimiter="," if header else " ",
        quoting_style="none",
        quoting_header="none",
    )
    pyarrow.csv.write_csv(pa.table(dict(zip(names, columns, strict=True))), path, options)
