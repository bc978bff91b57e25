"""Errors in files: of many problems the first are listed, and all are counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frcore.errors import UserError, first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN = 10


def refuse(what: str, problems: Sequence[str], remedy: str, *, total: int | None = None) -> None:
    """Raise a `UserError` with the first ten `problems` and how many there are, if there are any.

    Args:
        what: what they are in the plural, such as "images cannot be used"; counted from two on.
        problems: one text each.
        remedy: what the user can do.
        total: how many there are, if `problems` are only the first of them.

    >>> refuse("images cannot be used", [], "repair them")
    >>> refuse("images cannot be used", ["a.jpg: it is empty"], "Repair them")
    Traceback (most recent call last):
    frcore.errors.UserError: images cannot be used:
      a.jpg: it is empty
    Repair them
    """
    if not problems:
        return
    count = len(problems) if total is None else total
    shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    more = count - min(len(problems), _SHOWN)
    rest = f"\n  … and {more} more" if more > 0 else ""
    heading = what if count == 1 else f"{count} {what}"
    raise UserError(f"{heading}:{shown}{rest}\n{remedy}")


def folder_at(path: str | Path, what: str) -> Path:
    """The folder `path`.

    Raises:
        UserError: it is not a folder; `what` says which one to give.
    """
    if not Path(path).is_dir():
        raise UserError(f"{path} is not a folder; {what}")
    return Path(path)


@contextlib.contextmanager
def reading(what: str | Path, remedy: str, *damaged: type[Exception]) -> Iterator[None]:
    """Raise a `UserError` for an `OSError`, or for what a reader raises for a damaged file.

    Args:
        what: the file.
        remedy: what the user can do.
        damaged: the reader's exceptions.
    """
    raised: tuple[type[Exception], ...] = (OSError, *damaged)
    try:
        yield
    except raised as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{what} cannot be read: {reason}; {remedy}") from error


def refuse_rows(
    what: str,
    rows: Sequence[int] | NDArray[np.int64],
    problem: Callable[[int], str],
    remedy: str,
) -> None:
    """As `refuse`, formatting only the first ten of possibly millions of problems."""
    refuse(what, [problem(int(row)) for row in rows[:_SHOWN]], remedy, total=len(rows))
