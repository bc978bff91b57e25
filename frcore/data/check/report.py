"""What was found in a file or folder, and how it is printed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from frcore.data.contents import EncodedImages
from frcore.data.pixels.decoding import decode_rgb
from frcore.data.pixels.images import each_image
from frcore.files import sha256_of_file

SHOWN = 10
"""Problems that are listed; the others are only counted."""

_SHA256 = 32


@dataclass
class Report:
    """What was found in `path`."""

    path: Path
    what: str
    counts: dict[str, int] = field(default_factory=dict)
    study: str = ""
    """The lines of a study that uses it."""
    sha256: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """The first ten."""
    wrong: int = 0
    """How many problems there are."""

    def add(self, problems: Iterable[object]) -> None:
        """Add problems, each naming file and record."""
        for problem in problems:
            self.wrong += 1
            if len(self.problems) < SHOWN:
                self.problems.append(str(problem))

    def file_hash(self, path: Path) -> None:
        """Set the sha256 of one file, as computed by `sha256sum`."""
        self.sha256 = sha256_of_file(path)

    def images(self, source: EncodedImages, who: NDArray[np.str_] | None = None) -> None:
        """Read and decode every image of `source`, with a progress bar.

        If there is no hash yet, it is computed over the names and contents of all images.

        Args:
            source: the images; those that cannot be used become problems.
            who: the identity of each (N,); the same image under several identities is noted.
        """
        names, total = source.names.to_numpy(str), len(source)
        contents = np.zeros((total, _SHA256), np.uint8)
        sizes = np.zeros((total, 2), np.int32)

        def work(row: int) -> None:
            encoded = source.encoded(row)
            contents[row] = np.frombuffer(hashlib.sha256(encoded).digest(), np.uint8)
            sizes[row] = decode_rgb(encoded).shape[1::-1]

        problems = each_image(work, total, f"images of {self.path.name}", None)
        self.add(f"{self.path}: {names[row]}: {why}" for row, why in problems.items())
        self.counts["images"] = total
        if not self.sha256:
            over_all = hashlib.sha256()
            for name, content in zip(names, contents, strict=True):
                over_all.update(name.encode() + b"\0" + content.tobytes())
            self.sha256 = over_all.hexdigest()
        if len(problems) < total:
            self._note_sizes(np.delete(sizes, list(problems), axis=0))
        if who is not None:
            self._note_shared(contents, who, names)

    def _note_sizes(self, sizes: NDArray[np.int32]) -> None:
        kinds, counts = np.unique(sizes, axis=0, return_counts=True)
        width, height = kinds[counts.argmax()]
        others = len(sizes) - counts.max()
        rest = f", {others:,} have other sizes" if others else ""
        self.notes.append(f"images are {width}×{height} pixels{rest}")
        odd = counts[kinds[:, 0] != kinds[:, 1]].sum()
        if odd:
            self.notes.append(
                f"{odd:,} images are not square: a study needs `image: {{crop: ...}}`"
            )

    def _note_shared(
        self, contents: NDArray[np.uint8], who: NDArray[np.str_], names: NDArray[np.str_]
    ) -> None:
        """Note images shared by several identities, where at least one label is wrong."""
        digests = contents[:, :8].copy().view(np.uint64)[:, 0]
        order = np.argsort(digests, kind="stable")
        same = (digests[order][1:] == digests[order][:-1]) & (digests[order][1:] > 0)
        differs = np.flatnonzero(same & (who[order][1:] != who[order][:-1]))
        if len(differs):
            first, second = names[order[differs[0]]], names[order[differs[0] + 1]]
            self.notes.append(
                f"{len(differs)} pictures are under two identities, byte for byte; the first is "
                f"{first} and {second}: one of them has a wrong label"
            )

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "path": str(self.path), "ok": not self.wrong}

    def print(self, console: Console) -> None:
        """For people."""
        lines = [f"[bold]{escape(str(self.path))}[/]: {escape(self.what)}"]
        if self.counts:
            lines.append(
                "  " + ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
            )
        lines += [f"  sha256 {self.sha256}"] if self.sha256 else []
        lines += [f"  note: {escape(note)}" for note in self.notes]
        lines += [f"  [bold red]problem:[/] {escape(problem)}" for problem in self.problems]
        if self.wrong > len(self.problems):
            lines.append(f"  … and {self.wrong - len(self.problems):,} problems more")
        if self.study:
            lines += [
                "  in a study:",
                *(f"    {escape(one)}" for one in self.study.splitlines()),
                "",
            ]
        lines.append(
            f"  [bold red]{self.wrong:,} problems[/]" if self.wrong else "  [green]whole[/]"
        )
        console.print("\n".join(lines))
