"""What a study claims: a sentence of a paper, its published evidence, and how it is tested here.

What the tests mean is in docs/reproduction.md; verdicts are computed by `frcore.results.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from frcore.study.section import Section

TRAINED = Literal["scale", "target_angle", "negative_angle", "loss", "seconds"]
CENTERS = Literal[
    "nearest_angle_mean", "nearest_angle_p5", "nearest_angle_min", "mean_angle", "positive",
    "queue", "passive", "passive_per_positive", "target_angle_mean", "target_angle_p5",
    "target_angle_p95", "precision", "recall",
]  # fmt: skip
KINDS = ("metric", "training", "centers", "measured", "probability")

SIDES = ("better", "higher", "lower", "same")
VALUES = ("above", "below", "near")


class Quantity(Section):
    """The number that a claim is about: a metric of a benchmark (a text is enough, such as
    pairs.accuracy), what a training recorded, its class centres, a measurement, or P(θ) of a
    head."""

    metric: str | None = Field(
        None, description="A benchmark's metric, such as pairs.accuracy or pairs.tar.0.001."
    )
    training: TRAINED | None = Field(
        None, description="What metrics.jsonl has of each epoch: scale, mean angles in degrees, "
        "loss; or seconds of the whole training."
    )  # fmt: skip
    epoch: Annotated[int, Field(ge=1)] | Literal["first", "last", "change"] = Field(
        "last", description="Of which epoch; change: the last minus the first."
    )
    centers: CENTERS | None = Field(
        None, description="A number of diagnostics.json, about the class centres after training."
    )
    group: Literal["head", "middle", "tail", "all"] = Field(
        "all", description="centers: of the classes with most, middling or fewest images."
    )
    cosine: float | None = Field(
        None, gt=0, lt=1, description="centers, precision and recall: the threshold."
    )
    measured: Literal["step_ms", "memory"] | None = Field(
        None, description="Time or memory of a step of the last layer; needs `identities`."
    )
    identities: int | None = Field(None, ge=3, description="measured: number of identities.")
    processes: int = Field(1, ge=1, description="measured: number of processes.")
    probability: float | None = Field(
        None, ge=0, le=180, description="P(θ), computed from the head's formula in its first "
        "state: the probability of the right class at this angle in degrees to its centre, where "
        "all others are at 90°; needs `classes`."
    )  # fmt: skip
    classes: int | None = Field(None, ge=3, description="probability: number of classes.")

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        return {"metric": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_number(self) -> Quantity:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{', '.join(given) or 'nothing'} given; a claim is about one number: give a "
                f"benchmark's metric as a text, or one of {', '.join(KINDS)}"
            )
        if (self.measured is None) != (self.identities is None):
            raise ValueError("`measured` and `identities` belong together; give both, or neither")
        if (self.probability is None) != (self.classes is None):
            raise ValueError("`probability` and `classes` belong together; give both, or neither")
        if (self.centers in ("precision", "recall")) != (self.cosine is not None):
            raise ValueError("`cosine` belongs to centers: precision and recall, and they need it")
        return self

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def has_level(self) -> bool:
        """Whether its interval is one of those that hold jointly: no span, nothing computed."""
        return self.measured is None and self.probability is None

    @property
    def is_ratio(self) -> bool:
        """Whether two values are compared by their ratio, not by their difference."""
        return self.measured is not None

    @property
    def unit(self) -> str:
        """Of differences, and of the thresholds of a test."""
        if self.metric is not None:
            return "points"
        if self.measured is not None:
            return "×"
        name = self.training or self.centers or ""
        if "angle" in name:
            return "degrees"
        return {"seconds": "s", "positive": "rows", "queue": "rows", "passive": "steps",
                "precision": "points", "recall": "points"}.get(name, "")  # fmt: skip

    @property
    def title(self) -> str:
        """In words."""
        if self.metric is not None:
            return self.metric
        if self.measured is not None:
            what = "time of a step" if self.measured == "step_ms" else "memory of a step"
            more = f", {self.processes} processes" if self.processes > 1 else ""
            return f"{what} at {self.identities:,} identities{more}"
        if self.probability is not None:
            return f"P({self.probability:g}°) with {self.classes:,} classes"
        name = str(self.training or self.centers).replace("_", " ")
        if self.centers is not None:
            of = "" if self.group == "all" else f", {self.group} classes"
            return f"{name}{of}" + ("" if self.cosine is None else f" at cosine {self.cosine:g}")
        if self.training == "seconds":
            return "seconds of training"
        named = isinstance(self.epoch, int)
        return f"{name}, " + {"change": "last minus first epoch"}.get(
            str(self.epoch), f"epoch {self.epoch}" if named else f"{self.epoch} epoch"
        )


Methods = tuple[str, ...]


class Test(Section):
    """One comparison of methods in one number, with what the claim expects of it.

    A method is the label of a head or of a sampler (all methods that have it), `head-sampler`, or
    `backbone-head-sampler`; the methods of one name are averaged. Several names on a side are
    several comparisons, and the claim needs each of them. One of:

    - `better`, `higher`, `lower` or `same`: these methods against those of `than`;
    - `doses`: methods in the order of a growing dose, and `expect`;
    - `of`: these methods by themselves, and `above`, `below` or `near` a value.
    """

    __test__ = False  # for pytest

    number: Quantity
    better: Methods = Field((), description="Higher in a metric, lower in time or memory.")
    higher: Methods = ()
    lower: Methods = ()
    same: Methods = Field((), description="No difference larger than `within`.")
    than: Methods = ()
    doses: Methods = Field((), description="In the order of the dose, the smallest first.")
    expect: Literal["increases", "decreases", "same"] | None = Field(
        None, description="Of the number over `doses`; same: none differs from the first by more "
        "than `within`."
    )  # fmt: skip
    of: Methods = ()
    above: float | None = None
    below: float | None = None
    near: float | None = Field(None, description="No further from it than `within`.")
    heads: Methods = Field((), description="Only methods with these heads; absent: with any.")
    samplers: Methods = Field((), description="Only methods with these samplers; absent: any.")
    backbones: Methods = Field((), description="Only methods with these backbones; absent: any.")
    smallest: float | None = Field(
        None, ge=0, description="The smallest effect that the claim claims, in the number's unit "
        "(points for shares); for time and memory a factor above 1. Absent: any."
    )  # fmt: skip
    negligible: float | None = Field(
        None, gt=0, description="An effect that is surely no larger than this, in the number's "
        "unit, does not bear the claim out."
    )  # fmt: skip
    within: float | None = Field(
        None, gt=0, description="same, near: how much is no difference, in the number's unit; for "
        "time and memory a factor above 1."
    )  # fmt: skip

    @model_validator(mode="after")
    def _is_one_test(self) -> Test:
        side = [name for name in SIDES if getattr(self, name)]
        value = [name for name in VALUES if getattr(self, name) is not None]
        forms = [name for name, given in (("than", side or self.than), ("doses", self.doses),
                                          ("of", self.of)) if given]  # fmt: skip
        if len(forms) != 1:
            raise ValueError(
                f"{' and '.join(forms) or 'no methods'} given; allowed is one of: better, higher, "
                "lower or same with `than`; `doses` with `expect`; `of` with above, below or near"
            )
        if forms == ["than"] and (len(side) != 1 or not self.than):
            raise ValueError("a contrast needs `than` and one of better, higher, lower, same")
        if (forms == ["doses"]) != (self.expect is not None):
            raise ValueError("`expect` and `doses` belong together; give both, or neither")
        if forms == ["doses"] and len(self.doses) < 2:
            raise ValueError("`doses` needs two methods or more")
        if (forms == ["of"]) != (len(value) == 1) or len(value) > 1:
            raise ValueError("`of` needs one of above, below and near, and they need `of`")
        self._thresholds_fit()
        return self

    def _thresholds_fit(self) -> None:
        if self.is_same != (self.within is not None):
            raise ValueError(
                "`within` says how much is no difference; same and near need it, the others "
                "have `smallest` and `negligible`"
            )
        if self.is_same and (self.smallest is not None or self.negligible is not None):
            raise ValueError("`smallest` and `negligible` are for claims of an effect; remove them")
        if self.better and self.number.kind not in ("metric", "measured"):
            raise ValueError(
                f"better {self.number.title}: which is better, high or low, is not known; write "
                "`higher` or `lower`"
            )
        factors = {name: getattr(self, name) for name in ("smallest", "negligible", "within")}
        low = [name for name, value in factors.items() if value is not None and value <= 1]
        if self.number.is_ratio and low:
            raise ValueError(f"{low[0]}: {factors[low[0]]:g} given; time and memory are compared "
                             "by their ratio: give a factor above 1, such as 1.5")  # fmt: skip
        if self.number.is_ratio and self.of:
            raise ValueError("`of` is not for time and memory, which differ between machines; "
                             "compare two methods")  # fmt: skip
        if self.number.measured == "memory" and not self.is_same and self.smallest is None:
            raise ValueError("memory is one reading without an interval: say with `smallest` "
                             "which factor counts")  # fmt: skip

    @property
    def is_same(self) -> bool:
        """Whether no difference is claimed."""
        return bool(self.same) or self.expect == "same" or self.near is not None

    @property
    def side(self) -> tuple[str, Methods]:
        """The name of a contrast's first side, and its methods."""
        return next((name, getattr(self, name)) for name in SIDES if getattr(self, name))

    @property
    def direction(self) -> int:
        """1 where a larger number bears the claim out, −1 where a smaller one does."""
        down = self.lower or self.expect == "decreases" or self.below is not None
        return -1 if down or (self.better and self.number.is_ratio) else 1


