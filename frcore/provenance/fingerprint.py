"""A fingerprint of the code that a stage runs, so that results of changed code are recomputed.

It starts from definitions named by their location, such as "frcore.training.train:train", and
covers every definition of own code that they can reach: `frcore.provenance.modules` defines own
code, and `frcore.provenance.definitions` what counts in a definition. What is reached counts, not
its location. Libraries are covered by their versions (`frcore.provenance.environment.versions`).
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from frcore.provenance.definitions import Meaning, read
from frcore.provenance.modules import Key, Modules, Own
from frcore.provenance.remembered import Remembered

DEPTH = 3
"""How deep definitions with the same text are distinguished by what they use. Everything reached
counts anyway; this matters when two of them swap places."""


APART = {
    "frcore.provenance.stages:run_code": "it is this fingerprint",
    "frcore.provenance.fingerprint:remember_in": "it gives the fingerprint that was computed",
    "frcore.components.description": "it describes components to a person",
    "frcore.machine.leases:lease_gpu": "it decides which GPU a job has, and when",
    "frcore.provenance.environment:environment": "no result depends on it",
    "frcore.data.signatures:sign": "what it answers is in the job's key, and only compared",
    "frcore.training.loggers:Loggers": "it gives trackers a copy of what is written",
}
"""What is not followed, and why: modules, or their definitions."""


class Code:
    """The own code on the import path, each definition read once."""

    def __init__(self) -> None:
        self.modules = Modules()
        self._read: dict[Key, Meaning] = {}
        self._digests: dict[tuple[Key, int], bytes] = {}
        self._fingerprints: dict[frozenset[str], str] = {}
        self.remembered: Remembered | None = None
        """Where fingerprints are kept for other processes, if anywhere."""

    def meaning(self, key: Key) -> Meaning:
        """The meaning of a definition."""
        if key not in self._read:
            meaning = read(self.modules, key)
            meaning.uses = [used for used in meaning.uses if not is_apart(used)]
            self._read[key] = meaning
        return self._read[key]

    def reached(self, places: Iterable[str]) -> set[Key]:
        """The definitions at `places` and all that they reach; a module means all of it.

        The name "" of a module is what it does on import.
        """
        waiting = [key for place in places for key in self._at(place)]
        reached: set[Key] = set()
        while waiting:
            key = waiting.pop()
            if key in reached:
                continue
            reached.add(key)
            meaning = self.meaning(key)
            waiting += meaning.uses
            for module in (key[0], *meaning.imports):
                parts = module.split(".")
                # Importing a module also runs its parent packages.
                run = [(".".join(parts[:count]), "") for count in range(1, len(parts) + 1)]
                waiting += [key for key in run if not is_apart(key)]
        return reached

    def _at(self, place: str) -> list[Key]:
        """The definition at a location; the whole module if it has no such name."""
        module, _, name = place.partition(":")
        found = self.modules.get(module)
        if found is None:
            return []
        targets = self.modules.attribute(module, name.partition(".")[0]) if name else ()
        keys = [(one.module, one.name) for one in targets if isinstance(one, Own) and one.name]
        return [(module, ""), *(keys or [(module, bound) for bound in found.bound])]

    def catalogue(self, place: str) -> dict[str, str]:
        """The dictionary of places that stands at `place`."""
        module, _, name = place.partition(":")
        found = self.modules.get(module)
        assert found is not None, f"{module} is a module of frcore"
        (statement,) = found.bound[name]
        assert isinstance(statement, ast.Assign)
        return dict(ast.literal_eval(statement.value))

    def fingerprint(self, places: Iterable[str]) -> str:
        """Twelve hexadecimal digits that change with the meaning of what `places` reach.

        The runs of a study differ in seeds and settings, and start from few sets of places.
        """
        start = frozenset(places)
        if start not in self._fingerprints:
            self._fingerprints[start] = self._kept(start) or self._made(start)
        return self._fingerprints[start]

    def _kept(self, start: frozenset[str]) -> str | None:
        return self.remembered.get(start) if self.remembered is not None else None

    def _made(self, start: frozenset[str]) -> str:
        digests = {
            self._digest(key, DEPTH) for key in self.reached(start) if self.meaning(key).tokens
        }
        made = hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:12]
        if self.remembered is not None:
            self.remembered.put(start, made, self.modules.asked)
        return made

    def _digest(self, key: Key, depth: int) -> bytes:
        if (key, depth) not in self._digests:
            meaning = self.meaning(key)
            digest = hashlib.sha256("\0".join(meaning.tokens).encode())
            for used in meaning.uses if depth else ():
                digest.update(self._digest(used, depth - 1))
            self._digests[key, depth] = digest.digest()
        return self._digests[key, depth]


@functools.cache
def _code() -> Code:
    """What this process has read so far."""
    return Code()


def remember_in(folder: Path) -> None:
    """Keep fingerprints in `folder`, and take those that earlier processes kept there."""
    _code().remembered = Remembered(folder)


def is_apart(key: Key) -> bool:
    """Whether a definition is not followed."""
    return key[0] in APART or ":".join(key) in APART


def catalogue_at(place: str) -> dict[str, str]:
    """A dictionary of places, such as "frcore.loss:BACKENDS", which is read and not imported."""
    return _code().catalogue(place)


def code_fingerprint(places: Iterable[str], files: Iterable[Path] = ()) -> str:
    """Twelve hexadecimal digits that change with the meaning of the definitions at `places`.

    Args:
        places: such as "frcore.training.train:train" or a user's "my_heads:Mine"; a module without
            a name stands for all of it.
        files: whose content also counts, such as the templates of a page.
    """
    found = _code().fingerprint(places)
    contents = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256(" ".join([found, *contents]).encode()).hexdigest()[:12]
