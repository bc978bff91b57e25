"""What a study can see, from its scores, from kept rows, and for a plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.errors import UserError
from frcore.reporting.tables.power import power_table, sentence, study_powers
from frcore.results.planned_power import Design, powers_of
from frcore.results.power import powers
from frcore.results.rows import write_rows
from frcore.results.scores import Scores
from frcore.results.summary import Summary, joint_level
from tests.reporting.made import Made
from tests.reporting.tree import make_study
from tests.results.test_summary import ACCURACY, TAR


def test_the_main_numbers_by_a_rule_that_sees_no_result(summary: Summary):
    assert summary.primary() == [ACCURACY, TAR]


def test_the_variance_is_that_of_the_intervals(complete: Made, summary: Summary):
    """The parts are an average over all two methods; so is what the intervals are made of."""
    (accuracy, _) = study_powers(summary)
    assert accuracy.level == joint_level(len(summary.ranked) - 1)
    pairs = [(one, other) for place, one in enumerate(summary.ranked)
             for other in summary.ranked[place + 1 :]]  # fmt: skip
    found = [summary.paired(ACCURACY, *pair, level=0.95)[0] for pair in pairs]
    errors = accuracy.noise.errors
    assert errors.people == pytest.approx(np.mean([one.errors.people for one in found]), rel=0.1)
    assert errors.seeds >= found[0].errors.seeds * (1 - 1e-9)
    assert sum(accuracy.shares.values()) == pytest.approx(1)


def test_the_table_and_the_sentence_say_the_same(summary: Summary):
    found = study_powers(summary)
    table = power_table(found)
    assert [row[0].text for row in table.rows] == [ACCURACY.title, TAR.title]
    told = sentence(found)
    assert "would be found 9 times in 10" in told
    assert f"{100 * found[0].detectable:.1f} points in pairs: accuracy" in told
    vars(found[0])["detectable"] = 1.5  # as few seeds of different spreads give
    assert sentence(found).endswith("; in pairs: accuracy no loss is large enough for that.")
    assert sentence(found[:1]) == (
        "In pairs: accuracy no loss is large enough to be found 9 times in 10."
    )
    assert power_table([]).rows == []
    assert sentence([]) == ""


@pytest.fixture(scope="module")
def kept(complete: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    write_rows(complete.rows, root)
    return root


def test_kept_rows_take_both_sides_as_independent(complete: Made, kept: Path, summary: Summary):
    by_rows = powers_of(None, kept, None, ["pairs.accuracy"], Design())[0]
    (by_scores,) = powers(summary.scores, [ACCURACY])
    assert not by_rows.paired
    # In this study, unlike a real one, they are: the runs' scores have nothing in common.
    assert by_rows.detectable == pytest.approx(by_scores.detectable, rel=0.1)
    assert "independent" in " ".join(power_table([by_rows]).notes)
    shutil.copytree(complete.root / "evaluation", kept / "evaluation", dirs_exist_ok=True)
    whole = powers_of(None, kept, None, ["pairs.accuracy"], Design())[0]
    assert whole.detectable == pytest.approx(by_scores.detectable)


def test_a_plan_needs_a_pilot(complete: Made, kept: Path, tmp_path: Path):
    study = make_study(seeds=[0, 1, 2, 3, 4])
    with pytest.raises(UserError, match="--pilot results/NAME"):
        powers_of(study, tmp_path, None, [], Design())
    with pytest.raises(UserError, match="neither --study nor --root"):
        powers_of(None, None, None, [], Design())
    with pytest.raises(UserError, match=r"did you mean 'pairs\.accuracy'"):
        powers_of(None, kept, None, ["pairs.accurac"], Design())
    now = powers_of(None, kept, None, [], Design())
    plan = powers_of(study, tmp_path, kept, [], Design(people=10**6))
    for one, other in zip(now, plan, strict=True):
        assert other.noise.seeds == 5
        assert other.detectable < one.detectable
        assert other.noise.freedom == one.noise.freedom + one.noise.methods * 3


def test_the_command(complete: Made, kept: Path):
    shutil.copytree(complete.root / "evaluation", kept / "evaluation", dirs_exist_ok=True)
    told = CliRunner().invoke(app, ["power", "--root", str(kept), "--seeds", "3", "--json"])
    records = json.loads(told.stdout)
    assert [record["seeds"] for record in records] == [3, 3]
    told = CliRunner().invoke(app, ["power", "--root", str(kept)])
    assert "9 times in 10" in told.stdout


def test_methods_elsewhere_join_the_spread_once(complete: Made, summary: Summary):
    frame = complete.rows.usable("evaluation")
    further = frame.assign(head="another", run=frame["run"] + "x")
    more = Scores(complete.root, complete.rows, further)
    twice = Scores(complete.root, complete.rows, frame)  # the study's own runs
    other = Scores(complete.root, complete.rows, further.assign(data_sha256="another"))
    runs = sorted(summary.scores.trials("pairs").ranked)
    every = {"own": summary.scores, "more": more, "twice": twice, "other": other}
    found = {name: scores.difference(ACCURACY, runs[:2], runs[2:4], level=0.9)
             for name, scores in every.items()}  # fmt: skip
    freedom = {name: one.errors.freedom_seeds for name, one in found.items()}
    assert freedom["more"] > freedom["own"] == freedom["twice"] == freedom["other"]
