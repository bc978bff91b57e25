"""Reading a study: one YAML file, filled in, checked to the end, before any job starts.

In order: YAML (`frcore.study.file`), its scale, overrides from the command line, the folders under
`inputs`, the models of `frcore.study.config`, the catalogues of heads, samplers and backbones, and
whether the files that the data need exist. Any mistake is a `UserError` that names the key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

from frcore.backbones import BACKBONES
from frcore.components.catalogue import Catalogue
from frcore.data.signatures import Hashes
from frcore.data.source import open_source
from frcore.errors import UserError, listed, unknown_name
from frcore.heads import HEADS
from frcore.preflight.rules import study_problems
from frcore.samplers import SAMPLERS
from frcore.study.config import Study
from frcore.study.file import parse_value, read_yaml, unquoted
from frcore.study.mistakes import explain
from frcore.study.models import CheckpointModel
from frcore.study.parts import Backbone, Component
from frcore.study.scales import at_scale

PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


def load_study(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    check: Callable[[Study], Study] | None = None,
) -> Study:
    """The study in `path`, complete and checked.

    Args:
        path: the YAML file.
        overrides: replaces top-level keys and fills `inputs`; mappings are merged key by key. A
            value that is a string is YAML, as the user wrote it, except where text is expected.
            `scale` chooses one of the study's `scales` first.
        check: instead of `with_checked_components`, for callers that cache its verdicts.

    Raises:
        UserError: the file, a key, a name, a value or a file that it needs is wrong.
    """
    overrides = dict(overrides or {})
    scale = overrides.pop("scale", None)
    raw = at_scale(read_yaml(path), None if scale is None else unquoted(str(scale)), str(path))
    raw = _with_overrides(raw, overrides)
    raw = _with_inputs(raw, str(path))
    try:
        study = Study.model_validate(raw)
    except pydantic.ValidationError as error:
        raise UserError(explain(error, raw, str(path))) from error
    try:
        study = _with_hashes_of_weights(study)
        study = (check or with_checked_components)(study)
        _check_files(study)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return study


def study_to_yaml(study: Study) -> str:
    """The study as YAML that `load_study` reads back; every default is written out."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


# --- overrides and inputs ------------------------------------------------------------------------


