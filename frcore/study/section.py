"""What every part of a study is made of: frozen sections, and labels that become file names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from frcore.components.exact_numbers import ExactNumbers

LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+]*$"
"""Labels become file names and, joined by '-', run names; so no separators and no '-'."""

_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)
"""What Windows takes for a device, with any ending."""


def _a_file_everywhere(label: str) -> str:
    """Results are copied to other systems, where such a name is another file or none at all."""
    if label.endswith(".") or label.split(".")[0].lower() in _DEVICES:
        raise ValueError(
            f"'{label}' cannot be a file's name on Windows, where results may be copied to; give "
            "a label that does not end in '.' and is not one of con, prn, aux, nul, com1, lpt1, …"
        )
    return label


Label = Annotated[
    str, Field(pattern=LABEL_PATTERN, max_length=60), AfterValidator(_a_file_everywhere)
]


SHA256_PATTERN = r"^[0-9a-f]{64}$"

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]


def added(default: Any, description: str, **limits: Any) -> Any:
    """A field that came later: left out of a spec where it has its default, so that the specs of
    studies without it are those from before, and nothing is computed again."""
    return Field(
        default, exclude_if=lambda given: bool(given == default), description=description, **limits
    )


_WITHOUT_PLACES = {"places": False}


def _place(value: str, info: SerializationInfo) -> str:
    return "" if info.context == _WITHOUT_PLACES else value


Place = Annotated[str, PlainSerializer(_place, return_type=str)]
"""A path on this machine. It is not part of a spec's meaning: moved data are the same data.
Their content is described by `frcore.data.signatures.Signature`."""


def duplicates(labels: Iterable[str]) -> list[str]:
    """The duplicates, compared without case: on some systems they are one file.

    >>> duplicates(["arcface", "cosface", "ArcFace"])
    ['ArcFace']
    """
    seen: set[str] = set()
    found = []
    for label in labels:
        if label.casefold() in seen:
            found.append(label)
        seen.add(label.casefold())
    return found


class Section(ExactNumbers):
    """A part of the study: unknown keys are refused, values cannot change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ASIDE = "aside"
"""Marks a setting of a `SectionWithAsides` that changes no result: like a place it is not part of a
spec's meaning, and another value repeats nothing."""


class SectionWithAsides(Section):
    """A section with settings marked by `Annotated[..., ASIDE]`.

    What a spec means has none of them, so that it is read with their defaults.
    """

    @model_serializer(mode="wrap")
    def _without_asides(
        self, whole: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        found: dict[str, Any] = whole(self)
        if info.context == _WITHOUT_PLACES:
            for name, field in type(self).model_fields.items():
                if ASIDE in field.metadata:
                    del found[name]
        return found


def dotted(settings: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """Nested settings with their whole names.

    Args:
        settings: mappings in mappings.
        without: keys left out of inner mappings.

    >>> dotted({"rate": 0.1, "over": {"name": "partial_fc", "label": "p"}}, without=["label"])
    {'rate': 0.1, 'over.name': 'partial_fc'}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            inner = {key: kept for key, kept in value.items() if key not in without}
            found |= {f"{name}.{key}": kept
                      for key, kept in dotted(inner, without=without).items()}  # fmt: skip
        else:
            found[name] = value
    return found


def compact_json(spec: Section, *, places: bool = True) -> str:
    """A spec or study as the JSON that `frcore ... --spec` takes, on one line.

    Args:
        spec: what is written.
        places: False leaves out the paths and what is `ASIDE`, for what must not change with them.
    """
    # Snakemake writes a rule's parameters into a script of its report as they are, so that a study
    # with the text "</script>" could end it there. Such a letter occurs only in strings.
    context = None if places else _WITHOUT_PLACES
    return spec.model_dump_json(context=context).replace("<", r"\u003c")


def without_places(spec: Section) -> dict[str, Any]:
    """What a spec means, as JSON values: its paths are empty, what is `Aside` is null."""
    return spec.model_dump(mode="json", context=_WITHOUT_PLACES)
