"""Where variance comes from: against repetitions of data whose parts are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from frcore.evaluation.intervals.detectable import Errors
from frcore.evaluation.intervals.influences import Accuracy, TarAt
from frcore.evaluation.intervals.noise import Noise
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs, trials_of_pairs

PEOPLE, PAIRS, SEEDS = 40, 600, 3
PERSON, PAIR, LUCK, TRAINING = 0.8, 0.5, 0.7, 0.3
"""Standard deviations of a score: of each person under a method, of each pair under a method, of
each pair in a training, and of all scores of a training."""

METHODS = ("A", "B")


def protocol(rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    same = np.arange(PAIRS) % 2 == 0
    a = rng.integers(0, people, PAIRS)
    return same, a, np.where(same, a, (a + rng.integers(1, people, PAIRS)) % people)


def study(rng: np.random.Generator, same, a, b, people: int) -> dict[str, np.ndarray]:
    """The scores of each run; wrong where the sign is wrong."""
    sign, found = np.where(same, 1, -1), {}
    for method in METHODS:
        person, pair = rng.normal(0, PERSON, people), rng.normal(0, PAIR, PAIRS)
        for seed in range(SEEDS):
            skill = 1 + TRAINING * rng.normal() + pair + LUCK * rng.normal(size=PAIRS)
            found[f"{method}{seed}"] = sign * (skill + (person[a] + person[b]) / np.sqrt(2))
    return found


GROUPS = [[f"{method}{seed}" for seed in range(SEEDS)] for method in METHODS]


def noise_of(scores, same, a, b, metric=None) -> Noise:
    metrics = dict.fromkeys(scores, metric or Accuracy(None, 0.0))
    people = people_of_pairs(same, a, b)
    found = intervals_of_pairs(scores, people, metrics=metrics, groups=GROUPS)
    return found.noise(trials_of_pairs(scores, people, metrics=metrics))


def differences(scores, same) -> np.ndarray:
    """A − B of each seed, by counting."""
    right = {run: np.mean((values >= 0) == same) for run, values in scores.items()}
    return np.array([right[f"A{seed}"] - right[f"B{seed}"] for seed in range(SEEDS)])


@pytest.mark.slow
def test_the_parts_are_those_of_repetitions():
    rng = np.random.default_rng(0)
    same, a, b = protocol(rng, PEOPLE)
    alone_a = np.arange(0, 2 * PAIRS, 2)
    alone_b = np.where(same, alone_a, alone_a + 1)  # nobody twice
    drawn, alone, noises = [], [], []
    for repetition in range(1200):
        scores = study(rng, same, a, b, PEOPLE)
        drawn.append(differences(scores, same))
        alone.append(differences(study(rng, same, alone_a, alone_b, 2 * PAIRS), same))
        if repetition < 250:
            noises.append(noise_of(scores, same, a, b))
    found = {name: np.mean([one.parts[name] for one in noises]) for name in noises[0].parts}
    total, without_sharing = (np.var(np.mean(one, axis=1)) for one in (drawn, alone))
    # What the seeds do on fixed people is one seed's own luck and its training.
    own = np.mean([one.own_people + one.own_pairs + one.training for one in noises])
    assert own == pytest.approx(np.mean(np.var(drawn, axis=1, ddof=1)), rel=0.15)
    assert sum(found.values()) == pytest.approx(total, rel=0.15)
    assert found["people"] == pytest.approx(total - without_sharing, rel=0.25)
    # Trainings: accuracy is Φ(skill / spread), so its spread over trainings follows.
    spread = np.sqrt(PERSON**2 + PAIR**2 + LUCK**2)
    skills = 1 + TRAINING * np.random.default_rng(1).normal(size=100_000)
    training = 2 * np.var(stats.norm.cdf(skills / spread)) / SEEDS
    assert found["seeds"] == pytest.approx(training, rel=0.2)


def test_the_part_of_pairs_is_a_sum_over_pairs():
    """Accuracy at one threshold: each pair's gain about the mean of its kind, squared."""
    rng = np.random.default_rng(2)
    same, a, b = protocol(rng, PEOPLE)
    scores = {run: one for run, one in study(rng, same, a, b, PEOPLE).items() if run[1] == "0"}
    people, metrics = people_of_pairs(same, a, b), dict.fromkeys(scores, Accuracy(None, 0.0))
    found = intervals_of_pairs(scores, people, metrics=metrics, groups=[["A0"], ["B0"]])
    noise = found.noise(trials_of_pairs(scores, people, metrics=metrics))
    right = {run: (values >= 0) == same for run, values in scores.items()}
    gains = right["A0"].astype(float) - right["B0"]
    centred = gains - np.where(same, gains[same].mean(), gains[~same].mean())
    assert noise.pairs == pytest.approx(np.square(centred).sum() / PAIRS**2)
    assert noise.people + noise.pairs == pytest.approx(
        found.difference(["A0"], ["B0"]).se_test ** 2
    )
    assert noise.training is None  # one seed each


