"""What stands where on the page: the figures and tables of a report in their reading order."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Part:
    """A figure or table in its section.

    Attributes:
        kind: which of the two.
        name: as in `frcore.reporting.outputs`.
        heading: above a figure; nothing where the section's own says enough.
        fold: what a closed long table says of itself; an empty one never closes.
    """

    kind: Literal["figure", "table"]
    name: str
    heading: str = ""
    fold: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name: a figure and a table may share the name."""
        return self.kind, self.name


@dataclass(frozen=True)
class Section:
    """A section of the page and its entry in the navigation.

    Attributes:
        needs_training: whether it is empty by nature in a study that trains nothing.
    """

    id: str
    title: str
    entry: str
    parts: tuple[Part, ...]
    needs_training: bool = False


def _figure(name: str, heading: str = "") -> Part:
    return Part("figure", name, heading)


def _table(name: str, fold: str = "") -> Part:
    return Part("table", name, fold=fold)


SECTIONS = (
    Section("results", "Results", "Results", (
        _table("overview"),
        _table("accuracy", "All metrics of all benchmarks, and their protocol"),
        _table("differences", "How far from the best, and is it noise?"),
    )),
    Section("accuracy-cost", "Accuracy against cost", "Trade-off", (
        _figure("accuracy_cost"),
    ), needs_training=True),
    Section("roc", "ROC and DET", "ROC and DET", (_figure("roc"), _figure("det"))),
    Section("cost", "Speed and memory against identities", "Speed and memory", (
        _figure("memory", "Memory"),
        _figure("throughput", "Throughput"),
        _figure("roofline", "Over the roofline"),
        _table("cost", "All measurements"),
    ), needs_training=True),
    Section("training", "Angles and scale over training", "Training", (
        _figure("training"),
        _figure("head_state", "State of the heads"),
        _figure("angle_distributions", "Distribution of angles over training"),
        _figure("angle_histograms", "Distribution of angles in the last epoch"),
    ), needs_training=True),
    Section("samplers", "Accuracy against a sampler's parameter", "Samplers", (
        _figure("sampler_curves"),
    ), needs_training=True),
    Section("centers", "Class centres", "Class centres", (
        _figure("center_angles"),
        _figure("center_cosines", "Classes that may be one person"),
        _table("conflicts"),
        _figure("long_tail", "Long tail and passive updates"),
        _table("passive_updates", "How often is a centre pulled, and how often only pushed?"),
    ), needs_training=True),
    Section("published", "Published beside measured", "Published", (_table("published"),)),
    Section("missing", "What failed or is missing", "Missing", (_table("missing"),)),
)  # fmt: skip
"""In the order in which they are read; the page's own parts (the answer, the faces, how to repeat
it) stand around them."""


def shown(absent: Set[tuple[str, str]]) -> list[Section]:
    """The sections without the parts whose `key` is in `absent`.

    A section whose parts are all absent is absent too.
    """
    sections = []
    for section in SECTIONS:
        parts = tuple(part for part in section.parts if part.key not in absent)
        if parts:
            sections.append(replace(section, parts=parts))
    return sections
