"""What somebody has at the place of an output is kept: each command replaces its own alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image as Pillow

from frcore.data.pixels.align import TEMPLATE_112
from frcore.reporting.docs.reference import KEPT
from tests.data.making import pixels
from tests.test_cli import run_main
from tests.tiny_study import write_study

Made = tuple[list[object], str]
"""A command, and what its message says."""


def own(path: Path, text: str = "years of work") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*") if path.is_file()}  # fmt: skip


def pictures(root: Path) -> list[object]:
    """Pictures and their landmarks; gives the options that align them."""
    own(root / "list.txt", "".join(
        f"Ada/{name}.png {' '.join(f'{v:.2f}' for v in TEMPLATE_112.ravel())}\n" for name in "ab"
    ))  # fmt: skip
    for name in "ab":
        (root / "src" / "Ada").mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels(3, side=112)).save(root / "src" / "Ada" / f"{name}.png")
    return ["prepare", "--align", root / "src", "--landmarks", root / "list.txt", "--size", 32]


def finished(root: Path) -> Path:
    """What `frcore reference` reads of a finished study."""
    for name in (*KEPT, "complete"):
        own(root / name, "text\n")
    rows = {"commit": ["abc"], "seconds": [7.0], "cpu": "A CPU", "version_torch": "2"}
    pd.DataFrame(rows).to_csv(root / "rows" / "training.csv", index=False)
    return root


def to_photos(root: Path) -> Made:
    own(root / "photos" / "thesis.txt")
    return ["prepare", "--study", write_study(root), "--out", root / "photos"], "thesis.txt, which"


def to_a_file(root: Path) -> Made:
    file = own(root / "thesis.txt")
    return ["prepare", "--study", write_study(root), "--out", file], "is not a folder"


def into_its_source(root: Path) -> Made:
    pictures(root)
    study = write_study(root, train={"kind": "folder", "root": str(root / "src")})
    return ["prepare", "--study", study, "--out", root / "src" / "out"], "give a separate folder"


def aligned_onto_itself(root: Path) -> Made:
    return [*pictures(root), "--out", root / "src"], "are one folder"


def aligned_through_a_link(root: Path) -> Made:
    options = pictures(root)
    (root / "link").symlink_to(root / "src")
    return [*options, "--out", root / "link" / "faces"], "one is in the other"


def aligned_over_other_pictures(root: Path) -> Made:
    own(root / "faces" / "Ada" / "a.jpg")
    return [*pictures(root), "--out", root / "faces"], "contains Ada"


def simulated_over_photos(root: Path) -> Made:
    own(root / "ijb" / "loose_crop" / "1.jpg")
    return ["simulate-ijb", root / "ijb", "--scale", 0.002], "loose_crop, which would be deleted"


def trained_over_another_model(root: Path) -> Made:
    own(root / "run" / "model.pt")
    return ["train", "--study", write_study(root), "--run", "tiny-adacos-full-s0",
            "--data", root / "data", "--out", root / "run"], "has model.pt, but"  # fmt: skip


def trained_over_a_folder(root: Path) -> Made:
    own(root / "run" / "unfinished" / "thesis.txt")
    return ["train", "--study", write_study(root), "--run", "tiny-adacos-full-s0",
            "--data", root / "data", "--out", root / "run"], "contains thesis.txt"  # fmt: skip


def trained_into_its_data(root: Path) -> Made:
    own(root / "data" / "index.parquet")
    return ["train", "--study", write_study(root), "--run", "tiny-adacos-full-s0",
            "--data", root / "data", "--out", root / "data"], "give a separate folder"  # fmt: skip


def evaluated_over_notes(root: Path) -> Made:
    own(root / "out" / "pairs.json", '{"my": "notes"}')
    return ["evaluate", "--study", write_study(root), "--run", "tiny-adacos-full-s0",
            "--out", root / "out"], "pairs.json exists and is not an evaluation"  # fmt: skip


def evaluated_over_scores(root: Path) -> Made:
    own(root / "out" / "pairs.npz")
    return ["evaluate", "--study", write_study(root), "--run", "tiny-adacos-full-s0",
            "--out", root / "out"], "pairs.npz exists and is not the scores"  # fmt: skip


def measured_over_notes(root: Path) -> Made:
    file = own(root / "notes.json", "[]")
    return ["measure", "--study", write_study(root), "--head", "adacos", "--sampler", "full",
            "--out", file], "is not a measurement"  # fmt: skip


def reported_over_a_page(root: Path) -> Made:
    own(root / "www" / "report.html")
    return ["report", "--study", write_study(root), "--root", root / "www"], "is not a report"


def reported_over_tables(root: Path) -> Made:
    own(root / "paper" / "tables" / "accuracy.csv")
    study = write_study(root)
    return ["report", "--study", study, "--root", root / "paper"], "tables/accuracy.csv"


def kept_over_all_references(root: Path) -> Made:
    for name in ("quick", "lfw"):
        own(root / "reference" / "cpu" / name / "training.csv")
    study = finished(root / "study")
    return ["reference", "--root", study, "--to", root / "reference"], "contains cpu"


def kept_over_more_than_was_kept(root: Path) -> Made:
    for name in ("training.csv", "differences.csv"):
        own(root / "reference" / name)
    study = finished(root / "study")
    return ["reference", "--root", study, "--to", root / "reference"], "contains differences.csv"


def kept_over_the_study(root: Path) -> Made:
    study = finished(root / "study")
    return ["reference", "--root", study, "--to", root], "are one folder, or one is in the other"


def schema_over_notes(root: Path) -> Made:
    return ["schema", "--out", own(root / "notes.json", "{}")], "is not the schema"


def figure_over_another(root: Path) -> Made:
    own(root / "step.svg", "<svg></svg>")
    return ["plan", "--identities", 1e6, "--figure", root / "step.svg"], "is not a figure"


def figure_beside_a_photo(root: Path) -> Made:
    own(root / "step.png")
    return ["plan", "--identities", 1e6, "--figure", root / "step.svg"], "step.png exists"


CASES: list[Callable[[Path], Made]] = [
    to_photos, to_a_file, into_its_source, aligned_onto_itself, aligned_through_a_link,
    aligned_over_other_pictures, simulated_over_photos, trained_over_another_model,
    trained_over_a_folder, trained_into_its_data, evaluated_over_notes, evaluated_over_scores,
    measured_over_notes, reported_over_a_page, reported_over_tables, kept_over_all_references,
    kept_over_more_than_was_kept, kept_over_the_study, schema_over_notes, figure_over_another,
    figure_beside_a_photo,
]  # fmt: skip


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("case", CASES)
def test_what_is_of_others_is_kept(case: Callable[[Path], Made], tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, message = case(tmp_path)
    before = content(tmp_path)
    code, _, told = run_main(monkeypatch, capsys, *command)
    assert code == 2
    assert message in told
    assert content(tmp_path) == before


@pytest.mark.slow
def test_what_a_command_wrote_it_replaces(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study = write_study(tmp_path)
    prepared = ["prepare", "--study", study, "--benchmark", "pairs", "--out", tmp_path / "pairs"]
    kept = ["reference", "--root", finished(tmp_path / "study"), "--to", tmp_path / "reference"]
    for command in (
        prepared,
        [*pictures(tmp_path), "--out", tmp_path / "faces"],
        ["simulate-ijb", tmp_path / "ijb", "--scale", 0.0005, "--dim", 8],
        kept,
        ["schema", "--out", tmp_path / "schema.json"],
        ["plan", "--identities", 1e6, "--figure", tmp_path / "step.svg"],
        ["report", "--study", study, "--root", tmp_path / "report"],
    ):
        for turn in range(2):
            assert (turn, run_main(monkeypatch, capsys, *command)[0]) == (turn, 0)
    # Snakemake deletes a job's output first; and older versions knew no overview.
    (tmp_path / "pairs" / "manifest.json").unlink()
    assert run_main(monkeypatch, capsys, *prepared)[0] == 0
    assert (tmp_path / "pairs" / "manifest.json").exists()
    shutil.copyfile(tmp_path / "reference" / "cost.md", tmp_path / "reference" / "overview.md")
    assert run_main(monkeypatch, capsys, *kept)[0] == 0
    assert not (tmp_path / "reference" / "overview.md").exists()
