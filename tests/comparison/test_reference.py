"""Heads as they are now against kept rows: another derivation, repetitions, and old or bad rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frcore.comparison.reference import Side, errors_of, reference_numbers
from frcore.comparison.verdict import judge
from frcore.errors import UserError
from frcore.evaluation.intervals.seeds import seed_spread
from frcore.results.kept import read_reference
from frcore.results.rows import Rows, collect, csv_text
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from tests.comparison.making import Drawn, spec_of
from tests.reporting.tree import make_study

STUDY = make_study(seeds=[0, 1, 2], samplers=["full"])


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    root = tmp_path_factory.mktemp("now")
    Drawn(STUDY, root, skill={"arcface": 0.5, "softmax": 0.5}).judged()
    return collect(STUDY, root)


def keep(rows: Rows, folder: Path, drop: tuple[str, ...] = ()) -> Path:
    for name in ("evaluation", "training", "measurement"):
        frame = getattr(rows, name).drop(columns=list(drop), errors="ignore")
        (folder / f"{name}.csv").write_text(csv_text(frame))
    return folder


def numbers(rows: Rows, then: Rows, **settings: object):
    spec = spec_of(STUDY, against="kept", **settings)
    now, kept = (Summary(STUDY, one, Scores(Path(), one)) for one in (rows, then))
    return reference_numbers(spec, now, kept)


def lowered(rows: Rows, head: str, points: float, **columns: object) -> Rows:
    """The rows with a head's values `points` lower, and other columns set."""
    frame = rows.evaluation.copy()
    frame.loc[frame["head"] == head, "value"] -= points / 100
    return replace(rows, evaluation=frame.assign(**columns))


@pytest.mark.slow
def test_nothing_changed_is_no_difference(rows, tmp_path):
    found = numbers(rows, read_reference(keep(rows, tmp_path)))
    assert len(found) == 2 * 2
    assert all(number.difference == 0 for number in found)
    assert {number.verdict for number in found} == {"not told apart"}


@pytest.mark.slow
@pytest.mark.parametrize("drop", [(), ("se_test", "rank", "fpir", "gallery", "n_unit")])
def test_rows_of_earlier_versions_are_read(rows, tmp_path, drop):
    then = read_reference(keep(rows, tmp_path, drop))
    found = numbers(lowered(rows, "arcface", 45), then)
    verdicts = {number.head: number.verdict for number in found if number.key == "pairs.accuracy"}
    assert verdicts == {"arcface": "regression", "softmax": "not told apart"}


@pytest.mark.slow
def test_the_width_is_that_of_a_moderated_t_test(rows, tmp_path):
    then = read_reference(keep(rows, tmp_path))
    generator = np.random.default_rng(0)
    frame = rows.evaluation.copy()
    frame["value"] += generator.normal(0, 0.02, len(frame))
    now = replace(rows, evaluation=frame)
    found = next(n for n in numbers(now, then) if (n.head, n.key) == ("arcface", "pairs.accuracy"))
    own = frame[(frame["metric"] == "accuracy")].groupby("head")["value"]
    old = rows.evaluation[rows.evaluation["metric"] == "accuracy"].groupby("head")["value"]
    spread = seed_spread([list(group) for _, group in [*own, *old]])
    both = [(1 / 3, list(part.get_group("arcface"))) for part in (own, old)]
    variance, freedom = spread.combined(both)
    expected = stats.t.ppf(1 - 0.05 / 4 / 2, freedom) * np.sqrt(variance)
    assert found.high - found.difference == pytest.approx(expected)
    difference = own.get_group("arcface").mean() - old.get_group("arcface").mean()
    assert found.difference == pytest.approx(difference)


@pytest.mark.slow
def test_other_test_people_widen_it(rows, tmp_path):
    then = read_reference(keep(lowered(rows, "arcface", 0, data_sha256="another"), tmp_path))
    apart = {(n.head, n.key): n for n in numbers(rows, then)}
    for number in numbers(rows, read_reference(keep(rows, tmp_path))):
        other = apart[number.head, number.key]
        assert other.high > number.high
        assert "test people" in other.method


