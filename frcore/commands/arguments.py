"""From command-line arguments to the spec they mean: `--spec JSON`, or `--study` and a name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pydantic

from frcore.errors import UserError, unknown_name
from frcore.preflight.load import load_study
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec
from frcore.study.file import pairs
from frcore.study.section import Section
from frcore.workflow import Workflow

S = TypeVar("S", bound=Section)


def workflow(study: Path | None, config: list[str] | None) -> Workflow:
    """The study of `--study` with the overrides of `--config`."""
    if study is None:
        raise UserError("neither --spec nor --study was given; give --study config/X.yaml")
    return Workflow(load_study(study, pairs(config)))


def text_of(spec: str) -> str:
    """The JSON that is given, or that is in the file that is given."""
    if spec.lstrip().startswith(("{", "[")):
        return spec
    try:
        return Path(spec).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(
            f"--spec '{spec}' is neither JSON nor a file that can be read ({error}); let Snakemake "
            "or --study make it"
        ) from error


def sources(given: list[str] | None) -> dict[str, Path]:
    """Prepared set -> where its source is now, of `--source NAME=PATH`."""
    found = {}
    for one in given or []:
        name, equals, place = one.partition("=")
        if not equals or not name or not place:
            raise UserError(
                f"--source '{one}': allowed is NAME=PATH, for example train=/data/faces"
            )
        found[name] = Path(place)
    return found


def parse(model: type[S], spec: str) -> S:
    """The spec in `--spec`."""
    try:
        return model.model_validate_json(text_of(spec))
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'JSON'}: {item['msg']}" for item in error.errors()
        )
        raise UserError(
            f"--spec is not a {model.__name__}: {problems}. Let Snakemake or --study make it"
        ) from error


def parse_data(spec: str) -> TrainDataSpec | BenchmarkSpec:
    """The spec of a data set in `--spec`; only a benchmark has a name."""
    try:
        has_name = "name" in json.loads(text_of(spec))
    except (ValueError, TypeError):
        has_name = False
    return parse(BenchmarkSpec, spec) if has_name else parse(TrainDataSpec, spec)


def pick(kind: str, name: str | None, specs: Mapping[str, S]) -> S:
    """The spec called `name`; the only one where no name was given."""
    if name is None and len(specs) == 1:
        return next(iter(specs.values()))
    if name is None:
        raise UserError(f"--{kind} is missing; the study has {', '.join(specs) or 'none'}")
    if name not in specs:
        raise unknown_name(kind, name, specs, where=f"--{kind}")
    return specs[name]


def need(option: str, value: Path | None) -> Path:
    """A path that `--spec` does not imply."""
    if value is None:
        raise UserError(f"{option} is missing; with --spec every path must be given")
    return value
