"""What a study expands to: prepared data sets, runs and measurements, each self-contained.

A spec is everything one command needs, so that `frcore train --spec '<json>'` is the whole
provenance of a run, and a run's spec changes exactly when the run must be repeated.
"""

from __future__ import annotations

from itertools import product

from frcore.errors import UserError
from frcore.files import sha256_of_json
from frcore.study.config import Study
from frcore.study.data import Benchmark, Image, Official, TrainData
from frcore.study.models import Model
from frcore.study.parts import Backbone, Component, Evaluation, Measurement, Training
from frcore.study.section import Section, without_places

HELD_IN_MEMORY = 2 * 2**30
"""A training keeps decoded images in memory if they take no more than this many bytes."""


def stays_in_place(data: TrainData | Benchmark) -> bool:
    """Whether the images of a section are read in place, or generated, without copying."""
    return data.kind in _IN_PLACE or getattr(data, "storage", "copied") == "in_place"


_IN_PLACE = frozenset(
    ("recordio", "list", "parquet", "tar", "insightface_bin", "pair_list",
     "cfp_templates", "ijb", "synthetic_identities", "synthetic_identity_pairs")
)  # fmt: skip


class Spec(Section):
    """Base of the specs: a stable hash."""

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any value of the spec but its paths and
        those that are `ASIDE`."""
        return sha256_of_json(without_places(self))[:12]


class TrainDataSpec(Spec):
    """`frcore prepare`: the training set."""

    image: Image
    data: TrainData


class BenchmarkSpec(Spec):
    """`frcore prepare`: one benchmark."""

    name: str
    image: Image
    data: Benchmark


class RunSpec(Spec):
    """`frcore train`: one backbone × head × sampler × seed."""

    image: Image
    backbone: Backbone
    head: Component
    sampler: Component
    seed: int
    training: Training

    @property
    def id(self) -> str:
        """The run's name, also its folder's."""
        parts = (self.backbone, self.head, self.sampler)
        return "-".join([*(part.label for part in parts), f"s{self.seed}"])


class ModelSpec(Spec):
    """`frcore evaluate --model`: a model trained elsewhere."""

    model: Model

    @property
    def id(self) -> str:
        """The model's name, also its folder's; a run's has '-' in it, a model's has not."""
        return self.model.label


class EvaluationSpec(Spec):
    """`frcore evaluate`: how a trained run or a model is evaluated on one prepared benchmark."""

    evaluation: Evaluation
    device: str
    threads: int


class MeasurementSpec(Spec):
    """`frcore measure`: one head × sampler over all numbers of identities."""

    head: Component
    sampler: Component
    image: Image
    measurement: Measurement

    @property
    def id(self) -> str:
        """The measurement's name, also its file's."""
        return f"{self.head.label}-{self.sampler.label}"


def train_data(study: Study) -> TrainDataSpec:
    """The study's training set.

    Raises:
        UserError: the study trains nothing.
    """
    if study.train is None:
        raise UserError(
            f"study '{study.name}' trains nothing, so it has no training set; it has the "
            f"benchmarks {', '.join(study.benchmarks)}"
        )
    return TrainDataSpec(image=study.image, data=study.train)


def benchmarks(study: Study) -> dict[str, BenchmarkSpec]:
    """The study's benchmarks by name."""
    specs = {}
    for name, data in study.benchmarks.items():
        # It concerns only the report: giving it must not prepare the data again.
        unpublished = {"published_as": None} if isinstance(data, Official) else {}
        data = data.model_copy(update=unpublished)
        specs[name] = BenchmarkSpec(name=name, image=study.image, data=data)
    return specs


def runs(study: Study) -> dict[str, RunSpec]:
    """Every backbone × head × sampler × seed by run id; empty where the study trains nothing."""
    if study.training is None:
        return {}
    specs = [
        RunSpec(image=study.image, backbone=backbone, head=head, sampler=sampler, seed=seed,
                training=study.training)
        for backbone, head, sampler, seed
        in product(study.backbones, study.heads, study.samplers, study.seeds)
    ]  # fmt: skip
    return {spec.id: spec for spec in specs}


def models(study: Study) -> dict[str, ModelSpec]:
    """The study's models trained elsewhere by label."""
    # Published figures concern only the report: giving them must not repeat the evaluation.
    found = [model.model_copy(update={"published": {}}) for model in study.models]
    return {model.label: ModelSpec(model=model) for model in found}


def model_benchmarks(study: Study) -> list[tuple[str, str]]:
    """(model, benchmark) of every evaluation of a model, in the study's order."""
    pairs = product(study.models, study.benchmarks)
    return [(model.label, name) for model, name in pairs if model.judges(name)]


def evaluation(study: Study) -> EvaluationSpec:
    """How the study evaluates each run and model."""
    given, training = study.evaluation, study.training
    return EvaluationSpec(
        evaluation=given,
        device=given.device or (training.device if training else "cpu"),
        threads=given.threads or (training.threads if training else 1),
    )


def measurements(study: Study) -> dict[str, MeasurementSpec]:
    """Every head × sampler by name; empty where the study measures nothing."""
    if study.measurement is None:
        return {}
    specs = [
        MeasurementSpec(head=head, sampler=sampler, image=study.image,
                        measurement=study.measurement)
        for head, sampler in product(study.heads, study.samplers)
    ]  # fmt: skip
    return {spec.id: spec for spec in specs}
