"""Names of files and people in one Unicode form, because file systems use either form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path


def normalised(name: str) -> str:
    r"""The composed (NFC) form of a name.

    Bytes that are not UTF-8, as in old archives, become escapes: no table can hold them.

    >>> normalised("e\u0301"), normalised("caf\udce9")
    ('é', 'caf\\xe9')
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of files by their composed names without suffix.

    In a name without a suffix, anything after a dot (A.J._Cook) looks like one, so every file is
    also found by its whole name.
    """
    stems: dict[str, list[str]] = {}
    for name in names:
        for stem in {name, Path(name).stem}:
            stems.setdefault(normalised(stem), []).append(name)
    return stems


class NamesOnDisk:
    """Finds files whose names on disk have a different Unicode form than in a list.

    Lists mostly use the composed form (NFC), files unpacked by macOS the decomposed one (NFD).
    """

    def __init__(self, root: Path):
        self.root = root
        self._folders: dict[str, dict[str, list[str]]] = {}

    def actual(self, name: str) -> str:
        """The path on disk for a name with `/`; the name itself where there is no such file.

        Folders are listed only if needed.
        """
        if name.isascii() or (self.root / name).exists():
            return name
        return self.find(name) or name

    def find(self, name: str) -> str | None:
        """The path on disk below the root for a name with `/`; None if none or several."""
        found = ""
        for part in name.split("/"):
            match = self._entries(found).get(normalised(part), [])
            if len(match) != 1:
                return None
            found = f"{found}/{match[0]}" if found else match[0]
        return found

    def _entries(self, folder: str) -> dict[str, list[str]]:
        """The entries of a folder, by composed name."""
        if folder not in self._folders:
            entries: dict[str, list[str]] = {}
            path = self.root / folder
            for one in path.iterdir() if path.is_dir() else ():
                if one.name.isprintable():  # Bytes that are not UTF-8 are not printable.
                    entries.setdefault(normalised(one.name), []).append(one.name)
            self._folders[folder] = entries
        return self._folders[folder]