def _merged(base: Any, update: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(update, Mapping):
        merged = {key: _merged(base.get(key), value) for key, value in update.items()}
        return {**base, **merged}
    return update


def _with_overrides(raw: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with top-level keys replaced and inputs filled."""
    inputs = raw.get("inputs")
    inputs = inputs if isinstance(inputs, dict) else {}
    for key, value in overrides.items():
        if key in inputs:
            inputs = {**inputs, key: unquoted(str(value)) or inputs[key]}
        elif key in ("name", "title", "question"):
            raw = {**raw, key: unquoted(str(value))}
        elif key in Study.model_fields:
            if isinstance(value, str):
                value = parse_value(value, f"--config {key}")
            raw = {**raw, key: _merged(raw.get(key), value)}
        else:
            allowed = [*inputs, "scale", *Study.model_fields]
            raise unknown_name("key", str(key), allowed, where="--config")
    return {**raw, "inputs": inputs} if inputs else raw


def _changed(value: Any, change: Callable[[str, str], str], place: str = "") -> Any:
    """`value` with `change` of the location, such as `heads[0].name`, and text of every string."""
    if isinstance(value, str):
        return change(place, value)
    if isinstance(value, Mapping):
        below = f"{place}." if place else ""
        return {key: _changed(item, change, f"{below}{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_changed(item, change, f"{place}[{at}]") for at, item in enumerate(value)]
    return value


def _with_inputs(raw: dict[str, Any], path: str) -> dict[str, Any]:
    """`raw` with every `${name}` replaced by the input of that name."""
    inputs = dict(raw.get("inputs") or {})
    wanted: dict[str, list[str]] = {}

    def note(place: str, text: str) -> str:
        for name in PLACEHOLDER.findall(text):
            wanted.setdefault(name, []).append(place)
        return text

    raw = _changed({key: value for key, value in raw.items() if key != "inputs"}, note)
    for name, places in wanted.items():
        if name not in inputs:
            raise unknown_name("input", name, inputs, where=f"{path}: {places[0]}")
        given = inputs[name] or os.environ.get(f"FRCORE_{name.upper()}")
        if not given and inputs[name] is None:
            # Data sets are folders; what `models` name are files, and weights are in one.
            files = all(p.startswith("models[") or p.endswith(".weights") for p in places)
            what = "file" if files else "folder"
            raise UserError(
                f"{path} asks for a {what} '{name}' (used by {', '.join(places)}), and none was "
                f"given. Give it on the command line: --config {name}={what.upper()}"
            )
        # An empty text is the default of an input that may be left out.
        inputs[name] = str(Path(str(given)).expanduser()) if given else ""

    filled = _changed(raw, lambda _, text: PLACEHOLDER.sub(lambda match: inputs[match[1]], text))
    return {**filled, "inputs": inputs} if inputs else dict(filled)


# --- names and files -----------------------------------------------------------------------------


def _check(catalogue: Catalogue[Any], component: Component, where: str) -> Component:
    """`component` with its parameters, and those of a component inside it, checked and typed."""
    parameters = catalogue.check(component.name, component.parameters, where=where)
    over = parameters.get("over")
    if isinstance(over, str | Mapping):
        try:
            inner = Component.model_validate(over)
        except pydantic.ValidationError as error:
            raise UserError(
                f"{where}.over: {over!r} given; allowed is a {catalogue.kind}'s name or a mapping "
                "with it, for example {name: partial_fc, rate: 0.3}"
            ) from error
        _check(catalogue, inner, f"{where}.over")
    return component.model_copy(update=parameters)


def with_checked_components(study: Study) -> Study:
    """`study` with every head, sampler and backbone known and its parameters in their types.

    Raises:
        UserError: names or parameters that do not exist, values that they do not allow, or settings
            that conflict (`frcore.preflight.rules`); all that are found.
    """
    problems: list[str] = []

    def check(catalogue: Catalogue[Any], component: Component, where: str) -> Component:
        try:
            return _check(catalogue, component, where)
        except UserError as error:
            problems.append(str(error))
        return component

    checked: dict[str, Any] = {
        field: tuple(
            check(catalogue, component, f"{field}[{index}]")
            for index, component in enumerate(getattr(study, field))
        )
        for field, catalogue in (("backbones", BACKBONES), ("heads", HEADS), ("samplers", SAMPLERS))
    }
    models = tuple(
        model.model_copy(
            update={"backbone": check(BACKBONES, model.backbone, f"models[{index}].backbone")}
        )
        if isinstance(model, CheckpointModel) and model.backbone is not None
        else model
        for index, model in enumerate(study.models)
    )
    checked["models"] = models
    if study.measurement is not None and study.measurement.backbone is not None:
        backbone = check(BACKBONES, study.measurement.backbone, "measurement.backbone")
        checked["measurement"] = study.measurement.model_copy(update={"backbone": backbone})
    study = study.model_copy(update=checked)
    # These checks build the components.
    if problems := problems or study_problems(study):
        raise UserError(listed(problems))
    return study


def _check_files(study: Study) -> None:
    """Refuse a study whose data or models are missing, before hours of other work.

    Raises:
        UserError: the first folder or file that is missing.
    """
    wanted = {place: open_source(data).needed() for place, data in study.data.items()}
    for index, model in enumerate(study.models):
        wanted[f"models[{index}]"] = [(key, Path(path)) for key, path in model.paths.items()]
    for place, paths in wanted.items():
        for key, path in paths:
            if not path.exists():
                raise _absent(f"{place}.{key}", path)


def _absent(where: str, path: Path) -> UserError:
    return UserError(
        f"{where}: '{path}' does not exist (relative paths start at the working directory, "
        f"{Path.cwd()}); correct the path or get the data, see config/README.md"
    )


def _with_hashes_of_weights(study: Study) -> Study:
    """`study` with the sha256 of the weights that its backbones start from.

    They belong to the specs of its runs, so that another file repeats them.

    Raises:
        UserError: a file is missing, unreadable, or not the one that the study wants.
    """
    found = tuple(_hashed(part, f"backbones[{at}]") for at, part in enumerate(study.backbones))
    return study.model_copy(update={"backbones": found})


def _hashed(part: Backbone, where: str) -> Backbone:
    if part.weights is None:
        return part
    path = Path(part.weights)
    if not path.is_file():
        raise _absent(f"{where}.weights", path)
    try:
        with Hashes.beside_snakemake(part) as hashes:
            found = hashes.of(path, path.stat())
    except OSError as error:
        raise UserError(f"{where}.weights: '{path}' cannot be read: {error.strerror}") from error
    if part.sha256 not in (None, found):
        raise UserError(
            f"{where}.sha256: '{path}' has {found}, but the study says {part.sha256}; get the "
            "right file, or correct the study"
        )
    return part.model_copy(update={"sha256": found})
