"""The origin of prepared data: which files, and what was in them. Not part of their content."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frcore.data.signatures import Signature, sign
from frcore.data.source import place_of
from frcore.errors import UserError

ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """A data section, and what its files contained when reading began."""

    data: Any
    signature: Signature

    @classmethod
    def of(cls, data: Any, planned: str | None = None) -> Origin | None:
        """The current origin; None if it is incomplete, which its reader reports better.

        Args:
            data: a data section of a study.
            planned: the signature that Snakemake planned with.

        Raises:
            UserError: the files have changed since planning.
        """
        if planned is None:
            with contextlib.suppress(UserError):
                return cls(data, sign(data))
            return None
        found = cls(data, sign(data, Signature.parse(planned).by))
        if str(found.signature) != planned:
            raise found._changed("it was planned")
        return found

    @property
    def base(self) -> Path | None:
        """The folder or file of the images, without links; None for synthetic data."""
        place = place_of(self.data)
        return None if place is None else place.resolve()

    def refuse_changed(self) -> None:
        """Refuse files that were changed while they were read.

        Raises:
            UserError: they were.
        """
        if sign(self.data, self.signature.by) != self.signature:
            raise self._changed("it began to be read")

    def as_record(self) -> dict[str, Any]:
        """The record that is stored with the data."""
        return {
            "data": self.data.model_dump(mode="json"),
            "base": None if self.base is None else str(self.base),
            "signature": str(self.signature),
        }

    def _changed(self, since: str) -> UserError:
        return UserError(
            f"{place_of(self.data)}, or a list that belongs to it, was changed after {since}; "
            "run the study again while nothing writes to it"
        )
