"""A simulated protocol like IJB-B's or IJB-C's, at any scale: its templates, subjects and pairs.

As in the real ones every subject has one gallery template, in one of two galleries; probes are
other templates of the same subjects; a pair is a gallery template and a probe; a template mixes
stills and video frames, and a few templates have most of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frcore.data.ijb.layout import PUBLISHED, Ids, Name
from frcore.data.synthetic.faces.streams import stream
from frcore.errors import UserError

_GALLERIES: Mapping[str, tuple[int, int]] = {"ijbb": (931, 914), "ijbc": (1772, 1759)}
"""Subjects of each gallery, each with one template."""

_VIDEO = 0.35
"""Share of media that are videos; they have 2 or more frames, geometrically distributed."""

_FRAMES_END = 0.15
_SPREAD = 1.0
"""Standard deviation of the logarithm of images per template."""


class Sizes(NamedTuple):
    """Counts of a benchmark."""

    images: int
    first_gallery: int
    second_gallery: int
    probes: int
    genuine: int
    impostor: int

    @property
    def subjects(self) -> int:
        """Subjects, each with one gallery template."""
        return self.first_gallery + self.second_gallery


def sizes(name: Name, scale: float) -> Sizes:
    """The released counts times `scale` (0 to 1]; 1 gives them exactly.

    >>> sizes("ijbc", 1.0)
    Sizes(images=469375, first_gallery=1772, second_gallery=1759, probes=19593, genuine=19557, \
impostor=15638932)
    """
    if not 0 < scale <= 1:
        raise UserError(f"--scale {scale}; give more than 0 and at most 1 (the released size)")
    full = PUBLISHED[name]
    first, second = (max(2, round(scale * count)) for count in _GALLERIES[name])
    subjects = first + second
    probes = max(subjects, round(scale * full.templates) - subjects)
    return Sizes(
        images=max(subjects + probes, round(scale * full.images)),
        first_gallery=first,
        second_gallery=second,
        probes=probes,
        genuine=min(probes, max(2, round(scale * full.genuine))),
        # At most half of all impostor pairs, of which a small benchmark would otherwise take all.
        impostor=min(round(scale * (full.pairs - full.genuine)), (subjects - 1) * probes // 2),
    )


@dataclass(frozen=True)
class Protocol:
    """A simulated benchmark. Templates are numbered 0 to T − 1, the galleries' first.

    Attributes:
        sizes: its counts.
        video: whether the image is a frame (N,).
        same: True for genuine pairs (P,).
        ids: the id of each template (T,), ascending and with gaps.
        subject: of each template (T,), 0 to S − 1.
        template, medium: of each image (N,); images of a medium are consecutive.
        a, b: templates of the pairs (P,), sorted by gallery template, then probe.
    """

    sizes: Sizes
    video: NDArray[np.bool_]
    same: NDArray[np.bool_]
    ids: Ids
    subject: Ids
    template: Ids
    medium: Ids
    a: Ids
    b: Ids


def simulate(name: Name, scale: float, seed: int) -> Protocol:
    """A random protocol; equal arguments give equal protocols."""
    wanted = sizes(name, scale)
    rng = stream("ijb", name, seed, "templates")
    count = wanted.subjects + wanted.probes
    # Every subject has a probe; the remaining probes are spread very unevenly over subjects.
    share = rng.lognormal(0, _SPREAD, wanted.subjects)
    others = rng.choice(wanted.subjects, wanted.probes - wanted.subjects, p=share / share.sum())
    own = np.arange(wanted.subjects)
    subject = np.concatenate([own, rng.permutation(np.concatenate([own, others]))])
    ids = 1 + np.sort(rng.choice(2 * count, count, replace=False))
    template, medium, video = _images(rng, wanted.images, count)
    a, b, same = _pairs(stream("ijb", name, seed, "pairs"), wanted, subject)
    numbers = (ids, subject, template, medium, a, b)
    return Protocol(wanted, video, same, *(values.astype(np.int32) for values in numbers))


def _images(
    rng: np.random.Generator, count: int, templates: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Template, medium and kind of each of `count` images."""
    share = rng.lognormal(0, _SPREAD, templates)
    extra = rng.multinomial(count - templates, share / share.sum())
    template = np.repeat(np.arange(templates), 1 + extra)
    # Consecutive media: a video has several images, a still has one.
    lengths = np.where(rng.random(count) < _VIDEO, 1 + rng.geometric(_FRAMES_END, count), 1)
    starts = np.isin(np.arange(count), np.concatenate([[0], np.cumsum(lengths)]))
    starts[1:] |= template[1:] != template[:-1]
    medium = np.cumsum(starts) - 1
    video = np.bincount(medium)[medium] > 1
    # Medium ids are unordered in the released lists.
    return template, rng.permutation(3 * (int(medium[-1]) + 1))[medium], video


def _pairs(
    rng: np.random.Generator, wanted: Sizes, subject: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of gallery template and probe: templates a, b, and whether both show one subject."""
    probe = subject[wanted.subjects :]
    genuine = np.zeros((wanted.subjects, len(probe)), bool)
    genuine[probe, np.arange(len(probe))] = True
    share = wanted.impostor / (genuine.size - len(probe))
    chosen = (rng.random(genuine.shape, np.float32) < share) & ~genuine
    # Roughly the wanted number of impostors: remove or add some until it is exact.
    missing = wanted.impostor - int(chosen.sum())
    if missing < 0:
        chosen.flat[rng.choice(np.flatnonzero(chosen), -missing, replace=False)] = False
    while missing > 0:
        at = np.unique(rng.integers(0, chosen.size, missing))
        chosen.flat[at] |= ~genuine.flat[at]
        missing = wanted.impostor - int(chosen.sum())
    kept = np.sort(rng.choice(len(probe), wanted.genuine, replace=False))
    chosen[probe[kept], kept] = True
    a, b = np.nonzero(chosen)
    return a, b + wanted.subjects, genuine[a, b]
