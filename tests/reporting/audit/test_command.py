"""`frcore audit`: a table of one's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.errors import UserError
from frcore.reporting.audit.benchmarks import design_effects

TABLE = "method,benchmark,value\nA,LFW,99.83\nB,LFW,99.80\nC,LFW,99.10\n"


def run(folder: Path, text: str, *more: str):
    (folder / "mine.csv").write_text(text, encoding="utf-8")
    return CliRunner().invoke(app, ["audit", str(folder / "mine.csv"), *more])


def test_it_prints_what_the_table_can_tell(tmp_path):
    done = run(tmp_path, TABLE)
    assert done.exit_code == 0
    assert "| LFW | accuracy | 6,000 | 4,281 |" in done.output
    assert "| LFW | accuracy | 3 | 1 | 0 | 2 | 2 |" in done.output
    assert "| A 99.83 | B | 1 | 0 | 2 |" in done.output


@pytest.mark.slow
def test_files_are_whole_and_nobody_elses_is_overwritten(tmp_path):
    for name in ("a.csv", "a.csv", "a.md"):  # its own file may be renewed
        done = run(tmp_path, TABLE, "--out", str(tmp_path / name))
        assert done.exit_code == 0
    found = pd.read_csv(tmp_path / "a.csv")
    assert found["trials_apart"].tolist() == [2, 44, 42]
    assert (tmp_path / "a.md").read_text() == done.output
    for wrong in ("mine.csv", "a.txt"):
        done = run(tmp_path, TABLE, "--out", str(tmp_path / wrong))
        assert isinstance(done.exception, UserError)
    assert (tmp_path / "mine.csv").read_text() == TABLE


def test_texts_of_strangers_stay_texts(tmp_path):
    rows = 'method,benchmark,value\n"=HYPERLINK(""x"")",LFW,99.8\n"<b>|*[a](b)",LFW,99.8\n'
    done = run(tmp_path, rows, "--out", str(tmp_path / "a.csv"))
    assert r"&lt;b&gt;\|\*\[a\](b)" in done.output
    assert "<b>" not in done.output
    assert "'=HYPERLINK" in (tmp_path / "a.csv").read_text()


def test_a_benchmark_of_ones_own(tmp_path):
    heading = "method,benchmark,metric,value,trials,people\n"
    rows = f"{heading}A,mine,rank-1,90,500,50\nB,mine,rank-1,80,500,50\n"
    done = run(tmp_path, rows, "--out", str(tmp_path / "a.csv"))
    assert done.exit_code == 0
    (found,) = pd.read_csv(tmp_path / "a.csv").to_dict("records")
    assert (found["trials"], found["people"], found["verdict"]) == (500, 50, "beyond chance")
    assert found["p_people"] > 0.05


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "an empty file"),
        ("method,value\nA,1\n", "needs method, benchmark, value"),
        ("method,benchmark,value,note\nA,LFW,99,x\n", "has the columns method, benchmark"),
        ("method,benchmark,value\nA,LFW,99\n", "has 1 rows; allowed are 2 to 2,000"),
        ("method,benchmark,value\nA,LFW,99\nB,LFW,nan\n", "line 3: value is 'nan'"),
        ("method,benchmark,value\nA,LFW,99\nB,LFW,101\n", "percent from 0 to 100"),
        ("method,benchmark,value\nA,LFW,0.99\nB,LFW,0.98\n", "give percent"),
        ("method,benchmark,value\nA,LFW,99\nB,LFW\n", "line 3: has another number of fields"),
        ("method,benchmark,value\nA,LFW,99\nB,LFW,9,9\n", "line 3: has another number of fields"),
        ("method,benchmark,value\nA,LFW,99\nA,LFW,98\n", "A has two values of LFW accuracy"),
        ("method,benchmark,value\nA,mine,99\nB,mine,98\n", "give a column trials"),
        ("method,benchmark,value\nA,IJB-C,99\nB,IJB-C,98\n", "of IJB and MFR only TAR@FAR"),
        ("method,benchmark,value\nA,LFW,99\nB,CALFW,98\n", "nothing to compare"),
        ("method,benchmark,value,trials\nA,m,99,5.5\nB,m,98,6\n", "trials is '5.5'"),
        ("method,benchmark,value,trials\nA,m,99,5\nB,m,98,6\n", "several numbers of trials"),
        ("method,benchmark,value\n" + "A,LFW,99\n" * 2001, "more than 2,000 rows"),
    ],
)
def test_errors_say_what_is_wrong_and_allowed(tmp_path, text, told):
    done = run(tmp_path, text)
    assert isinstance(done.exception, UserError)
    assert told in str(done.exception)


@pytest.mark.parametrize("name", ["http://example.org/t.csv", "absent.csv", "."])
def test_only_files_are_read(name):
    done = CliRunner().invoke(app, ["audit", name])
    assert isinstance(done.exception, UserError)


def test_other_encodings_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(TABLE.encode("utf-16"))
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "a.csv")])
    assert "UTF-8" in str(done.exception)


def test_the_design_effect_is_that_of_the_rows(tmp_path):
    """An interval of half width 1.96 · 2 · the binomial standard error: four times the variance."""
    folder = tmp_path / "cpu/lfw"
    folder.mkdir(parents=True)
    half = 1.959964 * 2 * (0.9 * 0.1 / 6000) ** 0.5
    row = {"benchmark": "view2", "metric": "accuracy", "far": None, "subset": "all", "value": 0.9,
           "low": 0.9 - half, "high": 0.9 + half, "level": 0.95, "n": 6000}  # fmt: skip
    pd.DataFrame([row, {**row, "benchmark": "view1", "n": 10}]).to_csv(folder / "evaluation.csv")
    (effect,) = design_effects(tmp_path).values()
    assert effect == pytest.approx(4, rel=1e-5)
    assert design_effects(tmp_path / "none") == {}
