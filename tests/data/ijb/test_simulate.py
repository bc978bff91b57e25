import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frcore.data.ijb.layout import PUBLISHED
from frcore.data.ijb.lists import read_lists
from frcore.data.ijb.people import people_of
from frcore.data.ijb.protocol import simulate, sizes
from frcore.data.ijb.simulate import write_synthetic
from frcore.errors import UserError
from frcore.evaluation.templates import pool_templates, score_pairs


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ijb") / "out"
    write_synthetic(root, scale=0.02, dim=64)
    return root


def digests(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*")) if path.is_file()}  # fmt: skip


@pytest.mark.parametrize("name", ["ijbb", "ijbc"])
def test_full_scale_has_the_released_counts(name):
    known, full = PUBLISHED[name], sizes(name, 1.0)
    assert full.images == known.images
    assert full.subjects + full.probes == known.templates
    assert full.genuine == known.genuine
    assert full.genuine + full.impostor == known.pairs


@pytest.mark.parametrize(("name", "scale"), [("ijbc", 0.02), ("ijbb", 0.03), ("ijbc", 1e-4)])
def test_the_protocol_is_of_ijbs_shape(name, scale):
    wanted, protocol = sizes(name, scale), simulate(name, scale, seed=4)
    subject, gallery = protocol.subject, wanted.subjects
    assert np.bincount(protocol.template, minlength=len(subject)).min() >= 1
    assert len(protocol.template) == wanted.images
    assert subject[:gallery].tolist() == list(range(gallery))
    assert set(subject[gallery:]) == set(range(gallery))
    assert (protocol.a < gallery).all()
    assert (protocol.b >= gallery).all()
    np.testing.assert_array_equal(protocol.same, subject[protocol.a] == subject[protocol.b])
    assert protocol.same.sum() == wanted.genuine
    assert (~protocol.same).sum() == wanted.impostor
    assert len(set(zip(protocol.a.tolist(), protocol.b.tolist(), strict=True))) == len(protocol.a)
    assert (np.diff(protocol.ids) > 0).all()
    # A medium is of one template, and its images stand together.
    media = pd.DataFrame({"template": protocol.template, "medium": protocol.medium,
                          "row": np.arange(len(protocol.medium))})  # fmt: skip
    groups = media.groupby("medium")
    assert (groups["template"].nunique() == 1).all()
    assert (groups["row"].max() - groups["row"].min() + 1 == groups.size()).all()
    frames = groups.size().loc[protocol.medium].to_numpy() > 1
    np.testing.assert_array_equal(frames, protocol.video)


@pytest.mark.parametrize("scale", [0, -1, 1.1, float("nan")])
def test_an_impossible_scale(tmp_path, scale):
    with pytest.raises(UserError, match="more than 0 and at most 1"):
        write_synthetic(tmp_path / "out", scale=scale)


def test_other_impossible_wishes(tmp_path):
    for wish in ({"name": "ijba"}, {"source": "gan"}, {"dtype": "int8"}, {"dim": 4},
                 {"source": "faces", "scale": 0.2}):  # fmt: skip
        with pytest.raises(UserError):
            write_synthetic(tmp_path / "out", **wish)
    assert list(tmp_path.iterdir()) == []


def test_the_reader_finds_what_was_drawn(written):
    protocol, lists = simulate("ijbc", 0.02, 0), read_lists(written, "ijbc")
    np.testing.assert_array_equal(lists.template, protocol.ids[protocol.template])
    np.testing.assert_array_equal(lists.medium, protocol.medium)
    np.testing.assert_array_equal(lists.a, protocol.ids[protocol.a])
    np.testing.assert_array_equal(lists.b, protocol.ids[protocol.b])
    np.testing.assert_array_equal(lists.same, protocol.same)
    people = people_of(lists, "ijbc")
    _, found = np.unique(people.identity.astype(str), return_inverse=True)
    pairs = pd.crosstab(found, protocol.subject)
    assert ((pairs > 0).sum(axis=0) == 1).all()
    assert ((pairs > 0).sum(axis=1) == 1).all()
    assert people.warnings == []


def test_the_peers_reader_finds_the_same(written):
    """As `ijb_evals.py` reads: pandas and split lines, columns by position."""
    lists, meta = read_lists(written, "ijbc"), written / "meta"
    table = pd.read_csv(meta / "ijbc_face_tid_mid.txt", sep=" ", header=None).to_numpy()
    np.testing.assert_array_equal(table[:, 1].astype(int), lists.template)
    np.testing.assert_array_equal(table[:, 2].astype(int), lists.medium)
    table = pd.read_csv(meta / "ijbc_template_pair_label.txt", sep=" ", header=None).to_numpy()
    np.testing.assert_array_equal(table, np.stack([lists.a, lists.b, lists.same], axis=1))
    lines = (meta / "ijbc_name_5pts_score.txt").read_text().splitlines()
    records = np.array([line.strip().split(" ") for line in lines])
    assert records[:, 0].tolist() == lists.names.to_pylist()
    landmarks = records[:, 1:-1].astype("float32").reshape(-1, 5, 2)
    np.testing.assert_array_equal(landmarks, lists.landmarks)
    np.testing.assert_array_equal(records[:, -1].astype("float32"), lists.score)
    first, second, probes = (
        pd.read_csv(meta / f"ijbc_1N_{part}.csv", sep=",", skiprows=1, header=None).to_numpy()
        for part in ("gallery_G1", "gallery_G2", "probe_mixed")
    )
    for number, rows in ((1, first), (2, second), (0, probes)):
        ours = lists.enrolled[lists.enrolled["list"] == number]
        theirs = dict(rows[:, :2].astype(int).tolist())
        assert dict(zip(ours["template"], ours["subject"], strict=True)) == theirs


def test_embeddings_tell_people_apart_as_real_ones_do(written):
    protocol, embeddings = simulate("ijbc", 0.02, 0), np.load(written / "embeddings.npy")
    assert embeddings.shape == (len(protocol.template), 64)
    assert embeddings.dtype == np.float16
    pooled = pool_templates(embeddings.astype(np.float32), protocol.template, protocol.medium)
    scores = score_pairs(pooled, protocol.a, protocol.b)
    genuine, impostor = scores[protocol.same], scores[~protocol.same]
    assert 0.5 < genuine.mean() < 0.9
    assert abs(impostor.mean()) < 0.1
    # Neither hopeless nor perfect: some genuine pairs score below many impostors.
    tar = (genuine > np.quantile(impostor, 0.999)).mean()
    assert 0.7 < tar < 0.99
    # Frames of one medium are more alike than media of one template.
    unit = embeddings / np.linalg.norm(embeddings.astype(np.float64), axis=1)[:, None]
    near = np.einsum("nd,nd->n", unit[1:], unit[:-1])
    same_template = protocol.template[1:] == protocol.template[:-1]
    same_medium = protocol.medium[1:] == protocol.medium[:-1]
    assert near[same_medium].mean() > near[same_template & ~same_medium].mean() + 0.05


def test_equal_seeds_give_equal_files(tmp_path, written):
    write_synthetic(tmp_path / "again", scale=0.02, dim=64)
    assert digests(tmp_path / "again") == digests(written)
    write_synthetic(tmp_path / "other", scale=0.02, dim=64, seed=1)
    mine, others = digests(tmp_path / "other"), digests(written)
    assert not {file for file in mine if mine[file] == others[file]}
    assert json.loads((written / "synthetic.json").read_text())["images"] == 9388


def test_the_command(tmp_path, monkeypatch, capsys):
    from frcore.cli import main

    out = tmp_path / "out"
    options = [str(out), "--scale", "0.001", "--name", "ijbb", "--dtype", "float32", "--dim", "8"]
    monkeypatch.setattr("sys.argv", ["frcore", "simulate-ijb", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "228 images" in capsys.readouterr().out
    assert np.load(out / "embeddings.npy").dtype == np.float32
    assert read_lists(out, "ijbb").enrolled["list"].nunique() == 3
