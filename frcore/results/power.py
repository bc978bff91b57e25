"""What a study can see: where its noise comes from, and which difference it finds.

Without results there is no power to be told: it depends on how far seeds, people and pairs spread,
which another study with the same benchmarks (a pilot) may show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import special

from frcore.evaluation.intervals.noise import Noise
from frcore.evaluation.intervals.seeds import seed_spread
from frcore.results.column import METHOD, Column
from frcore.results.scores import Scores
from frcore.results.summary import joint_level


@dataclass(frozen=True)
class Power:
    """What can be seen in a column, between two methods.

    Attributes:
        column: which number.
        noise: the variance of a difference.
        level: of its interval, so that those of all methods against the best hold jointly.
        methods: how many are compared.
        people, trials: how many are in the test set; None if only rows are known.
        paired: whether the differences are over the same pairs; else the people's part is that of
            two independent test sets, too much where both methods find the same pairs hard.
    """

    column: Column
    noise: Noise
    level: float
    methods: int
    people: int | None
    trials: int | None
    paired: bool = True

    @cached_property
    def detectable(self) -> float:
        """The true difference that is found nine times in ten."""
        return self.noise.errors.detectable(self.level)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Of the variance: seeds, people, pairs."""
        parts = self.noise.parts
        total = sum(parts.values()) or 1.0
        return {name: part / total for name, part in parts.items()}

    @cached_property
    def halved_by(self) -> dict[str, int | float | None]:
        """What halves `detectable`; see `Noise.halved_by`."""
        return self.noise.halved_by(self.level)

    def planned(
        self, *, methods: int | None, seeds: int | None, people: int | None, pairs: float | None
    ) -> Power:
        """The same in another design.

        Args:
            methods: that are compared.
            seeds: of each method.
            people: in the test set, each with as many pairs as now.
            pairs: times as many of each person.
        """
        if people is not None and self.people is None:
            people = None
        more = 1.0 if people is None or self.people is None else people / self.people
        noise = self.noise.planned(seeds=seeds, people=more, pairs=pairs or 1.0)
        methods = methods or self.methods
        trials = None if self.trials is None else round(self.trials * more * (pairs or 1.0))
        return replace(self, noise=noise, level=joint_level(methods - 1), methods=methods,
                       people=people or self.people, trials=trials)  # fmt: skip


def powers(scores: Scores, columns: Sequence[Column]) -> list[Power]:
    """What can be seen in each of `columns`; those without scores, or with one method, are left
    out, unless their rows show a spread over seeds."""
    found = (power(scores, column) for column in columns)
    return [one for one in found if one is not None]


def power(scores: Scores, column: Column) -> Power | None:
    """What can be seen in a column."""
    shared = scores.noise(column)
    if shared is None:
        return _of_rows(scores.rows.usable("evaluation"), column)
    noise, methods, sample = shared
    level = joint_level(methods - 1)
    return Power(column, noise, level, methods, sample.people, sample.trials)


def _of_rows(frame: pd.DataFrame, column: Column) -> Power | None:
    """From kept rows, which have no scores."""
    own = frame[column.rows_in(frame) & frame["value"].notna()]
    groups = [list(group) for _, group in own.groupby(METHOD)["value"]]
    # Rows of earlier versions have a 95 % interval but no standard error.
    errors = own["se_test"].fillna((own["high"] - own["low"]) / (2 * special.ndtri(0.975))).dropna()
    spread = seed_spread(groups)
    if len(groups) < 2 or errors.empty or spread is None:
        return None
    seeds = int(np.median([len(group) for group in groups]))
    common = 2 * float(np.mean(np.square(errors)))
    noise = Noise.of(common, 0.0, 0.0, 0.0, spread, seeds, len(groups), 100)
    level = joint_level(len(groups) - 1)
    return Power(column, noise, level, len(groups), None, None, paired=False)
