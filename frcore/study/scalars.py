"""What YAML without quotes means, where YAML 1.1 and 1.2 agree on it; the rest is refused.

YAML 1.1 (PyYAML, and so Snakemake) and YAML 1.2 read the same letters as different values: `010` is
8 or 10, `yes` true or a text, `1:30` 90 or a text. What both read alike is read, `1e-3` too, and
the rest is refused, because a wrong number trains a wrong model without a word.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from frcore.text import one_line

LONGEST_NUMBER = 60
"""Digits; Python takes quadratic time over long ones."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NUMBER_OF_1_2 = re.compile(r"[-+]?[0-9]+|0o[0-7]+")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


def plain_value(text: str) -> Any:
    """The value of a scalar without quotes.

    Raises:
        ValueError: versions of YAML differ on it.
    """
    if text in _WORDS:
        return _WORDS[text]
    number = _INT.fullmatch(text) or _FLOAT.fullmatch(text)
    if number and len(text) > LONGEST_NUMBER:
        raise ValueError(
            f"a number of {len(text)} characters given; allowed are {LONGEST_NUMBER}: shorten it, "
            "or write it in quotes if it is a text"
        )
    if _INT.fullmatch(text):
        return int(text)
    # 010 is a float's whole part too, but some read it as 8.
    if _FLOAT.fullmatch(text) and not _NUMBER_OF_1_2.fullmatch(text):
        return float(text)
    # `<<` and `=` are not values here.
    kind = yaml.SafeLoader.yaml_implicit_resolvers.get(text[0], ())
    tags = [tag.rpartition(":")[2] for tag, pattern in kind if pattern.match(text)]
    if "bool" in tags:
        raise ValueError(
            f"{text} given, which some readers of YAML take for true or false and others for text; "
            f"write true or false, or '{text}' in quotes if it is text"
        )
    if {"int", "float", "timestamp"} & set(tags) or _NUMBER_OF_1_2.fullmatch(text):
        raise ValueError(
            f"{one_line(text, 60)} given{_of_1_1(text)}, which readers of YAML take for different "
            "numbers, dates or text; write numbers in decimal digits only, and text in quotes"
        )
    return text


def _of_1_1(text: str) -> str:
    """How YAML 1.1 reads `text`, if as a number."""
    if len(text) > LONGEST_NUMBER:
        return ""
    try:
        value = yaml.safe_load(text)
    except ValueError:  # no day of any month
        return ""
    return f" ({value} in YAML 1.1)" if isinstance(value, int | float) else ""