@pytest.mark.slow
def test_a_head_without_kept_rows_has_no_verdict(rows, tmp_path):
    frame = rows.evaluation
    then = replace(rows, evaluation=frame[frame["head"] == "softmax"])
    found = numbers(rows, read_reference(keep(then, tmp_path)))
    assert {n.head: n.verdict for n in found} == {
        "arcface": "not compared", "softmax": "not told apart"
    }  # fmt: skip
    assert [n.level for n in found if n.level] == pytest.approx([1 - 0.05 / 2] * 2)


@pytest.mark.slow
def test_a_far_of_few_false_accepts_has_no_verdict(rows, tmp_path):
    then = read_reference(keep(rows, tmp_path))
    kept = then.evaluation[then.evaluation["far"] == 0.01]
    assert kept["value"].notna().all()
    assert kept["low"].isna().all()
    found = numbers(rows, then, metrics=["templates.tar.0.1", "templates.tar.0.01"])
    assert {(n.key, n.verdict) for n in found} == {
        ("templates.tar.0.1", "not told apart"), ("templates.tar.0.01", "not compared")
    }  # fmt: skip
    assert {n.level for n in found if n.level} == {1 - 0.05 / 2}
    assert all("allows 2 false accepts" in n.why for n in found if n.key.endswith(".01"))


@pytest.mark.slow
def test_repetitions_of_equal_trainings_seldom_fail():
    """A shift of nothing, seeds drawn anew: 5 % of intervals at most leave out 0."""
    generator = np.random.default_rng(0)
    outside, repetitions = 0, 2000
    for _ in range(repetitions):
        values = 0.9 + 0.01 * generator.normal(size=(4, 3))
        spread = seed_spread([list(group) for group in values])
        now, then = (Side(tuple(group), 0.02, 2400) for group in values[:2])
        half = errors_of(now, then, spread, level=0.95, same_people=True)[0].half_width(0.95)
        difference = now.mean - then.mean
        outside += judge(difference - half, difference + half, 0) != "not told apart"
    assert 0.04 < outside / repetitions < 0.065


def test_one_seed_on_each_side_leaves_the_people_or_nothing():
    one, other = Side((0.9,), 0.03, 100), Side((0.8,), 0.04, 100)
    errors, how = errors_of(one, other, None, level=0.95, same_people=True)
    assert errors.half_width(0.95) == pytest.approx(1.96 * 0.05, rel=1e-3)
    assert "seeds" not in how
    assert errors_of(one, replace(other, se_test=None), None, level=0.95, same_people=True) is None


def test_seeds_that_agree_by_chance_are_no_certainty():
    sides = Side((0.9, 0.9), 0.0, 200), Side((0.9, 0.9), 0.0, 200)
    errors, _ = errors_of(*sides, seed_spread([[0.9, 0.9]] * 4), level=0.95, same_people=True)
    assert errors.half_width(0.95) > 1 / 200


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "training.csv").unlink(), "cannot be read"),
        (lambda folder: (folder / "evaluation.csv").write_text("a,b\n1,2\n"), "has no column"),
        (lambda folder: (folder / "evaluation.csv").write_bytes(b"\x00\xff\xfe"), "evaluation.csv"),
        (lambda folder: (folder / "measurement.csv").write_text(""), "cannot be read"),
    ],
)
def test_what_is_no_kept_row_is_refused(rows, tmp_path, spoil, expected):
    keep(rows, tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=expected):
        read_reference(tmp_path)


@pytest.mark.slow
def test_text_where_a_number_belongs_is_no_number(rows, tmp_path):
    keep(rows, tmp_path)
    path = tmp_path / "evaluation.csv"
    frame = pd.read_csv(path).astype({"value": object})
    frame.loc[frame["head"] == "arcface", "value"] = "=1+1"
    frame.to_csv(path, index=False)
    found = numbers(rows, read_reference(tmp_path))
    assert {n.why for n in found if n.head == "arcface"} == {"no value in the reference"}


@pytest.mark.slow
def test_the_committed_rows_can_be_read(repository):
    for path in sorted((repository / "results/reference/cpu").glob("*/evaluation.csv")):
        then = read_reference(path.parent)
        assert len(Summary(STUDY, then, Scores(Path(), then)).trained)
        assert not then.usable("evaluation").empty