class Claim(Section):
    """A sentence of a paper, and how it is tested, or what a test would need."""

    says: str = Field(description="The claim, in one sentence.")
    source: str = Field(description="Paper and place, such as 'AdaCos (CVPR 2019), Fig. 4'.")
    evidence: str = Field("", description="Published evidence with its figures, as text.")
    published: tuple[dict[str, str], ...] = Field(
        (), description="Published evidence as rows of frcore/reporting/published.csv: column -> "
        "value. Each must be there."
    )  # fmt: skip
    test: Test | None = None
    needs: str = Field("", description="Without a test: what one would need.")

    @model_validator(mode="after")
    def _is_tested_or_needs(self) -> Claim:
        if (self.test is None) != bool(self.needs):
            raise ValueError("a claim has either `test` or `needs`; give one of them")
        return self


def methods_of(
    name: str, test: Test, parts: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, str, str], ...]:
    """Backbone, head and sampler of each method that a name of a test stands for.

    Args:
        name: a label, `head-sampler` or `backbone-head-sampler`.
        test: may restrict them.
        parts: labels by `backbones`, `heads`, `samplers`.

    Returns:
        Empty if there are none.
    """
    labels, kinds = name.split("-"), ("backbones", "heads", "samplers")
    if len(labels) == 1:
        kind = next((kind for kind in ("heads", "samplers", "backbones") if name in parts[kind]),
                    None)  # fmt: skip
        asked = {} if kind is None else {kind: name}
    else:
        asked = dict(zip(kinds[-len(labels) :], labels, strict=True)) if len(labels) < 4 else {}
    if not asked:
        return ()
    allowed = [
        [one for one in parts[kind]
         if asked.get(kind, one) == one and one in (getattr(test, kind) or parts[kind])]
        for kind in kinds
    ]  # fmt: skip
    return tuple((b, h, s) for b in allowed[0] for h in allowed[1] for s in allowed[2])
