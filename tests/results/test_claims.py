"""Claims: which numbers a verdict rests on, and that it errs no more often than it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from frcore.evaluation.intervals.detectable import Errors
from frcore.evaluation.intervals.uncertainty import Accuracy, intervals_of_pairs, people_of_pairs
from frcore.records.claims import ClaimRow
from frcore.results.claim_numbers import CannotTellError, common_seeds, reading, student
from frcore.results.claims import claim_rows, contrasts, in_words
from frcore.results.column import Method
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.results.verdicts import Measured, bears_out, takes, verdict
from frcore.study import claims
from frcore.study.config import Study
from tests.reporting.made import Made

PARTS = {"backbones": ("tiny",), "heads": ("a", "b", "c", "d"), "samplers": ("full", "half")}


def made(**given: Any) -> claims.Test:
    return claims.Test.model_validate({"number": "pairs.accuracy", **given})


def weights(test: claims.Test) -> list[dict[str, float]]:
    """By head and sampler."""
    return [{f"{m.head}-{m.sampler}": round(w, 6) for m, w in one.weights.items()}
            for one in contrasts(test, PARTS)]  # fmt: skip


def rows_of(study_made: Made, **tests: dict[str, Any]) -> dict[str, ClaimRow]:
    given = {"says": "It is so.", "source": "A paper, Table 1"}
    stated = {name: {**given, "test": test} for name, test in tests.items()}
    study = Study.model_validate({**study_made.study.model_dump(mode="json"), "claims": stated})
    rows = collect(study, study_made.root)
    found = claim_rows(Summary(study, rows, Scores(study_made.root, rows)))
    return {row.claim: row for row in found}


def test_verdicts_of_a_study(complete):
    sides = {"number": "pairs.accuracy", "than": ["softmax"]}
    tied = {"same": ["arcface-full"], "than": ["arcface-partial_fc"], "within": 50}
    time = {"number": {"measured": "step_ms", "identities": 1000}}
    rows = rows_of(
        complete,
        better={**sides, "better": ["arcface"]},
        lower={**sides, "lower": ["arcface"]},
        same={**sides, "same": ["arcface"], "within": 1},
        tied={"number": "pairs.accuracy", **tied},
        trend={"number": "templates.tar.0.1", "doses": ["softmax", "arcface"],
               "expect": "increases"},
        scale={"number": {"training": "scale"}, "of": ["arcface"], "near": 64, "within": 0.5},
        time={**time, "same": ["arcface"], "than": ["softmax"], "within": 100},
        unknown={"number": "pairs.tar.0.5", "higher": ["arcface"], "than": ["softmax"]},
    )  # fmt: skip
    assert {name: row.verdict for name, row in rows.items()} == {
        "better": "reproduced", "lower": "not reproduced", "same": "not reproduced",
        "tied": "reproduced", "trend": "reproduced", "scale": "reproduced", "time": "reproduced",
        "unknown": "cannot be told",
    }  # fmt: skip
    better = rows["better"]
    assert (better.seeds, better.commit) == (2, "0123456789ab")
    # Time has a span, without a level, and is not counted.
    assert better.level == pytest.approx(1 - 0.05 / 7)
    assert rows["time"].level is None
    times = complete.rows.measurement
    fast, slow = (times[(times["head"] == head) & (times["identities"] == 1000)]
                  for head in ("arcface", "softmax"))  # fmt: skip
    spans = [np.exp(np.log(one["step_ms_low"]).mean() - np.log(two["step_ms_high"]).mean())
             for one, two in ((fast, slow), (slow, fast))]  # fmt: skip
    assert (rows["time"].low, 1 / rows["time"].high) == pytest.approx(tuple(spans))
    assert "templates.tar.0.01" in rows["unknown"].why


def test_a_probability_is_computed(complete):
    """P = e^{s cos(θ + m)} / (e^{s cos(θ + m)} + C − 1); it has no interval to share a level."""
    number = {"probability": 45, "classes": 1000}
    rows = rows_of(complete, one={"number": number, "of": ["arcface"], "below": 0.5},
                   two={"number": number, "higher": ["arcface"], "than": ["softmax"]})  # fmt: skip
    z = 64 * np.cos(np.pi / 4 + 0.5)
    assert rows["one"].value == pytest.approx(np.exp(z) / (np.exp(z) + 999))
    assert (rows["one"].low, rows["one"].level) == (rows["one"].value, None)
    assert rows["one"].verdict == "not reproduced"


def test_a_contrast_is_the_difference_that_the_tables_have(complete):
    """Of two methods the claim's number is that of `Summary.paired`."""
    test = {"number": "pairs.accuracy", "better": ["arcface"], "than": ["softmax"]}
    (row,) = rows_of(complete, one={**test, "samplers": ["full"]}).values()
    summary = Summary(complete.study, complete.rows, Scores(complete.root, complete.rows))
    column = next(one for one in summary.columns if one.key == "pairs.accuracy")
    sides = Method("tiny", "arcface", "full"), Method("tiny", "softmax", "full")
    estimate, _, _ = summary.paired(column, *sides, level=row.level)
    ours = (row.value, row.low, row.high)
    assert ours == pytest.approx([100 * estimate.value, 100 * estimate.low, 100 * estimate.high])


