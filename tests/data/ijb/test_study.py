"""From the command that writes a folder to the numbers of the study that judges it."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from tests.evaluation.test_evaluate import unit


@pytest.fixture
def results(tmp_path, monkeypatch, repository):
    """Evaluation and scores of config/ijbc.yaml on a folder of 1/100 of IJB-C."""
    monkeypatch.chdir(tmp_path)
    study = ["--study", str(repository / "config/ijbc.yaml"), "--config", "ijbc=folder"]
    for command in (
        ["simulate-ijb", "folder", "--scale", "0.01", "--dim", "32"],
        ["prepare", *study, "--benchmark", "ijbc"],
        ["evaluate", *study, "--model", "stored", "--config", "evaluation={bootstrap: 100}"],
    ):
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    (found,) = (tmp_path / "results/ijbc/evaluation").glob("*/ijbc.json")
    return json.loads(found.read_text()), np.load(found.with_suffix(".npz")), tmp_path / "folder"


@pytest.mark.slow
def test_scores_are_those_made_by_hand(results):
    """As InsightFace's scripts do it, but for the detector's scores: a loop over templates."""
    evaluation, stored, folder = results
    embeddings = np.load(folder / "embeddings.npy").astype(np.float64)
    images = pd.read_csv(folder / "meta/ijbc_face_tid_mid.txt", sep=" ", header=None)
    pooled = {}
    for template, rows in images.groupby(1):
        media = [embeddings[part.index].mean(axis=0) for _, part in rows.groupby(2)]
        pooled[template] = unit(np.sum(media, axis=0))
    pairs = pd.read_csv(folder / "meta/ijbc_template_pair_label.txt", sep=" ", header=None)
    scores = np.array([pooled[a] @ pooled[b] for a, b in pairs[[0, 1]].to_numpy()])
    np.testing.assert_allclose(stored["scores"], scores, atol=2e-6)
    same = (pairs[2] == 1).to_numpy()
    np.testing.assert_array_equal(stored["same"], same)

    subject = pd.concat(
        [pd.read_csv(path) for path in sorted((folder / "meta").glob("*1N*.csv"))]
    ).drop_duplicates("TEMPLATE_ID").set_index("TEMPLATE_ID")["SUBJECT_ID"]  # fmt: skip
    for side, column in ((0, "identity_a"), (1, "identity_b")):
        groups = pd.crosstab(stored[column], subject[pairs[side]].to_numpy()) > 0
        assert (groups.sum(axis=0) == 1).all()
        assert (groups.sum(axis=1) == 1).all()

    tar = {row["far"]: row for row in evaluation["rows"] if row["metric"] == "tar"}
    impostor = np.sort(stored["scores"][~same])[::-1]
    allowed = int(1e-2 * impostor.size)
    expected = (stored["scores"][same] > impostor[allowed]).mean()
    assert tar[1e-2]["value"] == pytest.approx(expected)
    assert tar[1e-6]["value"] is None
    assert "cannot be resolved" in tar[1e-6]["note"]
    assert tar[1e-2]["low"] <= tar[1e-2]["value"] <= tar[1e-2]["high"]
