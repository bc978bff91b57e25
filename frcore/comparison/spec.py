"""What is compared with what, and what fails the comparison. A light module without numerics.

A comparison is a small study of few heads under the original study's name, so existing trainings
and measurements are reused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, model_validator

from frcore.errors import UserError, unknown_name
from frcore.heads import HEADS
from frcore.study.config import Study
from frcore.study.expansion import Spec
from frcore.study.file import parse_value, unquoted
from frcore.study.parts import Component
from frcore.study.section import Label, Section

FOLDER = "comparison"
"""Where comparisons are, in `results/<study>`."""


class Rule(Section):
    """What fails a comparison, fixed before the results are known."""

    tolerance: float = Field(
        0.0, ge=0, lt=100, description="Percentage points that may be lost. It is a regression if "
        "the whole interval of the difference lies below minus this."
    )  # fmt: skip
    strict: bool = Field(
        False, description="Also fail where a loss above the tolerance cannot be ruled out."
    )
    max_slowdown: float | None = Field(
        None, gt=0, description="Fail if a step takes more than this many times the baseline's."
    )
    metrics: tuple[str, ...] = Field(
        (), description="The numbers that count, such as pairs.accuracy, or `all`; by default the "
        "main ones: of each benchmark accuracy, and TAR at the lowest FAR that it can resolve."
    )  # fmt: skip
    pool: str | None = Field(
        None, description="A folder of rows whose spread over seeds joins that of the study."
    )

    @model_validator(mode="after")
    def _strict_needs_a_tolerance(self) -> Rule:
        if self.strict and self.tolerance == 0:
            raise ValueError(
                "strict without a tolerance would require proof that nothing at all is lost, which "
                "no interval can give; add a tolerance in points, such as 1"
            )
        return self


class Settings(Rule):
    """A comparison as users write it: `--config candidate=my_heads:Mine baseline=arcface`."""

    candidate: str | dict[str, Any] | None = None
    baseline: str | dict[str, Any] | None = None
    against: str | None = Field(
        None, description="Instead of a baseline: a folder of rows that `frcore reference` kept."
    )


class ComparisonSpec(Spec):
    """`frcore compare`: a candidate and a baseline, or heads and the rows kept of them.

    Attributes:
        study: the study with only the compared heads.
        candidate: its label; None: every head of the study, against kept rows.
        baseline: its label; None if `against` is given.
        against: a folder of kept rows.
    """

    study: Study
    candidate: Label | None
    baseline: Label | None
    against: str | None
    rule: Rule

    @property
    def id(self) -> str:
        """Name of the comparison and its files; unique, as labels contain no '-'."""
        return f"{self.candidate or 'all'}-vs-{self.baseline or 'reference'}"

    def file(self, root: Path, suffix: Literal["json", "md", "svg", "html", "passed"]) -> Path:
        """One of the comparison's files below `root`, `results/<study>`."""
        return root / FOLDER / f"{self.id}.{suffix}"