def test_what_cannot_be_told_of_a_broken_study(broken):
    row = rows_of(broken, one={"number": "pairs.accuracy", "better": ["arcface-full"],
                               "than": ["softmax-full"]})["one"]  # fmt: skip
    assert row.verdict == "cannot be told"
    assert "no results of arcface + full, softmax + full" in row.why


def test_of_several_contrasts_the_worst_is_shown(complete):
    """A claim about two baselines needs both."""
    test = {"number": "pairs.accuracy", "better": ["arcface-full"]}
    (row,) = rows_of(
        complete, one={**test, "than": ["softmax-full", "arcface-partial_fc"]}
    ).values()
    assert (row.verdict, row.shown) == ("cannot be told", "arcface-full − arcface-partial_fc")
    assert row.level == pytest.approx(1 - 0.05 / 2)


def test_weights_of_contrasts():
    assert weights(made(better=["a"], than=["b", "c"], samplers=["full"])) == [
        {"a-full": 1.0, "b-full": -1.0}, {"a-full": 1.0, "c-full": -1.0},
    ]  # fmt: skip
    assert weights(made(better=["a-full"], than=["half"], heads=["a", "b"])) == [
        {"a-full": 1.0, "a-half": -0.5, "b-half": -0.5}
    ]
    assert weights(made(better=["half"], than=["full"], heads=["a", "b"])) == [
        {"a-half": 0.5, "b-half": 0.5, "a-full": -0.5, "b-full": -0.5}
    ]
    heads = ["a", "b", "c", "d"]
    assert weights(made(doses=heads, expect="decreases", samplers=["full"])) == [
        {"a-full": -0.75, "b-full": -0.25, "c-full": 0.25, "d-full": 0.75}
    ]
    same = made(doses=["a-full", "b-full", "c-full"], expect="same", within=1)
    assert weights(same) == [{"b-full": 1, "a-full": -1}, {"c-full": 1, "a-full": -1}]


ENDS = [(0.5, 0.9), (1.1, 2.0), (0.2, 1.2), (-0.3, 0.3), (-2.0, -0.1)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"higher": ["a"], "than": ["b"]}, "RRR?N"),
        ({"lower": ["a"], "than": ["b"]}, "NNN?R"),
        ({"higher": ["a"], "than": ["b"], "smallest": 1}, "NR?NN"),
        ({"higher": ["a"], "than": ["b"], "negligible": 0.4}, "RRRNN"),
        ({"higher": ["a"], "than": ["b"], "negligible": 1}, "NRRNN"),
        ({"same": ["a"], "than": ["b"], "within": 1}, "RN?R?"),
        ({"of": ["a"], "near": 1, "within": 0.6}, "R??NN"),
        ({"of": ["a"], "above": 1}, "NR?NN"),
        ({"of": ["a"], "below": 1}, "RN?RR"),
    ],
)
def test_verdicts(given, told):
    """R: reproduced, N: not, ?: cannot be told, for each of the intervals `ENDS`."""
    words = {"R": "reproduced", "N": "not reproduced", "?": "cannot be told"}
    found = [verdict(made(**given), Measured(0.0, *ends)) for ends in ENDS]
    assert found == [words[letter] for letter in told]


def test_thresholds_of_ratios_are_factors():
    number = {"measured": "step_ms", "identities": 100}
    test = made(number=number, better=["a"], than=["b"], smallest=2)
    spans = [(0.3, 0.45), (0.45, 0.6), (0.6, 0.9)]
    found = [verdict(test, Measured(0.0, *np.log(span))) for span in spans]
    assert found == ["reproduced", "cannot be told", "not reproduced"]


def test_what_bears_a_claim_out_least():
    values = [-2.0, 1.0, 0.5]

    def least(**given: Any) -> float:
        test = made(**given)
        return min(values, key=lambda value: bears_out(test, Measured(value, 0.0, 0.0)))

    assert least(higher=["a"], than=["b"]) == -2
    assert least(lower=["a"], than=["b"]) == 1
    assert least(same=["a"], than=["b"], within=1) == -2
    assert least(of=["a"], near=-1, within=1) == 1


def test_only_seeds_that_all_methods_have_are_used(summary):
    found = {Method("b", "a", "s"): {0: 1, 1: 1}, Method("b", "c", "s"): {2: 1, 1: 1}}
    assert common_seeds(summary, found) == [1]


