"""Base of all records in result files: strict types, finite numbers, one way to write.

A record is the content of one file. The stage that makes the file constructs it, `frcore.results`
parses it, and `docs/formats.md` lists its fields. A file may be truncated, edited, or written by
another version or program: invalid values are refused with their location, unknown keys are
ignored, and fields that earlier versions did not write have a default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from frcore.files import write_json

MOST = 2**53
"""Beyond it floats cannot represent every integer; no count or time gets there."""

Number = Annotated[float, Field(ge=-MOST, le=MOST)] | None
"""Finite; null if it could not be measured."""

Whole = Annotated[int, Field(ge=-MOST, le=MOST)]

Count = Whole | None

Counts = list[Annotated[int, Field(ge=0, le=MOST)]]

Text = str | None


class Record(BaseModel):
    """A JSON object in a result file."""

    model_config = ConfigDict(strict=True, defer_build=True)

    def but(self, **changes: Any) -> Self:
        """A copy of the record with some values changed."""
        return self.model_copy(update=changes)

    def write(self, path: Path) -> dict[str, Any]:
        """Write the record to `path` atomically; returns what was written."""
        content = self.model_dump(mode="json")
        write_json(path, content)
        return content


class Environment(Record):
    """`environment` of every result: where it was computed."""

    versions: dict[str, Text] = Field(default_factory=dict)
    """versions of Python, frcore and the libraries that can affect results"""
    commit: Text = None
    """git commit of the source, with `+` if it had uncommitted changes; null outside a checkout"""
    platform: Text = None
    """operating system"""
    cpu: Text = None
    """name of the processor"""
    cores: Count = None
    """processor cores available to the process"""
    device: Text = None
    """`cpu` or `cuda`"""
    gpu: dict[str, Any] | Text = None
    """name, driver, power limit and memory of the GPU; null without one"""


def first_problem(error: ValidationError) -> str:
    """The location of the first invalid value, and what is wrong with it."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])
