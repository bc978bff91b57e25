"""What all records of result files have in common: strict types, finite numbers, one way to write.

A record is the content of one file. The stage that makes the file constructs it, `frcore.results`
parses it, and `docs/formats.md` lists its fields. A file may have been cut, edited, or written by
another version or by somebody else: what does not fit is refused with its place, keys that are not
known here are ignored, and fields that earlier versions did not write have a default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from frcore.files import write_json

MOST = 2**53
"""Beyond it a float does not hold every integer; nothing counted or timed gets there."""

Number = Annotated[float, Field(ge=-MOST, le=MOST)] | None
"""Neither NaN nor infinite: what could not be measured is null."""

Whole = Annotated[int, Field(ge=-MOST, le=MOST)]

Count = Whole | None

Counts = list[Annotated[int, Field(ge=0, le=MOST)]]

Text = str | None


class Record(BaseModel):
    """A JSON object in a result file."""

    model_config = ConfigDict(strict=True, defer_build=True)

    def but(self, **changes: Any) -> Self:
        """The same record with other values."""
        return self.model_copy(update=changes)

    def write(self, path: Path) -> dict[str, Any]:
        """Write the record to `path`, whole or not at all; gives what was written."""
        content = self.model_dump(mode="json")
        write_json(path, content)
        return content


class Environment(Record):
    """Where a result was made: `environment` of every result."""

    versions: dict[str, Text] = Field(default_factory=dict)
    """of Python, frcore and the libraries that can move a number"""
    commit: Text = None
    """git commit of the source, with `+` when it had changes; null outside a checkout"""
    platform: Text = None
    """the operating system"""
    cpu: Text = None
    """the processor's name"""
    cores: Count = None
    """processor cores that the process may use"""
    device: Text = None
    """`cpu` or `cuda`"""
    gpu: dict[str, Any] | Text = None
    """name, driver, power limit and memory of the GPU; null without one"""


def first_problem(error: ValidationError) -> str:
    """The first place where a value is not what its record says, and how."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])
