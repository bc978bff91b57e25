"""`frcore prepare --check PATH`: what PATH is, and whether it is whole.

One checker per format stands in the table of `frcore.data.check.folders`. It reads everything once
with the format's own reader, decodes each image, compares files that must agree, and collects what
is wrong in a `Report`; nothing is written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from frcore.data.contents import EncodedImages
from frcore.data.pixels.decoding import BadImageError, decode_rgb
from frcore.data.progress import progress_bar
from frcore.errors import UserError
from frcore.files import sha256_of_file

SHOWN = 10
"""Problems that are named; the others are counted."""

_PART = 1024


class Checker(NamedTuple):
    """How one format is recognised and checked.

    Attributes:
        name: of the format, as a reader of the report knows it.
        recognises: whether a path looks like this format, by names alone or a few bytes.
        check: reads all of it and fills the report; a `UserError` it raises becomes a problem.
    """

    name: str
    recognises: Callable[[Path], bool]
    check: Callable[[Path, Report], None]


@dataclass
class Report:
    """What was found in `path`."""

    path: Path
    what: str
    counts: dict[str, int] = field(default_factory=dict)
    study: str = ""
    """The lines of a study that use it."""
    sha256: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """The first ten."""
    wrong: int = 0
    """How many problems there are."""

    def problem(self, text: str) -> None:
        """Add a problem, which names file and record."""
        self.wrong += 1
        if len(self.problems) < SHOWN:
            self.problems.append(text)

    def all_problems(self, texts: Sequence[str]) -> None:
        """Add several problems."""
        for text in texts:
            self.problem(text)

    def file_hash(self, path: Path) -> None:
        """Take the sha256 of one file, as `sha256sum` gives it."""
        self.sha256 = sha256_of_file(path)

    def images(self, source: EncodedImages, *, hashed: bool = False) -> NDArray[np.uint64]:
        """Read and decode every image of `source`, with a progress bar.

        Args:
            source: the images; those that cannot be used become problems.
            hashed: also take the sha256 over the names and contents of all.

        Returns:
            eight bytes of the hash of each image's content (N,), to find repeated ones.
        """
        names, total = source.names.to_numpy(str), len(source)
        digests, over_all = np.zeros(total, np.uint64), hashlib.sha256()
        sizes: Counter[tuple[int, int]] = Counter()

        def one(row: int) -> tuple[bytes, str, tuple[int, int]]:
            content = b""
            try:
                encoded = source.encoded(row)
                content = hashlib.sha256(encoded).digest()
                height, width = decode_rgb(encoded).shape[:2]
            except BadImageError as error:
                return content, f"{self.path}: {names[row]}: {error}", (0, 0)
            return content, "", (width, height)

        with progress_bar() as progress, ThreadPoolExecutor() as pool:
            task = progress.add_task(f"images of {self.path.name}", total=total)
            for start in range(0, total, _PART):
                rows = range(start, min(start + _PART, total))
                for row, (content, problem, size) in zip(rows, pool.map(one, rows), strict=True):
                    if problem:
                        self.problem(problem)
                    else:
                        sizes[size] += 1
                    digests[row] = int.from_bytes(content[:8], "little")
                    over_all.update(str(names[row]).encode() + b"\0" + content)
                progress.advance(task, len(rows))
        if hashed:
            self.sha256 = over_all.hexdigest()
        self.counts["images"] = total
        self.notes += _about_sizes(sizes)
        return digests

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "path": str(self.path), "ok": not self.wrong}


def _about_sizes(sizes: Counter[tuple[int, int]]) -> list[str]:
    if not sizes:
        return []
    (width, height), count = sizes.most_common(1)[0]
    others = sum(sizes.values()) - count
    rest = f", {others:,} have other sizes" if others else ""
    notes = [f"images are {width}×{height} pixels{rest}"]
    odd = sum(number for (width, height), number in sizes.items() if width != height)
    if odd:
        notes.append(f"{odd:,} images are not square: a study needs `image: {{crop: ...}}`")
    return notes


def check(path: str | Path) -> list[Report]:
    """Check `path`, or where it is a folder of several data sets, each of them.

    Raises:
        UserError: it does not exist, or is of no known format.
    """
    from frcore.data.check.folders import CHECKERS

    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or folder to check")

    def checker_of(one: Path) -> Checker | None:
        return next((checker for checker in CHECKERS if checker.recognises(one)), None)

    candidates = [path]
    if path.is_dir() and checker_of(path) is None:
        candidates = sorted(path.iterdir())
    reports = [
        _checked(checker, one) for one in candidates if (checker := checker_of(one)) is not None
    ]
    if not reports:
        names = "; ".join(checker.name for checker in CHECKERS)
        raise UserError(
            f"{path} is none of the formats that are known: {names}; docs/data.md says what each "
            "looks like"
        )
    return reports


def _checked(checker: Checker, path: Path) -> Report:
    report = Report(path, checker.name)
    try:
        checker.check(path, report)
    except UserError as error:
        report.problem(str(error))
    return report


def render(reports: Sequence[Report], console: Console) -> None:
    """Print what was found."""
    for report in reports:
        console.print(f"[bold]{escape(str(report.path))}[/]: {escape(report.what)}")
        if report.counts:
            counts = (f"{number:,} {name}" for name, number in report.counts.items())
            console.print(f"  {', '.join(counts)}")
        if report.sha256:
            console.print(f"  sha256 {report.sha256}")
        for note in report.notes:
            console.print(f"  note: {escape(note)}")
        for problem in report.problems:
            console.print(f"  [bold red]problem:[/] {escape(problem)}")
        if report.wrong > len(report.problems):
            console.print(f"  … and {report.wrong - len(report.problems):,} problems more")
        if report.study:
            console.print("  in a study:")
            console.print("".join(f"    {escape(line)}\n" for line in report.study.splitlines()))
        verdict = f"[bold red]{report.wrong:,} problems[/]" if report.wrong else "[green]whole[/]"
        console.print(f"  {verdict}")


def same_picture(digests: NDArray[np.uint64], who: NDArray[np.str_], names: NDArray[np.str_],
                 report: Report) -> None:  # fmt: skip
    """Add a note where one picture is of several people: at least one label is wrong.

    Args:
        digests: of the images' contents (N,), as `Report.images` gives them.
        who: the identity of each (N,).
        names: of the images (N,).
        report: where to.
    """
    order = np.argsort(digests, kind="stable")
    same = (digests[order][1:] == digests[order][:-1]) & (digests[order][1:] > 0)
    differs = np.flatnonzero(same & (who[order][1:] != who[order][:-1]))
    if len(differs):
        first, second = names[order[differs[0]]], names[order[differs[0] + 1]]
        report.notes.append(
            f"{len(differs)} pictures are under two identities, byte for byte; the first is "
            f"{first} and {second}: one of them has a wrong label"
        )
