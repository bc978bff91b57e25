"""One colour and marker per head, one line and filling per sampler: the same in every figure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

from frcore.study.config import Study
from frcore.study.parts import Component

T = TypeVar("T")
LineStyle = str | tuple[int, tuple[int, ...]]
Fill = Literal["full", "none", "left", "right", "bottom", "top"]
"""How much of a marker is filled, as matplotlib names it."""

INK = "#1f2933"
MUTED = "#616e7c"
GRID = "#e4e7eb"

HEAD_LOOKS: Mapping[str, tuple[str, str]] = {
    "softmax": ("#555555", "o"), "normface": ("#332288", "s"), "cosface": ("#d55e00", "D"),
    "arcface": ("#0072b2", "^"), "adacos": ("#009e73", "v"), "adacos_fixed": ("#cc79a7", "<"),
    "sphereface": ("#1a85ff", ">"), "combined": ("#777777", "p"), "mv_softmax": ("#999933", "h"),
    "curricularface": ("#661100", "*"), "magface": ("#6699cc", "P"), "adaface": ("#117733", "X"),
    "elasticface": ("#5d3a9b", "d"), "sphereface2": ("#0040c0", "8"), "uniface": ("#504070", "H"),
}  # fmt: skip
"""Colour and marker. Colours: chosen greedily to maximise the smallest CIELAB distance in normal,
protan and deutan vision (Machado et al. 2009) among colours with a contrast of at least 3 to white;
common heads first. Okabe-Ito and Tol palettes were the candidates; for the last two, colours at
even steps of sRGB. Markers distinguish heads in greyscale print, where 15 colours cannot."""

HEAD_COLOURS = {name: colour for name, (colour, _) in HEAD_LOOKS.items()}

SAMPLER_LINES: Mapping[str, tuple[Fill, LineStyle]] = {
    "full": ("full", "-"),
    "partial_fc": ("none", "--"),
    "broadface": ("left", "-."),
    "interclass_filter": ("bottom", ":"),
}
"""Fill of markers and line style: they distinguish samplers in greyscale print too."""

_MORE_LINES: tuple[tuple[Fill, LineStyle], ...] = (
    ("right", (0, (5, 1, 1, 1, 1, 1))),
    ("top", (0, (8, 2))),
)


class Palette:
    """The looks of a study's heads, samplers and models, by label.

    Attributes:
        heads: colour of each head.
        models: colour of each model trained elsewhere; they have separate panels.
        samplers: filling of markers and line style of each sampler.
    """

    def __init__(self, study: Study):
        markers = {name: marker for name, (_, marker) in HEAD_LOOKS.items()}
        models = [Component(name=model.label, label=model.label) for model in study.models]
        self.heads = _assign(study.heads, HEAD_COLOURS)
        self.models = _assign(models, HEAD_COLOURS)
        self._markers = _assign(models, markers) | _assign(study.heads, markers)
        self.samplers = _assign(study.samplers, SAMPLER_LINES, _MORE_LINES)

    def marker(self, name: str) -> str:
        """The marker of a head, or of a model."""
        return self._markers[name]

    def fill(self, sampler: str) -> Fill:
        """How a sampler fills markers."""
        return self.samplers[sampler][0]

    def line(self, sampler: str) -> LineStyle:
        """The line style of a sampler."""
        return self.samplers[sampler][1]


def present(components: Iterable[Component], labels: Iterable[str]) -> list[str]:
    """The labels of components that are among `labels`, in the study's order."""
    there = set(labels)
    return [component.label for component in components if component.label in there]


def _assign(
    components: Iterable[Component], fixed: Mapping[str, T], more: Iterable[T] = ()
) -> dict[str, T]:
    """A look for each label: by label if listed, else by name if free, else a free one by hash.

    The hash keeps a variant's look the same from study to study, unless it is already taken.
    """
    components = tuple(components)
    looks = {c.label: fixed[c.label] for c in components if c.label in fixed}
    everything = (*fixed.values(), *more)
    for component in components:
        if component.label in looks:
            continue
        free = [look for look in everything if look not in looks.values()] or list(everything)
        own = fixed.get(component.name)
        start = zlib.crc32(component.label.encode()) % len(free)
        looks[component.label] = own if own in free else free[start]
    return looks