def test_what_it_would_take():
    """Twice the seeds halve the variance: the detectable difference falls with its root."""
    found = Measured(0.4, -0.6, 1.4, 0.95, "", 5, errors=Errors(0.0, 0.09, 1, 40))
    test = made(better=["a"], than=["b"], negligible=0.5)
    said = takes(test, found)
    count = int(said.partition(" ")[0])
    detectable = [Errors(0.0, 0.09 * 5 / n, 1, 40 + n - 5).detectable(0.95)
                  for n in (count - 1, count)]  # fmt: skip
    assert detectable[0] > 0.5 >= detectable[1]
    assert "for 0.5 points to be found 9 times in 10" in said
    assert "larger `within`" in takes(made(same=["a"], than=["b"], within=0.3), found)


def test_one_seed_has_no_interval():
    with pytest.raises(CannotTellError, match="two seeds or more"):
        student([1.0], 0.95)


def test_words():
    test = made(doses=["a", "b"], expect="increases", samplers=["full"], negligible=0.5)
    assert in_words(test) == "a → b (full only): increases; negligible up to 0.5 points"
    ratio = {"measured": "memory", "identities": 9}
    words = in_words(made(number=ratio, better=["a"], than=["b"], smallest=2))
    assert words == "a better than b; by more than 2 times"


def false_alarms(test: claims.Test, repetitions: int, level: float) -> float:
    """How often a test on equal methods gives a verdict for or against an effect in any contrast.

    Four methods of five seeds on the pairs of 200 people; a seed moves the scores of its run.
    """
    generator, wrong = np.random.default_rng(0), 0
    people = np.repeat(np.arange(200), 2)
    same = np.tile([True, False], 200)
    other = np.where(same, people, (people + 7) % 200)
    known = people_of_pairs(same, people, other)
    for _ in range(repetitions):
        hard, scores = generator.normal(0, 1, 400), {}
        for head in PARTS["heads"]:
            for seed in range(5):
                luck = generator.normal(0, 0.7, 400) + generator.normal(0, 0.3) * same
                scores[f"{head}{seed}"] = same * 1.5 + hard + luck - 0.75
        groups = [[f"{head}{seed}" for seed in range(5)] for head in PARTS["heads"]]
        found = intervals_of_pairs(
            scores, known, metrics=dict.fromkeys(scores, Accuracy(None, 0.0)), groups=groups
        )
        several, said = contrasts(test, PARTS), set()
        for contrast in several:
            weighted = [{f"{m.head}{seed}": w for m, w in contrast.weights.items()}
                        for seed in range(5)]  # fmt: skip
            one = found.contrast(weighted, level=1 - (1 - level) / len(several))
            ends = 100 * one.value, 100 * one.low, 100 * one.high
            said.add(verdict(test, Measured(*ends, level)))
        wrong += said != {"cannot be told"}
    return wrong / repetitions


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", [{"doses": ["a", "b", "c", "d"], "expect": "increases"},
              {"higher": ["a"], "than": ["b", "c", "d"]}],
)  # fmt: skip
def test_equal_methods_are_told_apart_no_more_often_than_stated(given):
    """At 80 %, so that few repetitions suffice: at most 20 %, and three standard errors."""
    repetitions, test = 150, made(samplers=["full"], **given)
    assert false_alarms(test, repetitions, 0.8) < 0.2 + 3 * (0.2 * 0.8 / repetitions) ** 0.5


def test_students_interval_errs_as_often_as_it_says():
    """A shift that a seed gives to all methods cancels, since they are paired."""
    generator, repetitions, wrong = np.random.default_rng(1), 2000, 0
    test = made(number={"training": "target_angle"}, higher=["a"], than=["b"])
    for _ in range(repetitions):
        a, b = generator.normal(40, 2, (2, 5)) + generator.normal(0, 50, 5)
        wrong += verdict(test, student([*(a - b)], 0.95)) != "cannot be told"
    assert abs(wrong / repetitions - 0.05) < 3 * (0.05 * 0.95 / repetitions) ** 0.5


@pytest.mark.parametrize("measured", ["step_ms", "memory"])
def test_a_disturbed_measurement_bears_nothing_out(complete: Made, measured: str):
    rows = collect(complete.study, complete.root)
    summary = Summary(complete.study, rows, Scores(complete.root, rows))
    of = claims.Quantity.model_validate({"measured": measured, "identities": 1000})
    assert reading(summary, of, "arcface", "full")[0] > 0
    summary.rows.measurement["disturbed"] = "other programs"
    with pytest.raises(CannotTellError, match="was disturbed"):
        reading(summary, of, "arcface", "full")
