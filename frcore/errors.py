"""The error a user sees: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

SHOWN = 20
"""Problems that `listed` names; the rest are counted."""


class UserError(Exception):
    """Something in the user's input is wrong; the command line prints it without a traceback."""

    exit_code = 2
    """What the command ends with."""


def unknown_name(kind: str, given: str, allowed: Iterable[str], *, where: str = "") -> UserError:
    """An error for a name that does not exist, with the allowed ones and the nearest of them.

    >>> print(unknown_name("head", "arcfase", ["arcface", "cosface"]))
    unknown head 'arcfase'; did you mean 'arcface'? Allowed: arcface, cosface
    """
    place = f"{where}: " if where else ""
    return UserError(f"{place}unknown {kind} '{given}'{or_rather(given, sorted(allowed))}")


def or_rather(given: str, allowed: Iterable[str]) -> str:
    """The end of a message about `given`: what is allowed, and the nearest of it.

    >>> or_rather("epoch", ["epochs", "momentum"])
    "; did you mean 'epochs'? Allowed: epochs, momentum"
    """
    names = list(allowed)
    return f"{nearest(given, names) or '.'} Allowed: {', '.join(names)}"


def nearest(given: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `names`, or nothing."""
    near = difflib.get_close_matches(given, list(names), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def listed(problems: list[str]) -> str:
    """One problem as it is; several below each other and counted.

    >>> print(listed(["a: is missing", "b: is missing"]))
    2 mistakes:
      a: is missing
      b: is missing
    """
    if len(problems) == 1:
        return problems[0]
    more = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
    lines = [f"  {line}" for line in (*problems[:SHOWN], *more)]
    return "\n".join([f"{len(problems):,} mistakes:", *lines])


def check_classes(count: int, what: str = "a classifier") -> None:
    """Refuse fewer than two classes: with one, the loss is always 0 and nothing is learned.

    Raises:
        UserError: there are fewer.
    """
    if count < 2:
        raise UserError(
            f"{what} of {count} {'class' if count == 1 else 'classes'}; at least 2 identities are "
            "needed: give images of more people, or lower `min_images`"
        )


_UNSAFE = re.compile(r"weights_only|allow_pickle|pickle\.load|\btrust", re.IGNORECASE)
"""In what torch and numpy say of a file with pickled objects: how to run what is in it."""


def first_line(error: Exception) -> str:
    """The first line of another library's message, which may be followed by its own traceback.

    Advice to read an untrusted file unsafely is not passed on.

    >>> first_line(ValueError("If you trust the file you can load it with allow_pickle=True"))
    'it is another kind of file, or holds pickled objects'
    """
    line = str(error).strip().partition("\n")[0]
    if _UNSAFE.search(line):
        return "it is another kind of file, or holds pickled objects"
    return line or type(error).__name__
