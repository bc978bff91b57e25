"""Rendered loose crops, and a benchmark of them from the folder to the result."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from frcore.data.ijb.protocol import simulate
from frcore.data.ijb.simulate import write_synthetic
from frcore.data.ijb.simulated_images import SPLIT, loose_crop
from frcore.data.loader import to_network
from frcore.data.pixels.align import align_face, similarities
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.data.synthetic.rendering import Shots
from frcore.evaluation.evaluate import evaluate
from frcore.models.own import load_backbone
from frcore.study.data import IJB, Image, SyntheticFaces
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec
from frcore.training.train import train
from tests.data.pixels.test_align import umeyama
from tests.evaluation.test_evaluate import evaluation_spec, unit
from tests.training.conftest import run_spec

SCALE = 5e-4
IMAGE = Image(size=24, alignment="arcface-112")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ijb") / "IJBC"
    write_synthetic(root, scale=SCALE, source="faces", workers=1)
    return root


def shots(difficulty, count=12):
    number = np.arange(count)
    return Shots(0, SPLIT, difficulty, number, number, number, np.zeros(count, bool))


@pytest.mark.slow
def test_aligning_a_loose_crop_gives_the_aligned_picture():
    """The two are drawn apart: all they share is where the landmarks should come to lie."""
    plain = shots(0.0)
    for at in range(len(plain)):
        image, points, _ = loose_crop(plain, at)
        face = align_face(image, points)
        direct = plain.render(at, 112)
        inside = (slice(40, 100), slice(34, 78))
        differences = {
            shift: np.abs(np.roll(face, shift, (0, 1))[inside].astype(int) - direct[inside]).mean()
            for shift in itertools.product(range(-3, 4), repeat=2)
        }
        assert min(differences, key=differences.get) == (0, 0)
        assert differences[0, 0] < 8


def test_crops_need_alignment():
    crops = [loose_crop(shots(1.0), at) for at in range(12)]
    matrices = np.stack([similarities(points[None])[0] for _, points, _ in crops])
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    angle = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert scale.max() / scale.min() > 1.3
    assert np.abs(angle).max() > 5
    assert any(image.shape[0] != image.shape[1] for image, _, _ in crops)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(tmp_path, root):
    write_synthetic(tmp_path / "again", scale=SCALE, source="faces", workers=2)
    for path in sorted(root.rglob("*.*")):
        assert (tmp_path / "again" / path.relative_to(root)).read_bytes() == path.read_bytes()


def embedded_as_peers_do(root: Path, backbone) -> np.ndarray:
    """Embedding + mirror embedding of each crop: lists by pandas, alignment by Umeyama's SVD."""
    from frcore.data.pixels.align import template

    lines = (root / "meta/ijbc_name_5pts_score.txt").read_text().splitlines()
    images = []
    for line in lines:
        name, *numbers = line.split(" ")
        points = np.array(numbers[:-1], np.float32).reshape(5, 2).astype(np.float64)
        picture = cv2.imread(str(root / "loose_crop" / name))
        face = cv2.warpAffine(picture, umeyama(points, template(24)), (24, 24), borderValue=0.0)
        images.append(cv2.cvtColor(face, cv2.COLOR_BGR2RGB))
    stack = np.stack(images)
    with torch.no_grad():
        both = backbone(to_network(stack)).double()
        both += backbone(to_network(np.ascontiguousarray(stack[:, :, ::-1]))).double()
    return both.numpy()


@pytest.mark.slow
def test_from_the_folder_to_the_result(tmp_path, root):
    faces = SyntheticFaces(kind="synthetic", identities=8, images=4, difficulty=0.3)
    prepare(TrainDataSpec(image=IMAGE, data=faces), tmp_path / "train", workers=1)
    benchmark = IJB(kind="ijb", root=str(root), name="ijbc", fars=(0.1, 1e-3))
    prepare(BenchmarkSpec(name="ijbc", image=IMAGE, data=benchmark), tmp_path / "ijbc")
    train(run_spec(epochs=1), tmp_path / "train", tmp_path / "run")
    result = evaluate(evaluation_spec(flip="sum"), tmp_path / "run", tmp_path / "ijbc",
                      tmp_path / "train", tmp_path / "ijbc.json")  # fmt: skip
    stored = np.load(tmp_path / "ijbc.npz")

    embeddings = embedded_as_peers_do(root, load_backbone(tmp_path / "run"))
    images = pd.read_csv(root / "meta/ijbc_face_tid_mid.txt", sep=" ", header=None)
    pooled = {}
    for template, rows in images.groupby(1):
        media = [embeddings[part.index].mean(axis=0) for _, part in rows.groupby(2)]
        pooled[template] = unit(np.sum(media, axis=0))
    pairs = pd.read_csv(root / "meta/ijbc_template_pair_label.txt", sep=" ", header=None)
    scores = [pooled[a] @ pooled[b] for a, b in pairs[[0, 1]].to_numpy()]
    np.testing.assert_allclose(stored["scores"], scores, atol=1e-5)
    np.testing.assert_array_equal(stored["same"], pairs[2] == 1)

    by_far = {row["far"]: row for row in result["rows"] if row["metric"] == "tar"}
    genuine, impostor = stored["scores"][stored["same"]], stored["scores"][~stored["same"]]
    threshold = np.float32(by_far[0.1]["threshold"])
    assert by_far[0.1]["value"] == (genuine >= threshold).mean()
    assert (impostor >= threshold).mean() <= 0.1
    assert by_far[1e-3]["value"] is None
    # As many people as subjects: the interval is over them.
    data = Prepared.open(tmp_path / "ijbc")
    assert data.manifest.identities == simulate("ijbc", SCALE, 0).sizes.subjects
    assert result["data"]["people"] == data.manifest.identities
