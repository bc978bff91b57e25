"""Layout of the page: the figures and tables of a report in reading order."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import yaml

from frcore.files import write_text


@dataclass(frozen=True)
class Part:
    """A figure or table in its section.

    Attributes:
        kind: `figure` or `table`.
        name: as in `frcore.reporting.outputs`.
        title, caption: as shown on the page and in Snakemake's report.
        heading: shown above a figure; empty where the section's heading is enough.
        fold: summary line of a long, collapsed table; if empty, the table is never collapsed.
    """

    kind: str
    name: str
    title: str
    caption: str
    heading: str = ""
    fold: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name: a figure and a table may share a name."""
        return self.kind, self.name


@dataclass(frozen=True)
class Section:
    """A section of the page and its entry in the navigation.

    Attributes:
        needs_training: whether it is always empty in a study that trains nothing.
    """

    id: str
    title: str
    entry: str
    parts: tuple[Part, ...]
    needs_training: bool = False


def _sections() -> tuple[Section, ...]:
    file = files("frcore.reporting").joinpath("templates", "contents.yaml")
    return tuple(
        Section(**{"entry": one["title"], **one, "parts": tuple(map(_part, one["parts"]))})
        for one in yaml.safe_load(file.read_text(encoding="utf-8"))
    )


def _part(given: dict[str, str]) -> Part:
    (kind,) = given.keys() & {"figure", "table"}
    return Part(kind, name=given.pop(kind), **given)


SECTIONS = _sections()
"""In reading order; the page's other parts (the answer, the faces, how to reproduce it) surround
them."""

PARTS = tuple(part for section in SECTIONS for part in section.parts)
TITLES = {part.key: part.title for part in PARTS}


def write_captions(folder: Path) -> None:
    """Write the caption of each figure and table into `folder`, for `snakemake --report`."""
    for part in PARTS:
        name = part.name if part.kind == "figure" else f"table_{part.name}"
        write_text(folder / f"{name}.rst", f"**{part.title}.** {part.caption}\n")


def shown(absent: Set[tuple[str, str]]) -> list[Section]:
    """The sections without the parts whose `key` is in `absent`.

    A section whose parts are all absent is omitted.
    """
    left = [
        replace(section, parts=tuple(part for part in section.parts if part.key not in absent))
        for section in SECTIONS
    ]
    return [section for section in left if section.parts]
