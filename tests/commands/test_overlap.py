"""`frcore overlap` from a folder, a CFP of the same people, and a linear model as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

from frcore.cli import app
from frcore.errors import UserError
from tests.models import making
from tests.models.making import onnx_section, tiny_onnx, weights
from tests.tiny_study import write_study

SHARED = {3: 11, 7: 40}
"""Number in CFP -> number in the folder."""


def face(who: int) -> np.ndarray:
    return np.random.default_rng(who).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def save(path: Path, who: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(face(who)).save(path, quality=95)


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for who in range(70):
        save(tmp_path / f"faces/Person_{who:02d}/1.png", who)
    for side, view in (("F", "frontal"), ("P", "profile")):
        lines = []
        for number in range(1, 9):
            who = SHARED.get(number, 1000 + number)
            save(tmp_path / f"cfp/Images/{number:03d}/{view}/01.jpg", who)
            lines.append(f"{number} ../Data/Images/{number:03d}/{view}/01.jpg\n")
        (tmp_path / "cfp" / "Protocol").mkdir(exist_ok=True)
        (tmp_path / f"cfp/Protocol/Pair_list_{side}.txt").write_text("".join(lines))
    # In few dimensions strangers are close.
    monkeypatch.setattr(making, "DIM", 64)
    monkeypatch.setattr(making, "weights", lambda size: weights(size, 64))
    tiny_onnx(tmp_path / "m.onnx")
    model = onnx_section(tmp_path / "m.onnx").model_dump(mode="json", exclude_none=True)
    searched = {"kind": "cfp_templates", "images": "cfp/Images", "pairs": "cfp/Protocol",
                "names": "${names}"}  # fmt: skip
    return write_study(
        tmp_path,
        inputs={"names": ""},
        image={"size": 16, "alignment": "none"},
        train={"kind": "folder", "root": "faces"},
        benchmarks={"cfp": searched},
        models=[model],
    )


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return " ".join(done.stdout.split())


@pytest.mark.slow
def test_people_in_both_sets_are_listed_and_named(study, tmp_path):
    run("prepare", "--study", study)
    run("prepare", "--study", study, "--benchmark", "cfp")
    shown = run("overlap", "--study", study, "--names", "names.txt")
    assert "cfp: 2 of 8 people may be among the 70 of the training set, 0 of them" in shown
    found = pd.read_csv(tmp_path / "results/tiny/overlap/cfp.csv")
    listed = dict(zip(found["other"], found["person"], strict=True))
    assert listed == {"cfp/003": "Person_11", "cfp/007": "Person_40"}
    lines = (tmp_path / "names.txt").read_text().splitlines()
    assert lines == ["person_001", "person_002", "Person_11", "person_004", "person_005",
                     "person_006", "Person_40", "person_008"]  # fmt: skip
    # The list makes the shared people known by name.
    run("prepare", "--study", study, "--benchmark", "cfp", "--config", "names=names.txt")
    named = pd.read_parquet(tmp_path / "results/tiny/data/cfp/index.parquet")
    assert {"Person_11", "Person_40"} <= set(named["identity"])
    (tmp_path / "names.txt").write_text("Somebody\n")
    with pytest.raises(UserError, match=r"names\.txt exists and is not a list of names"):
        run("overlap", "--study", study, "--names", "names.txt")