@pytest.mark.parametrize("metric", [Accuracy(None, 0.0), TarAt(0.1)])
def test_where_nobody_is_twice_all_is_pairs(metric):
    rng = np.random.default_rng(3)
    same = np.arange(PAIRS) % 2 == 0
    a = np.arange(0, 2 * PAIRS, 2)
    b = np.where(same, a, a + 1)
    noise = noise_of(study(rng, same, a, b, 2 * PAIRS), same, a, b, metric)
    assert noise.pairs > 0
    # Of the variance over people a share f = 1/pairs is hidden by the sample's own mean.
    assert noise.people == pytest.approx(0, abs=0.01 * noise.pairs)


NOISE = Noise(people=4e-4, pairs=1e-4, own_people=2e-4, own_pairs=1e-4, training=6e-4, seeds=2,
              freedom=20, prior=1000.0, methods=20, freedom_people=10**6)  # fmt: skip


def test_an_interval_has_every_part_once():
    parts, errors = NOISE.parts, NOISE.errors
    assert parts == pytest.approx({"seeds": 3e-4, "people": 5e-4, "pairs": 1.5e-4})
    assert errors.people + errors.seeds == pytest.approx(sum(parts.values()))
    assert errors.seeds == pytest.approx((2e-4 + 1e-4 + 6e-4) / 2)


def test_a_difference_has_the_priors_degrees_of_freedom_and_its_own_seeds():
    assert NOISE.errors.freedom_seeds == 20
    unlike = replace(NOISE, prior=3.0)
    assert unlike.errors.freedom_seeds == 3 + 2
    assert unlike.planned(seeds=4).errors.freedom_seeds == 3 + 6


def test_another_design():
    more = NOISE.planned(seeds=4, people=2, pairs=3)
    assert more.parts == pytest.approx({
        "seeds": 6e-4 / 4, "people": (4e-4 + 2e-4 / 4) / 2, "pairs": (1e-4 + 1e-4 / 4) / 6
    })  # fmt: skip
    assert more.freedom == 20 + 20 * 2


def test_what_halves_it_does_and_one_less_does_not():
    level = 0.95
    goal = NOISE.errors.detectable(level) / 2
    alone = replace(NOISE, people=0.0, pairs=0.0)
    seeds = alone.halved_by(level)["seeds"]
    goal_alone = alone.errors.detectable(level) / 2
    assert alone.planned(seeds=seeds).errors.detectable(level) <= goal_alone
    assert alone.planned(seeds=seeds - 1).errors.detectable(level) > goal_alone
    # Test people alone cannot halve what seeds do, nor pairs what people do.
    assert NOISE.halved_by(level) == {"seeds": None, "people": None, "pairs": None}
    assert NOISE.planned(seeds=10**6).errors.detectable(level) > goal
    people = replace(NOISE, own_people=0.0, own_pairs=0.0, training=None)
    assert people.halved_by(level) == {"seeds": None, "people": 4.0, "pairs": None}


@pytest.mark.parametrize("freedom", [2, 18])
def test_power_is_that_of_repetitions(freedom: int):
    rng = np.random.default_rng(4)
    errors = Errors(people=2e-4, seeds=3e-4, freedom_people=119, freedom_seeds=freedom)
    difference = errors.detectable(0.99)
    drawn = difference + rng.normal(0, np.sqrt(5e-4), 200_000)
    ratio = rng.chisquare(freedom, drawn.size) / freedom
    people = stats.t.ppf(0.995, 119) ** 2 * 2e-4
    half = np.sqrt(people + stats.t.ppf(0.995, freedom) ** 2 * 3e-4 * ratio)
    assert np.mean(drawn > half) == pytest.approx(0.9, abs=0.005)
