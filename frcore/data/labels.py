"""From labels as stored in data sets to identities: which of C each image shows, their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.contents import Contents, EncodedImages, index_of
from frcore.data.names import normalised
from frcore.data.refusal import refuse_rows
from frcore.errors import UserError
from frcore.study.data import LabelledImages

LONGEST = 1000
"""Most characters of an identity's name."""

NUMBERED = (
    "identities have numbers but no names, so people in a benchmark who are also in training are "
    "not detected"
)
_MOST = 2**31
WHOLE = r"-?[0-9]{1,10}(\.0*)?"
"""A whole number as a text."""


class Labels(NamedTuple):
    """The identity in each image."""

    codes: NDArray[np.int64]
    """(N,): which of `identities`."""
    identities: pd.Series
    """(C,), str, in the order of the class centres."""
    are_named: bool
    """Whether these are names, by which people can be matched across data sets."""


def by_number(
    stored: NDArray[np.int64],
    count: int | None,
    where: Callable[[int], str],
    prefix: str,
    names: list[str] | None = None,
) -> Labels:
    """Labels that are class numbers.

    Args:
        stored: integers (N,).
        count: number of identities. Without it no number may be missing, because a class without
            images is usually a mistake.
        where: the position of image i, for messages.
        prefix: of identities that the data do not name, since equal numbers in two data sets are
            not one person. Without the folder's name, which changes when the data are moved.
        names: of the identities, if the data have them.

    Raises:
        UserError: a number is negative, not below `count`, or missing.
    """
    highest = (count or _MOST) - 1
    refuse_rows(
        f"labels are not within 0 to {highest}",
        np.flatnonzero((stored < 0) | (stored > highest)),
        lambda row: f"{where(row)}: label {stored[row]}",
        "They are 0-based class numbers, below `identities` if that is set; correct them, or set "
        "`labels: name` to have them renumbered",
    )
    present, codes = np.unique(stored, return_inverse=True)
    if count is None and len(present) and present[-1] != len(present) - 1:
        missing = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise UserError(
            f"no image has the label {missing}, but labels go up to {present[-1]} and there are "
            f"{len(present)} of them; set `identities: {present[-1] + 1}` if this is intended, or "
            "`labels: name` to have them renumbered without gaps"
        )
    who = [names[number] if names else f"{prefix}/{number}" for number in present]
    return Labels(codes.astype(np.int64), pd.Series(who, dtype="str"), bool(names))


def by_name(
    stored: pd.Series, count: int | None, where: Callable[[int], str], prefix: str
) -> Labels:
    """Labels that are names of identities, composed (NFC) like those of folders, and sorted.

    Args:
        stored: names (N,), str.
        count: how many there must be; any number by default.
        where: the position of image i, for messages.
        prefix: as for `by_number`, if all names are numbers.

    Raises:
        UserError: a name is empty, too long or not printable, or their number is not `count`.
    """
    given, texts = pd.factorize(stored)
    composed = pd.Series([normalised(text) for text in texts], dtype="str")
    codes, names = pd.factorize(composed, sort=True)
    codes = codes[given]
    bad = np.array([not 0 < len(name) <= LONGEST or not name.isprintable() for name in names], bool)
    refuse_rows(
        "labels are not names of identities",
        np.flatnonzero(bad[codes]),
        lambda row: f"{where(row)}: {stored.iloc[row][:100]!r}",
        f"A name has 1 to {LONGEST} printable characters; correct it",
    )
    if count is not None and len(names) != count:
        raise UserError(
            f"there are {len(names)} identities, but `identities` is {count}; correct or remove it"
        )
    who = pd.Series(names, dtype="str")
    are_named = not who.str.isdigit().all()
    return Labels(codes.astype(np.int64), who if are_named else f"{prefix}/" + who, are_named)


def whole_numbers(stored: pd.Series, where: Callable[[int], str]) -> NDArray[np.int64]:
    """Texts such as `17` and `17.0` as integers (N,).

    Raises:
        UserError: one is not an integer.
    """
    texts = stored.str.strip()
    refuse_rows(
        "labels are not whole numbers",
        np.flatnonzero(~texts.str.fullmatch(WHOLE)),
        lambda row: f"{where(row)}: {stored.iloc[row][:100]!r}",
        "Correct them, or set `labels: name` if they are names of identities",
    )
    return pd.to_numeric(texts).to_numpy(np.int64)


def of_texts(
    stored: pd.Series, spec: LabelledImages, where: Callable[[int], str], prefix: str
) -> Labels:
    """`by_name` or `by_number`, according to the study, for labels that are texts (N,)."""
    if spec.labels == "name":
        return by_name(stored, spec.identities, where, prefix)
    return by_number(whole_numbers(stored, where), spec.identities, where, prefix)


def labelled(
    images: EncodedImages, labels: Labels, *, warnings: Sequence[str] = (), **more: Any
) -> Contents:
    """The contents of a training set that stores a label with each image.

    Args:
        images: N images.
        labels: of each image.
        warnings: of the source.
        more: fields of `Contents`.
    """
    if not labels.are_named:
        more["about"] = {"people": "numbered", **more.get("about", {})}
        warnings = [*warnings, NUMBERED]
    index = index_of(images.names, labels.codes, labels.identities)
    return Contents("train", images, index, warnings=list(warnings), **more)
