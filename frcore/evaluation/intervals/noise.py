"""Where the variance of a difference comes from, and what another design would make of it.

The difference of two methods, each the mean over S seeds, varies by three things:

- *people*: other test people would agree more or less with each method. This is the covariance of
  pairs that share a person; more pairs of the same people leave it as it is.
- *pairs*: what is left if no two pairs share a person, like the noise of independent trials.
- *seeds*: another training is another network, on whatever people it is judged.

A training also has luck of its own with these people and pairs, which more seeds average out as
more people do. It is part of people and of pairs here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from frcore.evaluation.intervals.detectable import Errors, fewest
from frcore.evaluation.intervals.seeds import SeedSpread

MOST = 1000
"""No more than so many times as many seeds, people or pairs are asked for."""


@dataclass(frozen=True)
class Noise:
    """The variance of a difference of two methods, in squared proportions.

    Attributes:
        people, pairs: of the test set, common to all trainings of a method.
        own_people, own_pairs: of one seed's difference, by its luck with people and pairs.
        training: of one seed's difference, whatever people there are; None if unknown: one seed.
        seeds: over which a method is averaged.
        freedom: degrees of freedom of the spread over seeds of all methods together.
        prior: how many of them the other methods are worth to one (`SeedSpread`).
        methods: of the study.
        freedom_people: degrees of freedom of the people's part.
    """

    people: float
    pairs: float
    own_people: float
    own_pairs: float
    training: float | None
    seeds: int
    freedom: int
    prior: float
    methods: int
    freedom_people: int

    @classmethod
    def of(
        cls, common: float, pairs: float, own: float, own_pairs: float, spread: SeedSpread | None,
        seeds: int, methods: int, freedom_people: int,
    ) -> Noise:  # fmt: skip
        """From sums that noise may have made negative: `common` and `own` are with their pairs."""
        common, own = max(common, 0.0), max(own, 0.0)
        pairs, own_pairs = min(max(pairs, 0.0), common), min(max(own_pairs, 0.0), own)
        training, freedom, prior = None, 0, 0.0
        if spread is not None:
            training = max(2 * spread.deviation**2 - own, 0.0)
            freedom, prior = spread.freedom, spread.prior
        return cls(common - pairs, pairs, own - own_pairs, own_pairs, training, seeds, freedom,
                   prior, methods, freedom_people)  # fmt: skip

    @property
    def parts(self) -> dict[str, float]:
        """Of the variance of the mean over seeds: seeds, people, pairs."""
        return {
            "seeds": (self.training or 0.0) / self.seeds,
            "people": self.people + self.own_people / self.seeds,
            "pairs": self.pairs + self.own_pairs / self.seeds,
        }

    @property
    def errors(self) -> Errors:
        """What an interval makes of it: the luck of a training is in the spread over seeds."""
        common, own = self.people + self.pairs, self.own_people + self.own_pairs
        if self.training is None:
            return Errors(common + own, 0.0, self.freedom_people, 1)
        seeds = (own + self.training) / self.seeds
        freedom = min(self.prior + 2 * (self.seeds - 1), self.freedom)  # of two methods
        return Errors(common, seeds, self.freedom_people, max(freedom, 1))

    def planned(self, *, seeds: int | None = None, people: float = 1, pairs: float = 1) -> Noise:
        """The same methods in another design.

        Args:
            seeds: of each method.
            people: times as many, each with as many pairs as now.
            pairs: times as many of each person.
        """
        trials = people * pairs
        return replace(
            self, people=self.people / people, pairs=self.pairs / trials,
            own_people=self.own_people / people, own_pairs=self.own_pairs / trials,
            seeds=seeds or self.seeds,
            freedom=max(self.freedom + self.methods * ((seeds or self.seeds) - self.seeds), 1),
            freedom_people=max(round((self.freedom_people + 1) * people) - 1, 1),
        )  # fmt: skip

    def halved_by(self, level: float) -> dict[str, int | float | None]:
        """What halves the detectable difference: so many seeds, or times as many people or pairs;
        None where no number of them does."""
        goal = self.errors.detectable(level) / 2

        def enough(design: Callable[[int], Noise]) -> int | None:
            return fewest(
                lambda more: design(more).errors.detectable(level), goal, range(1, MOST + 1)
            )

        seeds = None
        if self.training is not None:
            seeds = enough(lambda more: self.planned(seeds=self.seeds + more))
        tenths = {
            "people": enough(lambda more: self.planned(people=1 + more / 10)),
            "pairs": enough(lambda more: self.planned(pairs=1 + more / 10)),
        }
        times = {name: None if n is None else 1 + n / 10 for name, n in tenths.items()}
        return {"seeds": None if seeds is None else self.seeds + seeds, **times}
