"""Curves against counting by hand, bands against the intervals that the tables have."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import TarAt, intervals_of_pairs
from frcore.reporting.figures.all import curve_jobs
from frcore.reporting.figures.canvas import look
from frcore.reporting.figures.curves import band_fars, benchmark_curves
from frcore.reporting.figures.roc import MOST_BANDS, det, roc
from frcore.results.scores import Scores
from frcore.results.summary import Method, Summary
from tests.reporting.made import Made
from tests.reporting.tree import make_study

ARCFACE = Method("tiny", "arcface", "full")


def test_a_curve_is_the_mean_over_seeds_of_counted_rates(summary: Summary):
    curve = benchmark_curves(summary, "templates")[ARCFACE]
    assert curve.runs == ("tiny-arcface-full-s0", "tiny-arcface-full-s1")
    arrays = [summary.scores.load(run, "templates") for run in curve.runs]
    impostors = int((~arrays[0]["same"]).sum())
    assert curve.far[0] == 1 / impostors  # below, the benchmark cannot tell
    for far, tar in list(zip(curve.far, curve.tar, strict=True))[::7]:
        counted = []
        for one in arrays:
            wrong = np.sort(one["scores"][~one["same"]])[::-1]
            barred = wrong[round(far * impostors)]
            counted.append(np.mean(one["scores"][one["same"]] > barred))
        assert tar == pytest.approx(np.mean(counted))


def test_a_band_is_the_interval_of_a_table(summary: Summary):
    curves = benchmark_curves(summary, "templates")
    runs = {m: [summary.scores.load(r, "templates") for r in c.runs] for m, c in curves.items()}
    protocol = runs[ARCFACE][0]
    people = people_of_pairs(protocol["same"], protocol["identity_a"], protocol["identity_b"])
    curve = curves[ARCFACE]
    # Of 200 impostor pairs fewer than ten may be accepted there, too few for an interval.
    few = curve.far < 10 / 200
    assert few.sum() > 5
    assert np.isnan(curve.low[few]).all()
    assert np.isnan(curve.high[few]).all()
    assert np.isfinite([curve.low[~few], curve.high[~few]]).all()
    for far in band_fars(curve.far[~few])[[0, 5]]:
        scores = {f"{m} {i}": a["scores"] for m, own in runs.items() for i, a in enumerate(own)}
        shared = intervals_of_pairs(
            scores, people, metrics=dict.fromkeys(scores, TarAt(float(far))),
            groups=[[f"{m} {i}" for i in range(len(own))] for m, own in runs.items()],
        )  # fmt: skip
        expected = shared.mean([f"{ARCFACE} {i}" for i in range(2)])
        at = int(np.flatnonzero(curve.far == far)[0])
        assert curve.low is not None
        assert curve.high is not None
        assert (curve.low[at], curve.high[at]) == pytest.approx((expected.low, expected.high))
        assert expected.low < expected.high


def test_too_few_people_give_a_curve_without_a_band(complete: Made):
    few = Summary(complete.study, complete.rows, Scores(complete.root, complete.rows))
    for run in {str(run) for run in complete.rows.evaluation["run"]}:
        arrays = few.scores.load(run, "pairs")
        assert arrays is not None
        same = arrays["same"]
        arrays["identity_a"] = np.arange(same.size) % 4
        arrays["identity_b"] = np.where(same, arrays["identity_a"], arrays["identity_a"] + 1)
    curve = benchmark_curves(few, "pairs")[ARCFACE]
    assert curve.low is curve.high is None
    assert curve.tar.size > 5


@pytest.mark.slow
def test_errors_are_one_less_the_rates_and_zero_is_not_drawn(summary: Summary):
    curves = {name: job() for name, job in curve_jobs(summary).items()}
    with look():
        accepted = roc(curves, summary).axes
        rejected = det(curves, summary).axes
    for one, other in zip(accepted, rejected, strict=True):
        assert other.get_yscale() == other.get_xscale() == "log"
        for rates, errors in zip(one.lines, other.lines, strict=True):
            expected = 1 - np.asarray(rates.get_ydata())
            drawn = np.asarray(errors.get_ydata())
            assert np.isnan(drawn[expected <= 0]).all()
            assert drawn[expected > 0] == pytest.approx(expected[expected > 0])
            assert other.get_ylim()[0] < np.nanmin(drawn)


def test_among_many_curves_only_the_highest_has_its_band(summary: Summary):
    heads = [{"name": "arcface", "label": f"h{i}", "margin": 0.1 + 0.01 * i} for i in range(8)]
    study = make_study(heads=heads, samplers=["full"])
    curve = benchmark_curves(summary, "pairs")[ARCFACE]
    for count, bands in ((MOST_BANDS, MOST_BANDS), (MOST_BANDS + 1, 1)):
        own = {Method("tiny", f"h{i}", "full"): curve for i in range(count)}
        many = Summary(study, summary.rows, summary.scores)
        with look():
            [panel] = roc({"pairs": own}, many).axes
        assert sum(isinstance(one, PolyCollection) for one in panel.collections) == bands
        assert len(panel.lines) == count
