"""The study: one YAML file as pydantic models. These are the single source of its JSON Schema.

Loading, overriding and error messages are in `frcore.preflight.load`; what a study expands to
(runs, prepared data sets, measurements) is in `frcore.study.expansion`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from frcore.study.claims import Claim
from frcore.study.data import Benchmark, Image, TrainData
from frcore.study.models import Model
from frcore.study.parts import Backbone, Component, Evaluation, Measurement, Training
from frcore.study.section import Label, Place, Section, duplicates

Signature = Literal["auto", "content", "stat"]
SIGNATURE_MEANING = (
    "How a change of data or models is noticed. content: by the bytes of each file, which are read "
    "once; stat: by names, sizes and times of change; auto: by content up to 1 GiB and 50,000 "
    "files of a data set. See docs/data.md."
)

TRAINING_PARTS = ("train", "backbones", "heads", "samplers", "training")
"""The sections of a study that trains; one that only evaluates models has none of them."""


RESERVED = frozenset(("readme.md", "reference"))
"""What else is in results/ next to the studies, in lower case."""


class Study(Section):
    """A study: its data, backbones, heads, samplers and seeds, and how to train and evaluate."""

    name: Label
    title: str = ""
    question: str = Field("", description="The study's question; printed at the top of its page.")
    inputs: dict[Label, Place | None] = Field(
        {}, description="Folders that the study needs, used below as `${name}`. Given with "
        "`--config name=FOLDER` or the environment variable `FRCORE_NAME`; null: must be given; "
        "'': may be left out."
    )  # fmt: skip
    image: Image
    train: TrainData | None = None
    benchmarks: dict[Label, Benchmark] = Field(min_length=1)
    models: tuple[Model, ...] = Field(
        (), description="Models trained elsewhere, evaluated with the trained ones or alone."
    )
    backbones: tuple[Backbone, ...] = ()
    heads: tuple[Component, ...] = ()
    samplers: tuple[Component, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field((0,), min_length=1)
    training: Training | None = None
    evaluation: Evaluation
    measurement: Measurement | None = None
    signature: Signature = Field("auto", description=SIGNATURE_MEANING)
    claims: dict[Label, Claim] = Field(
        {}, description="What papers claim, by a name for each, with the test of it: the verdicts "
        "are on the study's page."
    )  # fmt: skip
    scales: dict[Label, dict[str, Any]] = Field(
        {}, description="The same study at other scales, chosen with `--config scale=NAME`: keys "
        "that replace the study's; those of training, evaluation, measurement, inputs and claims "
        "are merged one by one, and null removes one. {} is the study as it is."
    )  # fmt: skip
    show_faces: bool = Field(
        False, description="Show some training faces of real people on the page, which is then "
        "subject to the same terms as the data. Synthetic ones are always shown."
    )  # fmt: skip

    @field_validator("name")
    @classmethod
    def _not_beside_the_studies(cls, name: str) -> str:
        if name.casefold() in RESERVED:
            raise ValueError(
                f"'{name}' given, but results/ has a file or folder of that name (capitals do not "
                "count), which the study would write over; give it another name"
            )
        return name

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must differ, got {list(seeds)}")
        return seeds

    @field_validator("benchmarks")
    @classmethod
    def _train_is_taken(cls, benchmarks: dict[str, Any]) -> dict[str, Any]:
        if repeated := duplicates(["train", *benchmarks]):
            if repeated[0].casefold() != "train":
                raise ValueError(f"duplicate name '{repeated[0]}' (compared without case)")
            raise ValueError("'train' is the training set's name; call the benchmark otherwise")
        return benchmarks

    @model_validator(mode="after")
    def _labels_differ(self) -> Study:
        for kind in ("backbones", "heads", "samplers", "models"):
            repeated = duplicates(component.label for component in getattr(self, kind))
            if repeated:
                example = f", for example {{name: {repeated[0]}, label: {repeated[0]}_b}}"
                raise ValueError(
                    f"{kind}: duplicate label '{repeated[0]}' (compared without case); give "
                    f"each its own with `label:`{'' if kind == 'models' else example}"
                )
        taken = sorted({m.label for m in self.models} & {head.label for head in self.heads})
        if taken:
            raise ValueError(
                f"models: the label '{taken[0]}' is also a head's, and they share a column; "
                "give the model another"
            )
        return self

    @property
    def data(self) -> dict[str, TrainData | Benchmark]:
        """Key -> section of every data set: `train`, `benchmarks.NAME`."""
        train = {} if self.train is None else {"train": self.train}
        return train | {f"benchmarks.{name}": data for name, data in self.benchmarks.items()}

    @property
    def trains(self) -> bool:
        """Whether anything is trained; else the study only evaluates `models`."""
        return self.training is not None

    @model_validator(mode="after")
    def _trains_or_has_models(self) -> Study:
        given = [part for part in TRAINING_PARTS if getattr(self, part)]
        missing = [part for part in TRAINING_PARTS if part not in given]
        if not given and not self.models:
            raise ValueError(
                "train, backbones, heads, samplers, training: are missing, and so is `models`; add "
                "these five to train, or `models:` to evaluate models trained elsewhere"
            )
        if given and missing:
            raise ValueError(
                f"{', '.join(missing)}: missing; a study that trains needs "
                f"{', '.join(TRAINING_PARTS)} (one that only evaluates `models` has none): "
                "add what is missing"
            )
        if self.measurement is not None and not given:
            raise ValueError(
                "measurement: given, but without heads and samplers there is nothing to measure; "
                "remove it, or add what a training needs"
            )
        return self

    @model_validator(mode="after")
    def _models_name_benchmarks(self) -> Study:
        for index, model in enumerate(self.models):
            for key in ("files", "published"):
                unknown = sorted(set(getattr(model, key, {})) - set(self.benchmarks))
                if unknown:
                    raise ValueError(
                        f"models[{index}].{key}: '{unknown[0]}' is not a benchmark of the study; "
                        f"allowed are {', '.join(self.benchmarks)}"
                    )
        return self
