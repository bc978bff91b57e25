"""What every part of a study is made of: frozen sections, and labels that become file names."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+]*$"
"""Labels become file names and, joined by '-', run names; so no separators and no '-'."""

Label = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=60)]


class Section(BaseModel):
    """A part of the study: unknown keys are refused, values cannot change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
