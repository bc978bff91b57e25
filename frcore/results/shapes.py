"""What the report relies on in the files that the stages leave, checked when they are read.

A file may have been cut, edited, or written by another version or by somebody else. What does not
have these shapes is reported as unreadable, with the place that is wrong; what is in a file besides
stays as it is.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from frcore.measurement.columns import NUMBERS

MOST = 2.0**53
"""Beyond it a float does not hold every integer; nothing counted or timed gets there."""

Number = Annotated[float, Field(ge=-MOST, le=MOST)] | None
"""Neither NaN nor infinite: what could not be measured is null."""

Logged = float | None
"""A figure of a running training, which may be NaN or infinite."""

Counts = list[Annotated[float, Field(ge=0, le=MOST)]]
Text = str | None


class Shape(BaseModel):
    """A JSON object, of which only these keys are relied upon."""

    model_config = ConfigDict(extra="allow", strict=True)


class Environment(Shape):
    """Where a result was made."""

    versions: dict[str, Text] = {}
    commit: Text = None
    platform: Text = None
    cpu: Text = None
    cores: Number = None
    device: Text = None
    gpu: dict[str, Any] | Text = None


class Made(Shape):
    """What every result has."""

    spec_hash: Text = None
    data: dict[str, Any] | None = None
    environment: Environment | None = None


class Result(Made):
    """`run.json` and `result.json`."""

    epochs: Number = None
    steps: Number = None
    seconds: Number = None
    images_per_second: Number = None
    final_loss: Number = None
    parameters: Number = None
    backend: Text = None


class NumberRow(Shape):
    """One number of an evaluation."""

    metric: str
    subset: str
    value: Number
    far: Number = None
    rank: Number = None
    fpir: Number = None
    gallery: Number = None
    low: Number = None
    high: Number = None
    level: Number = None
    se_test: Number = None
    n: Number = None
    threshold: Number = None
    far_achieved: Number = None
    false_accepts: Number = None
    impostors: Number = None
    method: Text = None
    n_unit: Text = None
    note: Text = None


class Evaluation(Made):
    """`evaluation/<run>/<benchmark>.json`."""

    rows: list[NumberRow]
    protocol: Text = None
    notes: list[str] = []


class MeasuredRow(Shape):
    """One measured point."""

    identities: Number
    status: str = "ok"
    error: Text = None
    notes: list[str] | Text = None
    inside_timer: Text = None
    device: Text = None
    backend: Text = None
    loss_precision: Text = None
    center_format: Text = None
    step_ms: Number = None
    step_ms_low: Number = None
    step_ms_high: Number = None

    @model_validator(mode="after")
    def _is_measured(self) -> MeasuredRow:
        if self.status == "ok" and not (self.step_ms and self.step_ms > 0):
            raise ValueError(f"status 'ok' without a step time, but step_ms {self.step_ms}")
        others = (self.model_extra or {}).items()
        wrong = [name for name, value in others if name in NUMBERS and not _fits(value)]
        if wrong:
            raise ValueError(f"{wrong[0]} is no number")
        return self


class Measurement(Made):
    """`measurement/<head>-<sampler>.json`."""

    rows: list[MeasuredRow]


class Group(Shape):
    """A group of classes, with numbers by name."""

    group: str


class ConflictRow(Shape):
    """Pairs of centres above a cosine."""

    cosine: Number
    pairs: Number = None
    same_person: Number = None
    precision: Number = None
    recall: Number = None


class Histogram(Shape):
    """Pairs of centres by their cosine."""

    edges: list[Annotated[float, Field(ge=-1.001, le=1.001)]]
    pairs: Counts
    same_person: Counts | None

    @model_validator(mode="after")
    def _has_a_count_for_each_bin(self) -> Histogram:
        both = (self.pairs, self.pairs if self.same_person is None else self.same_person)
        if any(len(counts) != len(self.edges) - 1 for counts in both):
            raise ValueError("counts are not one for each bin between the edges")
        return self


class Conflicts(Shape):
    """Pairs of classes that may be one person."""

    split_pairs: Number = None
    histogram: Histogram | None = None
    rows: list[ConflictRow] = []


class Diagnostics(Made):
    """`diagnostics.json`."""

    classes: Number = None
    centers: dict[str, Number] | None = None
    groups: list[Group] | None = None
    conflicts: Conflicts | None = None
    notes: list[str] | None = None

    @model_validator(mode="after")
    def _groups_have_numbers(self) -> Diagnostics:
        for group in self.groups or ():
            wrong = [name for name, value in (group.model_extra or {}).items() if not _fits(value)]
            if wrong:
                raise ValueError(f"{wrong[0]} of group '{group.group}' is no number")
        return self


class Manifest(Shape):
    """`data/<name>/manifest.json`."""

    images: int
    identities: int
    skipped: list[Any] | None = None
    warnings: list[str] | None = None


class Event(Shape):
    """A line of `metrics.jsonl`."""

    event: str
    step: Number = None
    epoch: Number = None
    loss: Logged = None
    scale: Logged = None
    target_angle: Logged = None
    negative_angle: Logged = None
    head: dict[str, Logged] | None = None
    centers: dict[str, Logged] | None = None
    angle_edges_degrees: Counts | None = None
    target_histogram: Counts | None = None
    negative_histogram: Counts | None = None

    @model_validator(mode="after")
    def _says_when(self) -> Event:
        if (
            self.event in ("step", "epoch")
            and self.epoch is None
            and (self.event == "epoch" or self.step is None)
        ):
            raise ValueError(f"an event '{self.event}' that does not say when")
        return self


def _fits(value: object) -> bool:
    if value is None:
        return True
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and -MOST <= value <= MOST  # type: ignore[operator]


def misfit(value: Any, shape: type[Shape]) -> str:
    """Where and how `value` is not of a shape; empty where it is."""
    try:
        shape.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return ""
