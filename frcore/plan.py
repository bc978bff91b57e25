"""What a study expands to: prepared data sets, runs and measurements, each self-contained.

A spec is everything one command needs, so that `frcore train --spec '<json>'` is the whole
provenance of a run, and a run's spec changes exactly when the run must be repeated.
"""

from __future__ import annotations

from itertools import product

from frcore.config import (
    Benchmark,
    Component,
    Evaluation,
    Image,
    Measurement,
    Section,
    Study,
    TrainData,
    Training,
)
from frcore.files import sha256_of_json


class Spec(Section):
    """Base of the specs: a stable hash."""

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any value of the spec."""
        return sha256_of_json(self.model_dump(mode="json"))[:12]


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
    backbone: Component
    head: Component
    sampler: Component
    seed: int
    training: Training

    @property
    def id(self) -> str:
        """The run's name, also its folder's."""
        parts = (self.backbone.label, self.head.label, self.sampler.label, f"s{self.seed}")
        return "-".join(parts)


class EvaluationSpec(Spec):
    """`frcore evaluate`: how a trained run is judged on one prepared benchmark."""

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
    """The study's training set."""
    return TrainDataSpec(image=study.image, data=study.train)


def benchmarks(study: Study) -> dict[str, BenchmarkSpec]:
    """The study's benchmarks by name."""
    return {
        name: BenchmarkSpec(name=name, image=study.image, data=data)
        for name, data in study.benchmarks.items()
    }


def runs(study: Study) -> dict[str, RunSpec]:
    """Every backbone × head × sampler × seed by run id."""
    grid = product(study.backbones, study.heads, study.samplers, study.seeds)
    specs = [
        RunSpec(
            image=study.image,
            backbone=backbone,
            head=head,
            sampler=sampler,
            seed=seed,
            training=study.training,
        )
        for backbone, head, sampler, seed in grid
    ]
    return {spec.id: spec for spec in specs}


def evaluation(study: Study) -> EvaluationSpec:
    """How the study judges each run."""
    return EvaluationSpec(
        evaluation=study.evaluation,
        device=study.training.device,
        threads=study.training.threads,
    )


def measurements(study: Study) -> dict[str, MeasurementSpec]:
    """Every head × sampler by name; empty where the study measures nothing."""
    if study.measurement is None:
        return {}
    specs = [
        MeasurementSpec(
            head=head, sampler=sampler, image=study.image, measurement=study.measurement
        )
        for head, sampler in product(study.heads, study.samplers)
    ]
    return {spec.id: spec for spec in specs}
