"""Paired differences: against another derivation, and by what they do in repetitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frcore.comparison.paired import paired_numbers
from frcore.errors import UserError
from frcore.records.comparison import ComparedNumber
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary, joint_level
from tests.comparison.making import Drawn, spec_of
from tests.reporting.tree import make_study

SKILLS = {"arcface": 0.5, "softmax": 0.5}
APART = {"regression", "better"}


def compared(root: Path, draw: int = 0, **settings: object) -> list[ComparedNumber]:
    """arcface − softmax of one draw of people, seeds and scores."""
    skill = dict(settings.pop("skill", SKILLS))
    study = make_study(**{"samplers": ["full"], **settings.pop("study", {})})
    Drawn(study, root, skill=skill, draw=draw).judged()
    spec = spec_of(study, candidate="arcface", baseline="softmax", **settings)
    rows = collect(spec.study, root)
    return paired_numbers(spec, Summary(spec.study, rows, Scores(root, rows)))


def right(root: Path, run: str) -> np.ndarray:
    """Whether each pair is judged right at its fold's threshold."""
    with np.load(root / "evaluation" / run / "pairs.npz") as arrays:
        return (arrays["scores"] >= arrays["threshold"]) == arrays["same"]


@pytest.mark.slow
def test_accuracy_against_a_variance_over_dyads(tmp_path):
    """The interval's width from another theory: Fafchamps and Gubert's (2007) sum over all pairs of
    pairs with a person in common, and the spread over seeds by hand."""
    number = next(n for n in compared(tmp_path) if n.key == "pairs.accuracy")
    runs = {h: [right(tmp_path, f"tiny-{h}-full-s{s}") for s in (0, 1)] for h in SKILLS}
    gains = np.mean(runs["arcface"], axis=0) - np.mean(runs["softmax"], axis=0)
    assert number.difference == pytest.approx(gains.mean(), abs=1e-9)
    assert number.candidate - number.baseline == pytest.approx(number.difference)

    with np.load(tmp_path / "evaluation/tiny-arcface-full-s0/pairs.npz") as arrays:
        same, a, b = arrays["same"], arrays["identity_a"], arrays["identity_b"]
    centred = gains - np.where(same, gains[same].mean(), gains[~same].mean())
    sharing = (a[:, None] == a) | (a[:, None] == b) | (b[:, None] == a) | (b[:, None] == b)
    variance_people = float(centred @ sharing @ centred) / gains.size**2
    accuracies = np.array([[run.mean() for run in runs[head]] for head in runs])
    pooled = np.sum((accuracies - accuracies.mean(axis=1, keepdims=True)) ** 2) / 2
    error_seeds = np.sqrt(pooled * 2 / 2)  # two sides, two seeds each

    assert number.level == pytest.approx(1 - 0.05 / 2)
    generator = np.random.default_rng(1)
    draws = np.sqrt(variance_people) * generator.normal(size=400_000)
    draws += error_seeds * generator.standard_t(2, size=400_000)
    low, high = np.quantile(draws, [(1 - number.level) / 2, (1 + number.level) / 2])
    assert number.high - number.low == pytest.approx(high - low, rel=0.2)
    assert number.low == pytest.approx(number.difference + low, abs=0.2 * (high - low))


@pytest.mark.slow
def test_the_mean_over_samplers_is_one_more_number(tmp_path):
    study = {"samplers": ["full", "partial_fc"]}
    three = compared(tmp_path, metrics=["pairs.accuracy"], study=study)
    assert [n.sampler for n in three] == ["full", "partial_fc", "mean over samplers"]
    assert {n.level for n in three} == {joint_level(3)}
    mean = three[2]
    for name in ("difference", "candidate", "baseline"):
        values = [getattr(number, name) for number in three]
        assert values[2] == pytest.approx(np.mean(values[:2]))
    # Its test people are the same and its runs twice as many, with twice the degrees of freedom.
    widths = [number.high - number.low for number in three]
    assert np.mean(widths[:2]) / 2 < widths[2] < np.mean(widths[:2])
    assert "4 runs" in mean.method


@pytest.mark.slow
def test_what_both_cannot_give_does_not_widen_the_others(tmp_path):
    numbers = compared(tmp_path)
    # Of three FARs the templates resolve two, one of them with two false accepts.
    assert [n.key for n in numbers] == ["pairs.accuracy", "templates.tar.0.1"]
    assert {n.level for n in numbers} == {joint_level(2)}
    one = compared(tmp_path, metrics=["templates.tar.0.1"])
    assert [(n.key, n.level) for n in one] == [("templates.tar.0.1", 0.95)]
    assert one[0].high - one[0].low < numbers[1].high - numbers[1].low
    # One that is asked for by name stands there without a verdict, and takes nothing from others.
    both = compared(tmp_path, metrics=["templates.tar.0.1", "templates.tar.0.01"])
    assert [(n.verdict == "not compared", n.level) for n in both] == [(False, 0.95), (True, None)]
    assert both[1].why.startswith("FAR 0.01 allows 2 false accepts of 200 impostor pairs")
    with pytest.raises(UserError, match=r"did you mean 'templates.tar.0.1'"):
        compared(tmp_path, metrics=["templates.tar.1"])


@pytest.mark.slow
def test_a_planted_loss_is_a_regression_and_a_gain_is_better(tmp_path):
    for skill, verdict in ((0.2, "regression"), (0.9, "better")):
        study = {"seeds": [0, 1, 2]}
        found = compared(tmp_path, skill={"arcface": skill, "softmax": 0.5}, study=study)
        assert found[0].key == "pairs.accuracy"
        assert found[0].verdict == verdict
        assert {n.verdict for n in found} <= {verdict, "not told apart"}


@pytest.mark.slow
def test_a_tolerated_loss_is_none(tmp_path):
    skill = {"arcface": 0.4, "softmax": 0.5}
    (number,) = compared(tmp_path, skill=skill, metrics=["pairs.accuracy"], tolerance=90)
    assert number.verdict == "within tolerance"


@pytest.mark.slow
def test_equal_heads_seldom_fail_a_run(tmp_path):
    """Of all numbers together 2.5 % may fall below 0, and as many rise above it."""
    told = []
    for draw in range(12):
        told += [number for number in compared(tmp_path, draw) if number.verdict in APART]
    # More than 3 have a probability below 1 % at a true rate of 5 %.
    assert len(told) <= 3


@pytest.mark.slow
def test_a_large_loss_is_seldom_missed(tmp_path):
    found = 0
    for draw in range(4):
        skill = {"arcface": 0.25, "softmax": 0.5}
        numbers = compared(tmp_path, draw, skill=skill, study={"seeds": [0, 1, 2]})
        found += "regression" in {number.verdict for number in numbers}
    assert found >= 3
