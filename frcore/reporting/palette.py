"""One colour per head and one marker and line per sampler, the same in every figure and study."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from frcore.config import Component, Study

T = TypeVar("T")
LineStyle = str | tuple[int, tuple[int, ...]]

INK = "#1f2933"
MUTED = "#616e7c"
GRID = "#e4e7eb"

HEAD_COLOURS: Mapping[str, str] = {
    "softmax": "#555555",
    "normface": "#332288",
    "cosface": "#d55e00",
    "arcface": "#0072b2",
    "adacos": "#009e73",
    "adacos_fixed": "#cc79a7",
    "sphereface": "#1a85ff",
    "combined": "#777777",
    "mv_softmax": "#999933",
    "curricularface": "#661100",
    "magface": "#6699cc",
    "adaface": "#117733",
    "elasticface": "#5d3a9b",
}
"""Chosen greedily for the largest least CIELAB distance under normal, protan and deutan sight
(Machado et al. 2009) among colours with a contrast of at least 3 to white; the common heads first.
Okabe-Ito and Tol palettes were the candidates."""

SAMPLER_LINES: Mapping[str, tuple[str, LineStyle]] = {
    "full": ("o", "-"),
    "partial_fc": ("s", "--"),
    "broadface": ("^", "-."),
}
"""Marker and line style: they tell the samplers apart in grey print too."""

_MORE_LINES: tuple[tuple[str, LineStyle], ...] = (
    ("D", ":"),
    ("v", (0, (5, 1, 1, 1, 1, 1))),
    ("P", (0, (8, 2))),
    ("X", (0, (2, 2))),
)


class Palette:
    """The colours and lines of a study's heads and samplers, by label."""

    def __init__(self, study: Study):
        self.heads = _assign(study.heads, HEAD_COLOURS, HEAD_COLOURS.values())
        lines = (*SAMPLER_LINES.values(), *_MORE_LINES)
        self.samplers = _assign(study.samplers, SAMPLER_LINES, lines)
        models = [Component(name=model.label, label=model.label) for model in study.models]
        self.models = _assign(models, HEAD_COLOURS, HEAD_COLOURS.values())
        """Colours of models trained elsewhere; they stand in panels of their own."""

    def marker(self, sampler: str) -> str:
        """The marker of a sampler."""
        return self.samplers[sampler][0]

    def line(self, sampler: str) -> LineStyle:
        """The line style of a sampler."""
        return self.samplers[sampler][1]


def _assign(
    components: Iterable[Component], fixed: Mapping[str, T], pool: Iterable[T]
) -> dict[str, T]:
    """A look for each label: its own by label, else by name if free, else a free one by hash.

    The hash keeps a variant's look the same from study to study, as long as nobody else has it.
    """
    components = tuple(components)
    looks = {c.label: fixed[c.label] for c in components if c.label in fixed}
    everything = tuple(pool)
    for component in components:
        if component.label in looks:
            continue
        free = [look for look in everything if look not in looks.values()] or list(everything)
        own = fixed.get(component.name)
        start = zlib.crc32(component.label.encode()) % len(free)
        looks[component.label] = own if own in free else free[start]
    return looks
