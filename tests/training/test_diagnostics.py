"""`diagnostics.json`: groups, conflicts, what cannot be told, and a resume that changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from frcore.classifier import Classifier
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.heads.base import Head
from frcore.study.data import SyntheticFaces
from frcore.study.expansion import TrainDataSpec
from frcore.training import diagnostics
from frcore.training.class_counts import CenterTouches, ClassAngles
from frcore.training.diagnostics import TrainingClasses, diagnose_run, frequency_groups
from frcore.training.metrics import head_state
from frcore.training.train import train
from tests.training.conftest import IMAGE, leave_one_epoch, run_spec

CPU = torch.device("cpu")
EVERYTHING = {"name": "broadface", "size": 40, "over": {"name": "partial_fc", "rate": 0.5}}


def classes_of(true: list[list[str]], *, truth: bool = True) -> TrainingClasses:
    """A training set whose class k has one image per entry of `true[k]`."""
    index = pd.DataFrame(
        [(label, f"label {label}", who) for label, people in enumerate(true) for who in people],
        columns=["label", "identity", "true_identity"],
    )
    return TrainingClasses(index, len(true), truth)


def record_of(center_CD: list[list[float]], classes: TrainingClasses) -> dict[str, Any]:
    classifier = Classifier(len(center_CD), len(center_CD[0]), head="softmax")
    with torch.no_grad():
        classifier.centers.copy_(torch.tensor(center_CD))
    return diagnose_run(classifier, CenterTouches(len(center_CD), CPU), classes).model_dump()


# Ann and Bob have two labels each. Ann's centres point the same way, Bob's are at 90°, and Cid,
# somebody else, stands at cos 0.6 to Ann's: above 0.3, 0.4 and 0.5 and not above 0.6.
CENTERS = [[2.0, 0, 0, 0], [0.1, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 3.0, 0], [0.59, 0, 0, 0.8074]]
PEOPLE = [["Ann", "Ann"], ["Ann", "Dot"], ["Bob"], ["Dot", "Bob", "Bob"], ["Cid"]]


def test_precision_and_recall_of_a_case_made_by_hand():
    conflicts = record_of(CENTERS, classes_of(PEOPLE))["conflicts"]
    assert conflicts["split_pairs"] == 2
    rows = {row["cosine"]: row for row in conflicts["rows"]}
    assert list(rows) == [0.3, 0.4, 0.5, 0.6]
    for cosine in (0.3, 0.4, 0.5):
        assert rows[cosine] == {
            "cosine": cosine, "pairs": 3, "same_person": 1, "precision": 1 / 3, "recall": 0.5
        }  # fmt: skip
    assert rows[0.6] == {
        "cosine": 0.6, "pairs": 1, "same_person": 1, "precision": 1.0, "recall": 0.5
    }  # fmt: skip


def test_what_the_data_do_not_say_is_null():
    unknown = record_of(CENTERS, classes_of(PEOPLE, truth=False))["conflicts"]
    assert unknown["split_pairs"] is None
    assert [row["pairs"] for row in unknown["rows"]] == [3, 3, 3, 1]
    assert {row[k] for row in unknown["rows"] for k in ("same_person", "precision", "recall")} == {
        None
    }
    nobody = record_of(CENTERS, classes_of([[str(k)] for k in range(5)]))["conflicts"]
    assert nobody["split_pairs"] == 0
    assert [row["precision"] for row in nobody["rows"]] == [0.0, 0.0, 0.0, 0.0]
    assert {row["recall"] for row in nobody["rows"]} == {None}


def test_too_many_classes_are_said_not_to_be_searched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diagnostics, "LARGEST_SEARCH", 4)
    record = record_of(CENTERS, classes_of(PEOPLE))
    assert record["centers"] is record["conflicts"] is None
    assert record["groups"][0]["nearest_angle_mean"] is None
    [note] = record["notes"]
    assert "5 classes" in note
    assert "limit of 4" in note
    monkeypatch.setattr(diagnostics, "LARGEST_EPOCH_SEARCH", 4)
    assert diagnostics.center_angles(Classifier(5, 2, head="softmax")) is None


def test_groups_hold_a_third_each_and_keep_ties_together():
    images = np.array([50, 20, 10, 5, 5, 3, 2, 1, 1])
    groups = frequency_groups(images)
    assert {name: images[mask].tolist() for name, mask in groups.items()} == {
        "head": [50, 20, 10], "middle": [5, 5, 3], "tail": [2, 1, 1]
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for values in ([4], [4, 9], [1, 2, 3], range(40)):
        images = rng.choice(list(values), 60)
        masks = np.array(list(frequency_groups(images).values()))
        assert (masks.sum(0) == 1).all()
        assert masks.any(1).all()
        for value in values:
            assert (masks[:, images == value].all(1) | ~masks[:, images == value].any(1)).all()


def test_group_figures_are_means_over_their_classes():
    classes = classes_of([["a"] * 4, ["b"] * 4, ["c"], ["d"]])
    classifier = Classifier(4, 2, head="softmax")
    with torch.no_grad():
        classifier.centers.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, 0], [-1, -1]]))
    touches = CenterTouches(4, CPU)
    touches.add(torch.tensor([0, 0, 1, 2]), None, None)
    touches.add(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 3]), None)
    head, tail = diagnose_run(classifier, touches, classes).model_dump()["groups"]
    assert (head["group"], head["classes"], head["images"]) == ("head", 2, 4.0)
    assert (head["positive"], head["passive"], head["passive_per_positive"]) == (3.5, 0.0, 0.0)
    assert head["nearest_angle_mean"] == pytest.approx(90)
    # Class 2 has one row and no passive step; class 3 no row and two passive steps.
    assert (tail["group"], tail["images_low"], tail["images_high"]) == ("tail", 1, 1)
    assert (tail["positive"], tail["passive"], tail["passive_per_positive"]) == (0.5, 1.0, 2.0)
    assert tail["nearest_angle_min"] == pytest.approx(45)


@pytest.fixture(scope="module")
def split_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 people, a quarter of them split over two labels, and some images mislabelled."""
    out = tmp_path_factory.mktemp("split") / "train"
    faces = SyntheticFaces(
        kind="synthetic", identities=24, images=24, difficulty=0.1, conflicts=0.25,
        label_flips=0.02, long_tail=0.3,
    )  # fmt: skip
    prepare(TrainDataSpec(image=IMAGE, data=faces), out)
    return out