def split_settings(overrides: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The comparison's settings among `--config` pairs, and the remaining ones for the study."""
    own = {
        key: unquoted(text) if key == "against" else parse_value(text, f"--config {key}")
        for key, text in overrides.items()
        if key in Settings.model_fields
    }
    return own, {key: value for key, value in overrides.items() if key not in own}


def comparison_of(
    study: Study, given: Mapping[str, Any], *, check: Callable[[Study], Study]
) -> ComparisonSpec:
    """The comparison that a user's settings describe for a study.

    Args:
        study: complete and checked.
        given: as `Settings`.
        check: of heads and their parameters, such as
            `frcore.preflight.load.with_checked_components`.

    Raises:
        UserError: an unknown setting or head, a label that is taken, or a study without training.
    """
    settings = _settings(given)
    if not study.trains:
        raise UserError(
            f"study '{study.name}' trains nothing, so it has no heads to compare; choose another "
            "study with --configfile (Snakemake) or --study (frcore)"
        )
    sides = _given(study, settings)
    chosen = {side: _head(study, given_head, side) for side, given_head in sides.items()}
    if chosen:
        study = _of_heads(study, chosen, check)
    labels = {side: head.label for side, head in chosen.items()}
    return ComparisonSpec(
        study=study,
        candidate=labels.get("candidate"),
        baseline=labels.get("baseline"),
        against=settings.against,
        rule=Rule(**{name: getattr(settings, name) for name in Rule.model_fields}),
    )


def _settings(given: Mapping[str, Any]) -> Settings:
    try:
        settings = Settings.model_validate(given)
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'][:1])) or 'comparison'} = {item['input']!r:.80}: "
            f"{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        allowed = ", ".join(Settings.model_fields)
        raise UserError(f"{problems}. Settings of a comparison: {allowed}") from error
    if settings.against is not None and settings.baseline is not None:
        raise UserError(
            f"both baseline={settings.baseline} and against={settings.against} were given; a "
            "candidate is compared with only one of them: leave one out"
        )
    return settings


def _given(study: Study, settings: Settings) -> dict[str, str | dict[str, Any]]:
    """The head given for each side of this kind of comparison."""
    sides = {"baseline": settings.baseline, "candidate": settings.candidate}
    if settings.against is not None:
        return {"candidate": settings.candidate} if settings.candidate is not None else {}
    for side, given in sides.items():
        if given is None:
            labels = ", ".join(head.label for head in study.heads)
            raise UserError(
                f"a comparison needs a {side}: a head of the study ({labels}), one of `frcore "
                f"heads`, or your own class; add {side}=NAME to --config (Snakemake), or "
                f"--{side} NAME (frcore)"
            )
    return {side: given for side, given in sides.items() if given is not None}


def _head(study: Study, given: str | dict[str, Any], side: str) -> Component:
    """A head with the study's parameters if the study has it; else as given."""
    labels = {head.label: head for head in study.heads}
    if isinstance(given, str):
        named = [head for head in study.heads if head.name == given]
        if given in labels or len(named) == 1:
            return labels.get(given) or named[0]
        if named:
            raise UserError(
                f"{side}: the study has '{given}' {len(named)} times, as "
                f"{', '.join(head.label for head in named)}; give one of these labels"
            )
    try:
        head = Component.model_validate(given)
    except pydantic.ValidationError as error:
        raise UserError(
            f"{side}: {given!r:.80} is not a head; give a name, your own class as "
            "package.module:Class, or a mapping such as {name: arcface, margin: 0.3, label: arc03}"
        ) from error
    if head.name not in HEADS and ":" not in head.name:
        raise unknown_name("head", head.name, {*HEADS, *labels}, where=side)
    return head


def _of_heads(
    study: Study, chosen: Mapping[str, Component], check: Callable[[Study], Study]
) -> Study:
    """The study with only the heads `chosen`, in their order, and no models."""
    known = {head.label: head for head in study.heads}
    if len({head.label for head in chosen.values()}) < len(chosen):
        (label,) = {head.label for head in chosen.values()}
        raise UserError(
            f"candidate and baseline are both called '{label}'; give two different heads, or give "
            f"one of them another label: candidate='{{name: ..., label: {label}_new}}'"
        )
    heads = [head.model_dump(mode="json") for head in chosen.values()]
    try:
        found = check(
            # Its claims may be about other heads.
            Study.model_validate(
                {**study.model_dump(mode="json"), "heads": heads, "models": [], "claims": {}}
            )
        )
    except UserError as error:
        sides = dict(enumerate(chosen))
        text = re.sub(
            r"^( *)heads\[(\d+)\]",
            lambda match: match[1] + sides[int(match[2])],
            str(error),
            flags=re.MULTILINE,
        )
        raise UserError(text) from error
    for side, head in zip(chosen, found.heads, strict=True):
        if head != known.get(head.label, head):
            raise UserError(
                f"{side}: the label '{head.label}' is used by a head of the study with different "
                "parameters and names its folders; give another label, for example "
                f"{side}='{{name: {head.name}, ..., label: {head.label}_new}}'"
            )
    return found
