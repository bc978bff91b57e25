"""Many runs at once give the numbers of one call per comparison."""

import numpy as np
import pytest

from frcore.evaluation.bootstrap import SharedBootstrap
from frcore.evaluation.uncertainty import Accuracy, TarAt, interval_of_mean, paired_difference

PAIRS, PEOPLE = 600, 80


@pytest.fixture(scope="module")
def protocol():
    rng = np.random.default_rng(3)
    same = np.arange(PAIRS) % 2 == 0
    a = rng.integers(0, PEOPLE, PAIRS)
    b = np.where(same, a, (a + rng.integers(1, PEOPLE, PAIRS)) % PEOPLE)
    scores = {f"run{i}": rng.normal((1.5 + i / 4) * same) for i in range(4)}
    return scores, same, a, b


@pytest.mark.parametrize("metric", [Accuracy(10), TarAt(0.05)])
def test_same_as_one_call_each(protocol, metric):
    scores, same, a, b = protocol
    metrics = dict.fromkeys(scores, metric)
    shared = SharedBootstrap(scores, same, a, b, metrics=metrics, replicates=150, rng_seed=4)
    settings = {"metric": metric, "replicates": 150, "rng_seed": 4}
    one, two = [scores["run0"], scores["run1"]], [scores["run2"], scores["run3"]]
    assert shared.mean(["run0", "run1"]) == interval_of_mean(one, same, a, b, **settings)
    assert shared.mean(["run3"]) == interval_of_mean(scores["run3"], same, a, b, **settings)
    assert shared.difference(["run0", "run1"], ["run2", "run3"], level=0.9) == paired_difference(
        one, two, same, a, b, level=0.9, **settings
    )
