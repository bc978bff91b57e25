"""Every function of frcore that a stage runs is in its fingerprint: found by running the stages."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch

from frcore.components.catalogue import at_place
from frcore.data import loader
from frcore.data.contents import KINDS
from frcore.data.prepare import prepare
from frcore.data.source import SOURCES, Source
from frcore.evaluation.evaluate import evaluate
from frcore.evaluation.evaluate_model import evaluate_model
from frcore.files import sha256_of_file
from frcore.measurement.child import run_in_child
from frcore.measurement.measure import in_child, measure
from frcore.provenance import stages as component_code
from frcore.provenance.fingerprint import APART, Code
from frcore.reporting.report import report
from frcore.study import expansion
from frcore.study.data import SyntheticPairs
from frcore.study.expansion import BenchmarkSpec, MeasurementSpec, ModelSpec, TrainDataSpec
from frcore.training.loop import build_models
from frcore.training.train import train
from tests.evaluation.test_evaluate import IMAGE, evaluation_spec, packed_without_names, synthetic
from tests.models.making import onnx_section, tiny_onnx
from tests.reporting.tree import Tree, make_study
from tests.training.conftest import run_spec, tiny_data
from tests.training.test_sources import (
    SPEC,
    as_folder,
    as_list,
    as_parquet,
    as_tar,
    people,
)
from tests.training.test_train import EVERYTHING

pytestmark = pytest.mark.slow
__all__ = ["people", "synthetic", "tiny_data"]

Definition = tuple[str, str]


def is_ours(frame: FrameType) -> bool:
    """Whether a frame is of a source file of frcore; what dataclasses write is of none."""
    module = str(frame.f_globals.get("__name__"))
    return module.startswith("frcore.") and frame.f_code.co_filename.endswith(".py")


def run_by(call: Callable[[], Any]) -> tuple[set[Definition], Any]:
    """The definitions of frcore that `call` runs, and what it gives."""
    seen: set[Definition] = set()
    known: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event != "call" or frame.f_code in known:
            return
        name = frame.f_code.co_qualname.partition(".")[0]
        if is_ours(frame) and name != "<module>":
            # What the import of a module computes is a constant's value, or of nothing used.
            above: FrameType | None = frame
            while above is not None:
                if above.f_code.co_name == "<module>" and is_ours(above):
                    return
                above = above.f_back
            if name != "<lambda>":
                seen.add((frame.f_globals["__name__"], name))
        known.add(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        value = call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return seen, value


def assert_covered(seen: set[Definition], places: list[str]) -> None:
    """What was run is what is reached, but for what is set apart with its reason."""
    code = Code()
    assert len(seen) > 10
    assert sorted(seen - code.reached(places) - code.reached(APART)) == []


STORED = [None, as_folder, as_list, as_parquet, as_tar]


@pytest.mark.parametrize("stored", STORED)
def test_preparing_and_training(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Any
):
    data = stored(people, tmp_path) if stored else {"kind": "folder", "root": str(people)}
    spec = TrainDataSpec.model_validate({"image": SPEC.image.model_dump(), "data": data})
    seen, _ = run_by(lambda: prepare(spec, tmp_path / "data", workers=1))
    assert_covered(seen, component_code.preparing(spec))

    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    seen, _ = run_by(lambda: train(SPEC, tmp_path / "data", tmp_path / "run"))
    in_place = expansion.stays_in_place(spec.data)
    assert_covered(seen, component_code.training(SPEC, spec.data.kind, in_place=in_place))


COMPONENTS = [
    ("softmax", "full", "dense"),
    ("adacos", {"name": "partial_fc", "rate": 0.5}, "streamed"),
    ("curricularface", EVERYTHING, "auto"),
    ("sphereface2", {"name": "interclass_filter"}, "auto"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "sampler", "backend"), COMPONENTS)
def test_training_with_other_components(tiny_data: Path, tmp_path: Path, head, sampler, backend):
    spec = run_spec(head, sampler, backend=backend, epochs=1)
    seen, _ = run_by(lambda: train(spec, tiny_data, tmp_path))
    assert_covered(seen, component_code.training(spec, "synthetic", in_place=False))
    assert not any(module.startswith("frcore.loss.triton") for module, _ in seen)


def test_training_from_weights(tiny_data: Path, tmp_path: Path):
    file, plain = tmp_path / "w.pt", run_spec(epochs=1)
    torch.save(build_models(plain, 12)[0].state_dict(), file)
    start = {"weights": str(file), "sha256": sha256_of_file(file), "freeze": ("trunk",)}
    backbone = plain.backbone.model_copy(update=start)
    spec = plain.model_copy(update={"backbone": backbone})
    seen, _ = run_by(lambda: train(spec, tiny_data, tmp_path / "run"))
    assert_covered(seen, component_code.training(spec, "synthetic", in_place=False))
    # A training from scratch does not depend on how weights are read.
    without = component_code.training(plain, "synthetic", in_place=False)
    assert not any(module == "frcore.models.weights" for module, _ in Code().reached(without))


@pytest.mark.parametrize("judged_on", ["pairs", "templates", "packed"])
def test_evaluating(synthetic: Path, tmp_path: Path, judged_on: str):
    if judged_on == "packed":
        data = packed_without_names(synthetic / "pairs", tmp_path)
        spec = BenchmarkSpec(name="packed", image=IMAGE, data=data)
        seen, _ = run_by(lambda: prepare(spec, tmp_path / "packed", workers=1))
        assert_covered(seen, component_code.preparing(spec))
        folder = tmp_path / "packed"
    else:
        folder = synthetic / judged_on
        data = SyntheticPairs(kind="synthetic_pairs", identities=20, images=3, pairs=40)
    given = evaluation_spec(insightface=True)
    call = partial(evaluate, given, synthetic / "run", folder, synthetic / "train")
    seen, _ = run_by(lambda: call(tmp_path / "out.json"))
    assert_covered(seen, component_code.evaluating(run_spec(epochs=1), [data]))

    # The run's own file as a model from elsewhere: its backbone is found by its name.
    section = {"label": "m", "kind": "checkpoint", "file": str(synthetic / "run/model.pt")}
    model = ModelSpec.model_validate({"model": section})
    seen, _ = run_by(lambda: evaluate_model(given, model, folder, tmp_path / "model.json"))
    assert_covered(seen, component_code.judging(model, data))


def test_judging_an_onnx_model(synthetic: Path, tmp_path: Path):
    tiny_onnx(tmp_path / "m.onnx", size=IMAGE.size, batch=1)
    model = ModelSpec(model=onnx_section(tmp_path / "m.onnx"))
    given, data = (
        evaluation_spec(),
        SyntheticPairs(kind="synthetic_pairs", identities=20, images=3, pairs=40),
    )
    call = partial(evaluate_model, given, model, synthetic / "pairs")
    seen, _ = run_by(lambda: call(tmp_path / "out.json"))
    assert_covered(seen, component_code.judging(model, data))


def in_traced_child(spec_json: str, identities: int) -> list[Definition]:
    """What measuring one row runs, in the process that is measured."""
    return sorted(run_by(lambda: in_child(spec_json, identities))[0])


def test_measuring(tmp_path: Path):
    measurement = {"identities": [40], "batch_size": 8, "dim": 16, "warmup": 1, "steps": 5,
                   "attempts": 1, "backbone": {"name": "tiny", "dim": 16, "width": 4}}  # fmt: skip
    spec = MeasurementSpec.model_validate(
        {"head": "arcface", "sampler": "full", "measurement": measurement,
         "image": {"size": 16, "alignment": "none"}}
    )  # fmt: skip
    places = component_code.measuring(spec)
    assert_covered(run_by(lambda: measure(spec, tmp_path / "row.json"))[0], places)
    outcome = run_in_child(in_traced_child, spec.model_dump_json(), 40, method="spawn")
    assert outcome.error is None
    assert_covered({(module, name) for module, name in outcome.value}, places)


def test_reporting(tmp_path: Path):
    study = make_study()
    Tree(study, tmp_path).everything()
    seen, _ = run_by(lambda: report(study, tmp_path))
    assert_covered(seen, component_code.REPORTING)


def test_every_kind_of_data_has_a_reader_that_exists():
    assert all(issubclass(at_place(place), Source) for place in SOURCES.values())
    assert all(at_place(place).kind == kind for kind, place in KINDS.items())
