"""Synthetic data sets: which procedural faces are rendered, with which labels and protocol.

People of a training set and of each kind of benchmark come from different streams ("splits"), so
they never overlap. An image does not depend on how many others there are; only its label under
flips and conflicts, and the choice of pairs, depend on the data set as a whole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.contents import Contents
from frcore.data.source import Source
from frcore.data.synthetic import pairing
from frcore.data.synthetic.checks import check_synthetic
from frcore.data.synthetic.faces.streams import stream
from frcore.data.synthetic.labels import (
    disturbed_labels,
    images_per_identity,
    numbers,
)
from frcore.data.synthetic.rendering import Shots, render_all
from frcore.records.manifest import Protocol
from frcore.study.data import (
    SyntheticFaces,
    SyntheticPairs,
    SyntheticTemplates,
)

VIDEO_FRAMES = 4
"""Frames per video in a training set; in templates videos may be longer."""

_IMAGES_PER_TEMPLATE = 10_000
"""Image numbers reserved for each template, so that templates do not depend on each other."""


class Faces(Source):
    """A synthetic training set."""

    def read(self) -> Contents:
        spec: SyntheticFaces = self.section
        check_synthetic(spec)
        counts = images_per_identity(spec.identities, spec.images, spec.long_tail)
        who, number = np.repeat(np.arange(spec.identities), counts), numbers(counts)
        shots = _training_shots(spec, who, number)
        true = _names("train", spec.seed, spec.identities)
        labels, names = disturbed_labels(spec, who, counts, true)
        return _drawn("train", shots, _index(shots, labels, names[labels], true[who]))


class Pairs(Source):
    """A synthetic verification benchmark."""

    def read(self) -> Contents:
        spec: SyntheticPairs = self.section
        check_synthetic(spec)
        who = np.repeat(np.arange(spec.identities), spec.images)
        number = np.tile(np.arange(spec.images), spec.identities)
        shots = Shots(spec.seed, spec.kind, spec.difficulty, who, number, number,
                      np.zeros(len(who), bool))  # fmt: skip
        names = _names(spec.kind, spec.seed, spec.identities)
        index = _index(shots, who, names[who], names[who])
        return _drawn("pairs", shots, index, pairs=pairing.verification_pairs(spec))


class Templates(Source):
    """A synthetic template benchmark."""

    def read(self) -> Contents:
        spec: SyntheticTemplates = self.section
        check_synthetic(spec)
        shots, template = _template_shots(spec)
        names = _names(spec.kind, spec.seed, spec.identities)
        index = _index(shots, shots.identity, names[shots.identity], names[shots.identity])
        templates = pd.DataFrame({"template": template, "image": np.arange(len(shots)),
                                  "medium": index["medium"], "identity": index["identity"],
                                  "weight": np.float32(1)})  # fmt: skip
        pairs = _template_pairs(spec)
        return _drawn("templates", shots, index, templates=templates, template_pairs=pairs)


def _drawn(
    protocol: Protocol, shots: Shots, index: pd.DataFrame, **tables: pd.DataFrame
) -> Contents:
    def draw(images: Path, workers: int | None) -> None:
        render_all(shots, images, workers=workers)

    return Contents(protocol, None, index, tables, draw=draw)


def _training_shots(
    spec: SyntheticFaces, who: NDArray[np.int64], number: NDArray[np.int64]
) -> Shots:
    """Each block of `VIDEO_FRAMES` images is a video with probability `spec.video`, else stills."""
    block = number // VIDEO_FRAMES
    video = np.array([
        spec.video > 0 and stream("video", spec.seed, "train", *key).random() < spec.video
        for key in zip(who.tolist(), block.tolist(), strict=True)
    ], bool)  # fmt: skip
    medium = np.where(video, block * VIDEO_FRAMES, number)
    return Shots(spec.seed, "train", spec.difficulty, who, medium, number, video)


def _template_pairs(spec: SyntheticTemplates) -> pd.DataFrame:
    """All genuine pairs, and the requested number of impostor pairs."""
    rng = stream("pairs", spec.seed, spec.kind)
    everything = pairing.possible_genuine(spec.identities, spec.templates)
    genuine = pairing.draw_genuine(rng, spec.identities, spec.templates, everything)
    impostor = pairing.draw_impostor(rng, spec.identities, spec.templates, spec.impostor_pairs)
    a, b = (np.concatenate(part) for part in zip(genuine, impostor, strict=True))
    same = np.arange(len(a)) < everything
    return pd.DataFrame({"a": a, "b": b, "same": same})


def _template_shots(spec: SyntheticTemplates) -> tuple[Shots, NDArray[np.int64]]:
    """The images of all templates, and the template of each.

    As in IJB-C a template mixes stills, each a separate medium, and video frames.
    """
    rows: list[tuple[int, int, int, int, bool]] = []
    for person in range(spec.identities):
        for template in range(spec.templates):
            rng = stream("template", spec.seed, spec.kind, person, template)
            first = template * _IMAGES_PER_TEMPLATE
            for medium, image, video in _composition(rng, spec.images):
                number = person * spec.templates + template
                rows.append((number, person, first + medium, first + image, video))
    template_of, who, medium_of, image_of, is_video = map(np.array, zip(*rows, strict=True))
    shots = Shots(spec.seed, spec.kind, spec.difficulty, who, medium_of, image_of, is_video)
    return shots, template_of


def _composition(rng: np.random.Generator, mean: int) -> list[tuple[int, int, bool]]:
    """Medium, number and kind of each image in one template of `mean` images on average."""
    count = min(1 + int(rng.poisson(mean - 1)), _IMAGES_PER_TEMPLATE)
    pictures: list[tuple[int, int, bool]] = []
    medium = 0
    while len(pictures) < count:
        video = bool(rng.random() < 0.35)
        frames = min(int(rng.integers(2, 7)) if video else 1, count - len(pictures))
        pictures += [(medium, len(pictures) + frame, video) for frame in range(frames)]
        medium += 1
    return pictures


def _names(split: str, seed: int, identities: int) -> NDArray[np.object_]:
    """Names that are unique across all synthetic data sets."""
    names = [f"synthetic/{split}/{seed}/{index:05d}" for index in range(identities)]
    return np.array(names, object)


def _index(shots: Shots, labels: NDArray[np.int64], given: NDArray[np.object_],
           true: NDArray[np.object_]) -> pd.DataFrame:  # fmt: skip
    media, _ = pd.factorize(pd.MultiIndex.from_arrays([shots.identity, shots.medium]))
    names = [f"{who}/{number:04d}" for who, number in zip(true, shots.image, strict=True)]
    return pd.DataFrame({"name": names, "identity": given, "label": labels,
                         "medium": media, "true_identity": true})  # fmt: skip