@pytest.mark.slow
def test_a_run_on_split_people_finds_them(split_data: Path, tmp_path: Path):
    # Gently: given time, the softmax tells even two labels of one person apart.
    train(run_spec(learning_rate=0.02), split_data, tmp_path)
    record = json.loads((tmp_path / "diagnostics.json").read_text())
    assert record["classes"] == 30
    # The truth, counted without the code under test: who has a second label, by its name.
    names = Prepared.open(split_data).index["identity"].unique()
    assert record["conflicts"]["split_pairs"] == sum(n.endswith("+conflict") for n in names) == 6
    loose, *_, strict = record["conflicts"]["rows"]
    assert loose["pairs"] > strict["pairs"]
    # Two labels of one person share what is to be learnt, so their centres stay close.
    by_chance = 6 / (30 * 29 / 2)
    assert loose["precision"] > 3 * by_chance
    assert strict["precision"] > loose["precision"]
    assert loose["recall"] >= 0.6
    rows = {row["group"]: row for row in record["groups"]}
    assert rows["tail"]["images"] < rows["middle"]["images"] < rows["head"]["images"]
    assert rows["tail"]["passive_per_positive"] > rows["head"]["passive_per_positive"]
    assert record["centers"]["nearest_angle_min"] <= record["centers"]["nearest_angle_p5"]


@pytest.mark.slow
def test_angles_inside_classes_are_those_of_the_last_epoch(tiny_data: Path, tmp_path: Path):
    # Every batch is logged and every class has as many rows, so the epoch's own mean is the same.
    train(run_spec(), tiny_data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, *_, last = (line["target_angle"] for line in lines if line["event"] == "epoch")
    [group] = json.loads((tmp_path / "diagnostics.json").read_text())["groups"]
    assert group["target_angle_mean"] == pytest.approx(last, rel=1e-5)
    assert group["target_angle_mean"] != pytest.approx(first, rel=1e-3)
    assert group["target_angle_p5"] < group["target_angle_mean"] < group["target_angle_p95"]


def test_class_angles_are_means_over_rows():
    angles = ClassAngles(4, CPU)
    angles.add(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0, 1, 1]))
    angles.add(torch.tensor([-1.0000001, 0.5]), torch.tensor([3, 1]))
    mean = angles.mean().tolist()
    assert mean[0] == 0
    assert mean[1] == pytest.approx((60 + 90 + 60) / 3)
    assert np.isnan(mean[2])
    assert mean[3] == pytest.approx(180)
    # Of a group, a class without rows counts for nothing.
    record = diagnose_run(
        Classifier(4, 2, head="softmax"), CenterTouches(4, CPU), classes_of([["a"]] * 4),
        angles.mean(),
    )  # fmt: skip
    [group] = record.groups or []
    assert group.target_angle_mean == pytest.approx((0 + 70 + 180) / 3)


@pytest.mark.slow
@pytest.mark.parametrize("update", ["sparse", "lazy"])
def test_a_resumed_run_gives_the_same_file(
    update: str, split_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sampler = {**EVERYTHING, "over": {**EVERYTHING["over"], "update": update}}  # type: ignore[dict-item]
    spec = run_spec("adacos", sampler)
    train(spec, split_data, tmp_path / "whole")
    leave_one_epoch(spec, split_data, tmp_path / "cut", monkeypatch)
    assert not (tmp_path / "cut" / "diagnostics.json").exists()
    train(spec, split_data, tmp_path / "cut")
    whole, cut = ((tmp_path / name / "diagnostics.json").read_bytes() for name in ("whole", "cut"))
    assert whole == cut
    assert json.loads(whole)["groups"][0]["queue"] > 0


class Curious(Head):
    """A head with a state to show."""

    def __init__(self, num_classes: int, *, start: float = 1.0) -> None:
        super().__init__(num_classes)
        self.register_buffer("level", torch.tensor(start))
        self.level: torch.Tensor

    def update(self, batch: Any) -> None:
        self.level.mul_(0.5)

    def diagnostics(self) -> dict[str, torch.Tensor]:
        return {"level": self.level, "broken": torch.tensor(float("nan"))}


@pytest.mark.slow
def test_a_heads_state_is_logged_with_each_step(tiny_data: Path, tmp_path: Path):
    head = {"name": "tests.training.test_diagnostics:Curious", "label": "curious"}
    train(run_spec(head, epochs=1, schedule={"kind": "poly"}), tiny_data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["head"] for line in steps] == [
        {"level": 0.5 ** line["step"], "broken": None} for line in steps
    ]
    assert lines[-1]["centers"]["nearest_angle_mean"] > 0


def test_a_state_that_is_no_scalar_is_refused():
    class Wide(Head):
        def diagnostics(self) -> dict[str, torch.Tensor]:
            return {"wide": torch.zeros(3)}

    with pytest.raises(UserError, match=r"Wide gives 'wide' of shape \(3,\); allowed are scalars"):
        head_state(Wide(4))
    assert head_state(Head(4)) == {}
