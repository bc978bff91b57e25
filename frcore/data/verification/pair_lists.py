"""The official pair lists of CFP-FP, CFP-FF, CALFW and CPLFW, over a folder of aligned images.

CFP (Sengupta et al., "Frontal to Profile Face Verification in the Wild", 2016; its Readme.txt):
`Pair_list_F.txt` and `Pair_list_P.txt` number the frontal and profile images, one line
`1 ../Data/Images/001/frontal/01.jpg` each; `Split/FP/01` to `10` hold `same.txt` and `diff.txt`
with lines `a,b`: a frontal and a profile number (`Split/FF`: both frontal). The folders are the
folds. `Data/list_name.txt` has the people's names, the n-th line that of person n.

CALFW (Zheng, Deng, Hu, 2017) and CPLFW (Zheng, Deng, 2018): two lines `Name_0001.jpg token` for
each pair, all genuine pairs before all impostor pairs. The token is 0 for impostors; for genuine
pairs it is the fold, 1 to 10, in CALFW and 1 in CPLFW. The files give impostor pairs no folds; both
kinds are cut into ten consecutive blocks, as FaceX-Zoo does (`test_protocol/lfw/pairs_parser.py`),
which for CALFW's genuine pairs are the folds of the tokens.

AgeDB-30's list is a MATLAB file, whose format is known only from a single third-party reader: it is
read as InsightFace's `.bin` (`frcore.data.verification.insightface_bin`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frcore.data.contents import Contents, EncodedFiles
from frcore.data.names import by_stem, normalised
from frcore.data.pixels.picture_kinds import is_picture
from frcore.data.refusal import folder_at
from frcore.data.source import File, below
from frcore.data.verification.lfw_lists import Lines
from frcore.data.verification.pairs import ListedSource, Pair, pair_contents

FOLDS = 10

_CFP_IMAGE = re.compile(r"(?:.*/)?((\d{3})/(?:frontal|profile)/\d{2}\.jpg)")
_LFW_IMAGE = re.compile(r"([^/\\]+)_(\d+)\.jpg")


class Side(NamedTuple):
    """One image of a pair: its path below the folder of images, and the person in it."""

    path: str
    identity: str


# --- CFP -----------------------------------------------------------------------------------------


def read_cfp(protocol: Path, against: str, names: Path | None = None) -> list[Pair]:
    """The pairs of CFP-FF (`against` F) or CFP-FP (P) from the folder `Protocol`.

    Args:
        protocol: the folder.
        against: what frontal images are paired with.
        names: `list_name.txt`; people have numbers without it.

    Raises:
        UserError: a file is missing, or a line is malformed.
    """
    images = [numbered(path, names) for path in cfp_images(protocol, against)]
    return [
        _cfp_pair(lines, at, images[0], images[-1], fold)
        for fold, path in _cfp_splits(protocol, against)
        for lines in (Lines(path),)
        for at in range(1, len(lines.texts) + 1)
    ]


def cfp_images(protocol: Path, against: str) -> list[Path]:
    """The numbered lists of images: frontal ones, and those they are paired with if different."""
    return [protocol / f"Pair_list_{side}.txt" for side in dict.fromkeys(("F", against))]


def _cfp_splits(protocol: Path, against: str) -> list[tuple[int, Path]]:
    """Fold and list of all lists of pairs."""
    return [
        (fold, protocol / "Split" / f"F{against}" / f"{fold + 1:02d}" / name)
        for fold in range(FOLDS)
        for name in ("same.txt", "diff.txt")
    ]


def numbered(path: Path, names: Path | None) -> list[Side]:
    """The images of a list of CFP, in the order of their numbers.

    Raises:
        UserError: a list is missing, or a line is malformed.
    """
    lines, sides = Lines(path), []
    people = None if names is None else _names(names)
    for at in range(1, len(lines.texts) + 1):
        due = f"line {at} must have the number {at} and an image"
        fields = lines.fields(at, (2,), due)
        if lines.number(at, fields[0], "the number") != at:
            raise lines.error(at, due)
        match = _CFP_IMAGE.fullmatch(fields[1])
        if match is None:
            raise lines.error(at, "an image must be .../001/frontal/01.jpg")
        if people is None:
            who = f"cfp/{match[2]}"
        elif 1 <= int(match[2]) <= len(people):
            who = people[int(match[2]) - 1]
        else:
            raise lines.error(at, f"{names} has {len(people)} names, so none of person {match[2]}")
        sides.append(Side(match[1], who))
    return sides


def _names(path: Path) -> list[str]:
    """The people's names in LFW's spelling, `Some_Name`; names in both sets are one person."""
    lines = Lines(path)
    texts = ["_".join(text.split()) for text in lines.texts]
    for at, name in enumerate((lines.name(at, text) for at, text in enumerate(texts, 1)), 1):
        if texts.index(name) != at - 1:
            raise lines.error(at, f"duplicate name: it is also line {texts.index(name) + 1}")
    return texts


def _cfp_pair(lines: Lines, at: int, first: list[Side], second: list[Side], fold: int) -> Pair:
    fields = lines.texts[at - 1].replace(",", " ").split()
    if len(fields) != 2:
        raise lines.error(at, "a pair is two numbers of images, separated by a comma")
    sides = []
    for field, images in zip(fields, (first, second), strict=True):
        number = lines.number(at, field, "an image's number")
        if number > len(images):
            raise lines.error(at, f"there are {len(images)} images, so no number {number}")
        sides.append(images[number - 1])
    return _listed(lines, at, sides[0], sides[1], lines.path.name == "same.txt", fold)


# --- CALFW, CPLFW --------------------------------------------------------------------------------


def read_two_lines(path: Path, *, folds_in_token: bool) -> list[Pair]:
    """The pairs of CALFW (tokens are folds) or CPLFW (they are 1 for genuine pairs).

    Raises:
        UserError: the file is missing, or a line is malformed.
    """
    lines = Lines(path)
    if len(lines.texts) % 2:
        raise lines.error(len(lines.texts), "each pair takes two lines, but the last has only one")
    count = len(lines.texts) // 2
    tokens = [_token(lines, 2 * pair + 1) for pair in range(count)]
    genuine = sum(token > 0 for token in tokens)
    if 0 in tokens[:genuine]:
        at = 2 * tokens.index(0) + 1
        raise lines.error(at, "impostor pairs must come after all genuine pairs")
    if min(genuine, count - genuine) < FOLDS:
        raise lines.error(1, f"each of {FOLDS} folds needs genuine and impostor pairs")
    blocks = [*np.array_split(np.arange(genuine), FOLDS)]
    blocks += np.array_split(np.arange(genuine, count), FOLDS)
    pairs = []
    for number, block in enumerate(blocks):
        for pair in block.tolist():
            at, fold = 2 * pair + 1, number % FOLDS
            if tokens[pair] not in (0, fold + 1 if folds_in_token else 1):
                raise lines.error(at, f"the token of a genuine pair of fold {fold + 1} is wrong")
            sides = _lfw_side(lines, at), _lfw_side(lines, at + 1)
            pairs.append(_listed(lines, at, *sides, tokens[pair] > 0, fold))
    return pairs


def _token(lines: Lines, at: int) -> int:
    """The token that both lines of a pair have."""
    one, two = (lines.fields(line, (2,), "a line is an image and a token") for line in (at, at + 1))
    if one[1] != two[1]:
        raise lines.error(at + 1, f"the token differs from that of line {at}, {one[1]!r}")
    return 0 if one[1] == "0" else lines.number(at, one[1], "the token")


def _lfw_side(lines: Lines, at: int) -> Side:
    name = lines.fields(at, (2,), "a line is an image and a token")[0]
    match = _LFW_IMAGE.fullmatch(name)
    if match is None:
        raise lines.error(at, "an image must have a name like Some_Name_0001.jpg")
    return Side(normalised(name), lines.name(at, match[1]))


# --- both ----------------------------------------------------------------------------------------


def _listed(lines: Lines, at: int, a: Side, b: Side, same: bool, fold: int) -> Pair:
    if a.path == b.path:
        raise lines.error(at, "a pair needs two different images")
    if (a.identity == b.identity) != same:
        kind = "a genuine" if same else "an impostor"
        raise lines.error(at, f"{kind} pair shows {a.identity} and {b.identity}")
    return Pair(a, b, same, fold, lines.where(at))


READERS: Mapping[str, Callable[..., list[Pair]]] = {
    "cfp_fp": lambda path, names=None: read_cfp(path, "P", names),
    "cfp_ff": lambda path, names=None: read_cfp(path, "F", names),
    "calfw": lambda path: read_two_lines(path, folds_in_token=True),
    "cplfw": lambda path: read_two_lines(path, folds_in_token=False),
}
"""The reader of each format: from the list (for CFP the folder `Protocol`) to its pairs."""


def places(pairs: Iterable[Pair]) -> dict[Side, str]:
    """The distinct images of pairs, and the first line that names each."""
    return {side: pair.where for pair in [*pairs][::-1] for side in (pair.a, pair.b)}


def find_images(root: Path, where: Mapping[Side, str]) -> tuple[dict[Side, str], list[str]]:
    """The paths below `root` of images, sorted by their listed paths.

    The listed name is taken where there is such a file; else the one picture of that name with
    another suffix or none, also where the disk keeps the name in another Unicode form.

    Args:
        root: the folder.
        where: image -> the line that names it, for messages.

    Returns:
        the path of each image that is there, with `/`; and what is wrong with the others.
    """
    folders: dict[str, dict[str, list[str]]] = {}
    found, problems = {}, []
    for side in sorted(where, key=lambda side: side.path):
        parent, _, name = side.path.rpartition("/")
        if parent not in folders:
            folder = root / parent
            folders[parent] = by_stem(sorted(os.listdir(folder)) if folder.is_dir() else ())  # noqa: PTH208
        names = folders[parent].get(normalised(Path(name).stem), [])
        files = [one for one in names if (root / parent / one).is_file()]
        stored = [one for one in files if one == name] or [
            one for one in files if is_picture(root / parent / one)
        ]
        if len(stored) == 1:
            found[side] = f"{parent}/{stored[0]}" if parent else stored[0]
        elif stored:
            which = ", ".join(stored[:5])
            problems.append(f"{where[side]}: {root / side.path} does not exist, but {which} do")
        else:
            problems.append(f"{where[side]}: {root / side.path} does not exist")
    return found, problems


def lists_of(section: Any, paths: Iterable[Path]) -> Iterator[File]:
    """The lists below the folder `Protocol` of a section about CFP, and that of its names."""
    for path in paths:
        yield f"list {path.relative_to(section.pairs).as_posix()}", path
    if section.names is not None:
        yield "names", names_of(section)


def names_of(section: Any) -> Path | None:
    """The list of names of a section about CFP, if it gives one."""
    return None if section.names is None else below(section.images, section.names)


def about(section: Any, *, named: bool) -> dict[str, str]:
    """What the manifest says of the images of a section."""
    known = {"people": "named" if named else "numbered"}
    return known if section.aligned_by is None else {**known, "alignment": section.aligned_by}


class PairListSource(ListedSource):
    """The pairs of an official list; images stay in place."""

    def lists(self) -> Iterator[File]:
        listed = Path(self.section.pairs)
        if self.section.format not in ("cfp_fp", "cfp_ff"):
            yield f"list {listed.name}", listed
            return
        against = self.section.format[-1].upper()
        splits = [path for _, path in _cfp_splits(listed, against)]
        yield from lists_of(self.section, (*cfp_images(listed, against), *splits))

    def read(self) -> Contents:
        root = folder_at(self.section.images, "`images` must hold the aligned images")
        is_cfp = self.section.format.startswith("cfp")
        names = (names_of(self.section),) if is_cfp else ()
        pairs = READERS[self.section.format](Path(self.section.pairs), *names)
        found, problems = find_images(root, places(pairs))
        rows = {side: row for row, side in enumerate(found)}
        in_order = sorted(pairs, key=lambda pair: pair.fold)
        contents = pair_contents(in_order, rows, EncodedFiles(root, list(found.values())), problems)
        contents.about = about(self.section, named=not is_cfp or self.section.names is not None)
        return contents
