"""The code that each job of a study runs: the locations from which its fingerprint starts.

What a study chooses (heads, samplers, backbones, loss backends, readers) is imported by location
on demand, so it is reached only from here. Nothing is imported for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from frcore.backbones import BACKBONES
from frcore.heads import HEADS
from frcore.provenance.environment import PACKAGE
from frcore.provenance.fingerprint import catalogue_at, code_fingerprint
from frcore.samplers import SAMPLERS
from frcore.study import expansion
from frcore.study.config import Study
from frcore.study.data import Benchmark, TrainData
from frcore.study.models import CheckpointModel
from frcore.study.parts import Component


def component_places(
    *, backbone: Component | None = None, head: Component | None = None,
    sampler: Component | None = None,
) -> list[str]:  # fmt: skip
    """The places of the given components, and of what a sampler stands over."""
    places = [BACKBONES.get(backbone.name, backbone.name)] if backbone else []
    places += [HEADS.get(head.name, head.name)] if head else []
    while sampler is not None:
        places.append(SAMPLERS.get(sampler.name, sampler.name))
        over = sampler.parameters.get("over")
        sampler = Component.model_validate(over) if isinstance(over, str | Mapping) else None
    return places


def backend_places(backend: str, device: str) -> list[str]:
    """The place of a loss backend; for "auto" all that it may pick on "cpu" or "cuda".

    Whether the kernels support a head is known only after importing it, so "auto" on a GPU has all.
    """
    places = catalogue_at("frcore.loss:BACKENDS")
    if backend != "auto":
        return [places[backend]]
    if device == "cpu":
        del places["triton"]
    return [*catalogue_at("frcore.loss:AUTO").values(), *places.values()]


def opened_places(kind: str, *, in_place: bool) -> list[str]:
    """What opens the images of prepared data of a kind, if they were not copied."""
    if not in_place:
        return []
    kinds = catalogue_at("frcore.data.contents:KINDS")
    tables = (
        catalogue_at(f"frcore.data.prepared.folder:{name}") for name in ("OPENED", "COMPARED")
    )
    return [*(table["in_place"] for table in tables), kinds.get(kind, kinds["files"])]


def _opened(*sections: TrainData | Benchmark | None) -> list[str]:
    return [
        place
        for data in sections
        if data is not None
        for place in opened_places(data.kind, in_place=expansion.stays_in_place(data))
    ]


def preparing(spec: expansion.TrainDataSpec | expansion.BenchmarkSpec) -> list[str]:
    """What prepares one data set: its own reader and no other."""
    writer = catalogue_at("frcore.data.source:SOURCES")[spec.data.kind]
    section = f"{type(spec.data).__module__}:{type(spec.data).__name__}"
    return ["frcore.data.prepare:prepare", section, writer, *_opened(spec.data)]


def training(spec: expansion.RunSpec, kind: str, *, in_place: bool) -> list[str]:
    """What makes one run on prepared data of a kind: no other head, and no reader.

    Args:
        spec: the run.
        kind: of the training set's section.
        in_place: whether its images are read in place.
    """
    given = spec.training
    starts = catalogue_at("frcore.training.train:STARTS")
    return [
        "frcore.training.train:train",
        *([] if spec.backbone.weights is None else [starts["weights"]]),
        *component_places(backbone=spec.backbone, head=spec.head, sampler=spec.sampler),
        *backend_places(given.backend, given.device),
        *opened_places(kind, in_place=in_place),
    ]


def evaluating(spec: expansion.RunSpec, data: Iterable[TrainData | Benchmark]) -> list[str]:
    """What evaluates a run, which reads its training set and benchmarks, `data`."""
    parts = component_places(backbone=spec.backbone)
    return ["frcore.evaluation.evaluate:evaluate", *parts, *_opened(*data)]


def judging(spec: expansion.ModelSpec, data: Benchmark) -> list[str]:
    """What evaluates a model trained elsewhere on one benchmark."""
    # A checkpoint of this harness may have any of its backbones: it is not opened to say so.
    # Nor are the others left out where one is named: weights that do not fit are compared to them.
    any_of = list(BACKBONES.values()) if isinstance(spec.model, CheckpointModel) else []
    if isinstance(spec.model, CheckpointModel) and spec.model.backbone is not None:
        any_of += component_places(backbone=spec.model.backbone)
    judge = "frcore.evaluation.evaluate_model:evaluate_model"
    return [judge, "frcore.study.expansion:ModelSpec", *any_of, *_opened(data)]


def measuring(spec: expansion.MeasurementSpec) -> list[str]:
    """What makes one measurement."""
    given = spec.measurement
    parts = component_places(backbone=given.backbone, head=spec.head, sampler=spec.sampler)
    backend = backend_places(given.backend, given.device)
    return ["frcore.measurement.measure:measure", *parts, *backend]


def page_files() -> list[Path]:
    """Templates, styles, scripts and published numbers that pages are made of."""
    found = (PACKAGE / "reporting").rglob("*.*")
    suffixes = (".css", ".csv", ".html", ".j2", ".js", ".yaml")
    return [path for path in found if path.suffix in suffixes]


REPORTING = ["frcore.reporting.report:report"]
COMPARING = ["frcore.comparison.compare:compare", "frcore.comparison.compare:read"]


def checking(study: Study) -> list[str]:
    """What `frcore.preflight.load.with_checked_components` runs, and all that it looks at."""
    measured = study.measurement.backbone if study.measurement is not None else None
    found = [component_places(backbone=one) for one in (*study.backbones, measured)]
    found += [component_places(head=one) for one in study.heads]
    found += [component_places(sampler=one) for one in study.samplers]
    places = [place for some in found for place in some]
    return ["frcore.preflight.load:with_checked_components", *places]


def run_code(spec: expansion.RunSpec, kind: str, *, in_place: bool) -> str:
    """The fingerprint of `training`: for Snakemake and for the checkpoint's key."""
    return code_fingerprint(training(spec, kind, in_place=in_place))
