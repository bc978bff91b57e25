"""Fingerprints that an earlier process has computed, while all modules they asked for are as then.

On a cluster every job starts Snakemake twice, and reading the code was most of what that took.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from frcore.files import read_json, sha256_of_json, write_json
from frcore.provenance.modules import state

_MAKERS = [f"{__package__}.{path.stem}" for path in Path(__file__).parent.glob("*.py")]
"""Modules that decide what a fingerprint is."""


@dataclass
class Remembered:
    """The fingerprints in `folder`, a file for each set of places."""

    folder: Path
    _states: dict[str, list[object] | None] = field(default_factory=dict, init=False)
    """Module -> its state, looked at once as `Code` reads it once."""

    def get(self, places: Iterable[str]) -> str | None:
        """The fingerprint, or None where there is none or a module has changed since."""
        try:
            found = read_json(self._path(places))
            modules, fingerprint = dict(found["modules"]), str(found["fingerprint"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return fingerprint if all(self._state(n) == s for n, s in modules.items()) else None

    def put(self, places: Iterable[str], fingerprint: str, modules: Iterable[str]) -> None:
        """Keep a fingerprint that was made from `modules`, those that do not exist included."""
        states = {name: self._state(name) for name in sorted({*modules, *_MAKERS})}
        write_json(self._path(places), {"fingerprint": fingerprint, "modules": states})

    def _state(self, name: str) -> list[object] | None:
        if name not in self._states:
            self._states[name] = state(name)
        return self._states[name]

    def _path(self, places: Iterable[str]) -> Path:
        key = sha256_of_json([sorted(places), sys.version])
        return self.folder / f"{key[:16]}.json"
