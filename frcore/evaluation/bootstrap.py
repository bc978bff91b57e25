"""Intervals and paired differences of many runs on the same pairs, from one set of draws.

`interval_of_mean` and `paired_difference` draw the test people and evaluate the metric for each
call. A table of heads × samplers × seeds compares dozens of runs; here each run is evaluated once
under the draws, and every mean and every difference is a combination of its replicates. The
numbers are those of the two functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.evaluation.checks import as_labels
from frcore.evaluation.resampling import people_of_pairs
from frcore.evaluation.uncertainty import Estimate, _estimate, _sampling, draw
from frcore.evaluation.weighted import Metric

Values = NDArray[np.float64]


class SharedBootstrap:
    """The replicates of each run's metric, all under the same draws of people.

    Args:
        scores: run -> scores (P,), every run on the same pairs.
        same: True for genuine pairs (P,).
        identity_a, identity_b: the person on each side of each pair (P,).
        metrics: run -> metric; one object for all, or one per run (a threshold of its own).
        replicates, rng_seed: as in `frcore.evaluation.uncertainty.interval_of_mean`.

    Raises:
        UserError: as `interval_of_mean`.
    """

    def __init__(
        self,
        scores: Mapping[str, ArrayLike],
        same: ArrayLike,
        identity_a: ArrayLike,
        identity_b: ArrayLike,
        *,
        metrics: Mapping[str, Metric],
        replicates: int = 1000,
        rng_seed: int = 0,
    ):
        labels = as_labels(same, np.asarray(same).size)
        bound = {run: metrics[run].bind(values, labels) for run, values in scores.items()}
        self._people = people_of_pairs(labels, identity_a, identity_b)
        self._rng_seed = rng_seed
        self.values = {run: one.value for run, one in bound.items()}
        self._people_values: dict[str, Values] = {}
        self._couple_values: dict[str, Values] = {}
        # Chunks outside, runs inside: the weights of all replicates need not fit in memory.
        for chunks, kept in zip(
            draw(self._people, replicates, rng_seed),
            (self._people_values, self._couple_values),
            strict=True,
        ):
            parts: dict[str, list[Values]] = {run: [] for run in bound}
            for weights_PR in chunks:
                for run, one in bound.items():
                    parts[run].append(one(weights_PR))
            kept.update({run: np.concatenate(part) for run, part in parts.items()})

    def mean(self, runs: Sequence[str], *, level: float = 0.95) -> Estimate:
        """The mean over `runs`, which differ in the seed; see `interval_of_mean`."""
        per_seed = [self.values[run] for run in runs]
        sampling = _sampling(
            np.mean([self._people_values[run] for run in runs], axis=0),
            np.mean([self._couple_values[run] for run in runs], axis=0),
        )
        return _estimate(per_seed, sampling, self._people, level, self._rng_seed, bounds=(0.0, 1.0))

    def difference(
        self, runs_a: Sequence[str], runs_b: Sequence[str], *, level: float = 0.95
    ) -> Estimate:
        """A − B, runs paired in order (the same seeds); see `paired_difference`."""
        pairs = list(zip(runs_a, runs_b, strict=True))
        per_seed = [self.values[a] - self.values[b] for a, b in pairs]
        sampling = _sampling(
            np.mean([self._people_values[a] - self._people_values[b] for a, b in pairs], axis=0),
            np.mean([self._couple_values[a] - self._couple_values[b] for a, b in pairs], axis=0),
        )
        bounds = (-1.0, 1.0)
        return _estimate(per_seed, sampling, self._people, level, self._rng_seed, bounds=bounds)
