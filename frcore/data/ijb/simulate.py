"""`frcore simulate-ijb`: a synthetic folder in the layout of IJB-B or IJB-C, at any scale.

The images are either embeddings only or rendered faces; the lists are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from frcore.data.ijb.layout import (
    CROPS,
    PUBLISHED,
    SYNTHETIC_MARK,
    Name,
    enrolment_files,
    meta_file,
)
from frcore.data.ijb.protocol import Protocol, simulate
from frcore.data.ijb.simulated_images import detections, render_crops, write_embeddings
from frcore.data.synthetic.faces.streams import stream
from frcore.errors import UserError, unknown_name
from frcore.files import FolderKind, atomic_directory, refuse_other_folder, write_json

SIMULATED = FolderKind(
    "a simulated IJB folder",
    SYNTHETIC_MARK,
    (SYNTHETIC_MARK, "meta/*.txt", "meta/*.csv", "embeddings.npy", f"{CROPS}/*.jpg"),
)

_MOST_FACES = 50_000
"""Most images to render; more would take hours and show no more than embeddings do."""


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
        out: the folder; written completely or not at all. It replaces an older simulation, but
            nothing else.
        name: the benchmark whose layout and proportions to use.
        scale: of all counts, 1 for the released ones.
        source: what to write for the images, "embeddings" or "faces".
        seed: of all randomness.
        dim: of the embeddings.
        dtype: of the embeddings, "float16" or "float32".
        workers: processes that render; all available cores by default.

    Raises:
        UserError: an impossible scale or dimension, or more faces than are sensible.
    """
    for what, given, allowed in (("benchmark", name, tuple(PUBLISHED)),
                                 ("source", source, ("embeddings", "faces")),
                                 ("type", dtype, ("float16", "float32"))):  # fmt: skip
        if given not in allowed:
            raise unknown_name(what, given, allowed)
    refuse_other_folder(Path(out), SIMULATED)
    protocol = simulate(name, scale, seed)
    count = len(protocol.template)
    if source == "faces" and count > _MOST_FACES:
        raise UserError(
            f"scale {scale} means {count:,} faces, but at most {_MOST_FACES:,} can be rendered: "
            "lower the scale, or use embeddings"
        )
    with atomic_directory(out, SIMULATED) as folder:
        (folder / "meta").mkdir()
        if source == "faces":
            landmarks, score = render_crops(protocol, seed, folder / CROPS, workers)
        else:
            landmarks, score = detections(count, seed)
            write_embeddings(folder / "embeddings.npy", protocol, score, seed, dim, dtype)
        _write_lists(folder, name, protocol, landmarks, score)
        write_json(folder / SYNTHETIC_MARK, {
            "what": "synthetic, in the layout of " + PUBLISHED[name].title, "source": source,
            "scale": scale, "seed": seed, **protocol.sizes._asdict(),
        })  # fmt: skip
    return protocol


def _write_lists(
    root: Path,
    name: Name,
    protocol: Protocol,
    landmarks: NDArray[np.float64],
    score: NDArray[np.float64],
) -> None:
    count, ids, template = len(protocol.template), protocol.ids, protocol.template
    names = pa.array([f"{number}.jpg" for number in range(1, count + 1)])
    points = np.round(landmarks, 3).reshape(count, 10)
    for ending, columns in (
        ("face_tid_mid", [names, ids[template], protocol.medium]),
        ("name_5pts_score", [names, *points.T, np.round(score, 3)]),
        ("template_pair_label",
         [ids[protocol.a], ids[protocol.b], protocol.same.astype(np.int8)]),
    ):  # fmt: skip
        _write(meta_file(root, name, f"{ending}.txt"), dict(enumerate(columns)), " ")
    # Subjects have numbers of their own, with gaps.
    subject = 3 * stream("ijb", "subjects").permutation(protocol.sizes.subjects) + 1
    one, two = protocol.sizes.first_gallery, protocol.sizes.subjects
    ranges = {1: (0, one), 2: (one, two), 0: (two, len(ids))}
    for number, path in enrolment_files(root, name).items():
        low, high = ranges[number]
        rows = np.flatnonzero((template >= low) & (template < high))
        enrolled = {"TEMPLATE_ID": ids[template[rows]],
                    "SUBJECT_ID": subject[protocol.subject[template[rows]]],
                    "FILENAME": names.take(pa.array(rows))}  # fmt: skip
        _write(path, enrolled, ",")


def _write(path: Path, columns: Mapping[int, object] | Mapping[str, object], separator: str
           ) -> None:  # fmt: skip
    """Write a text table like the released ones: with commas it has a header, with spaces none."""
    options = pyarrow.csv.WriteOptions(include_header=separator == ",", delimiter=separator,
                                       quoting_style="none", quoting_header="none")  # fmt: skip
    table = pa.table({str(name): values for name, values in columns.items()})
    pyarrow.csv.write_csv(table, path, options)
