"""One study at several scales: `scales:` in a file, one of which `--config scale=NAME` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frcore.errors import UserError, unknown_name
from frcore.study.config import Study

MERGED = ("training", "evaluation", "measurement", "claims", "inputs")
"""Sections whose keys a scale changes one by one; it replaces all others as a whole."""


def at_scale(raw: Mapping[str, Any], name: str | None, where: str) -> dict[str, Any]:
    """The content of a study's file at a scale, without its `scales`.

    A scale without content is the study as it is. Any other one is a study of its own, called
    `<name>_<scale>`.

    Args:
        raw: the file's content.
        name: of the scale; None: the study as it is.
        where: the file, for messages.

    Raises:
        UserError: there is no such scale, or one is not a mapping of keys of a study.
    """
    study = {key: value for key, value in raw.items() if key != "scales"}
    scales = raw.get("scales") or {}
    if not isinstance(scales, Mapping):
        raise UserError(f"{where}: scales: it should be a mapping of names to keys of a study")
    for scale, changes in scales.items():
        if not isinstance(changes, Mapping):
            raise UserError(
                f"{where}: scales.{scale}: it should be a mapping of keys of a study, or {{}} for "
                "the study as it is"
            )
        for key in changes:
            if key not in Study.model_fields or key in ("name", "scales"):
                allowed = [one for one in Study.model_fields if one not in ("name", "scales")]
                raise unknown_name("key", str(key), allowed, where=f"{where}: scales.{scale}")
    if name is None:
        return study
    if name not in scales:
        if not scales:
            raise UserError(f"{where}: scale '{name}' given, but the study has no `scales`")
        raise unknown_name("scale", name, scales, where=where)
    if not scales[name]:
        return study
    for key, value in scales[name].items():
        study[key] = _merged(study.get(key), value, key) if key in MERGED else value
    return {**study, "name": f"{study.get('name')}_{name}"}


def _merged(base: Any, change: Any, key: str = "") -> Any:
    """`base` with the keys of `change`, and for the sections in `MERGED` with those of these.

    A null removes a key, but that of an input is one that has to be given.
    """
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return change
    merged = {
        name: _merged(base.get(name), value) if key and key != "inputs" else value
        for name, value in change.items()
    }
    found = {**base, **merged}
    return found if key == "inputs" else {k: v for k, v in found.items() if v is not None}
