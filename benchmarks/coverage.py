"""How often intervals hold the truth, in simulated repetitions of whole evaluations.

    python -m benchmarks.coverage --repetitions 200           # print the table
    python -m benchmarks.coverage --repetitions 200 --write   # and write CSV and docs/evaluation.md
    python -m benchmarks.coverage --docs                      # the page again, from the CSV

Each repetition draws people, their images and two trainings of two methods, scores the pairs of a
benchmark's own list (that of the study `heads`, LFW's form, and one near 100 %) and asks the
evaluation for its intervals: of one run (test people), of the mean over seeds, and of the paired
difference of the two methods. An identity is a random direction, an image its direction plus noise,
and some people's noise is larger than others'; a seed scales the noise and adds its own. So pairs
that share people have alike scores. Truth: half a million people, four impostor pairs of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats
from scipy.interpolate import CubicSpline, RegularGridInterpolator

from frcore.data.synthetic.pairing import verification_pairs
from frcore.data.synthetic.sets import _template_pairs
from frcore.evaluation.false_accepts import MIN_FALSE_ACCEPTS
from frcore.evaluation.intervals.estimates import Estimate
from frcore.evaluation.intervals.influences import Accuracy, Metric, TarAt
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import verification_accuracy
from frcore.files import atomic_file, write_text
from frcore.machine import parallel
from frcore.reporting.docs.reference import markers, with_block
from frcore.study.data import SyntheticPairs, SyntheticTemplates

Array = NDArray[Any]

ROOT = Path(__file__).resolve().parent.parent
CSV, PAGE = ROOT / "results/reference/cpu/coverage.csv", ROOT / "docs/evaluation.md"

COUNTS = (1, 2, 3, 6, 10, 12, 30, 60, 120)
"""False accepts that are allowed."""

DIM = 16
HARDER = 0.3
"""Standard deviation, over people, of the logarithm of their noise."""
SHARED = 0.5
"""Share of the noise's variance that is the image's own; the rest is that of a training."""
SEED = 0.05
"""Standard deviation, over seeds, of the logarithm of all noise."""
WORSE = 1.08
"""The second method's noise over that of the first."""
SEEDS = 2

THRESHOLDS = np.linspace(-0.5, 1, 3001)
"""At which the true accuracy is known."""


@dataclass(frozen=True)
class Design:
    """A benchmark: its list of pairs, and how hard it is.

    Attributes:
        name, about: for the table.
        pairs: with the columns a, b (images), same and, where accuracy is asked for, fold.
        images: of each person; the images of person i are i · images and those that follow.
        noise: of the first method, over the length of an identity's direction.
        counts: false accepts allowed.
    """

    name: str
    about: str
    pairs: pd.DataFrame
    images: int
    noise: float
    counts: tuple[int, ...] = COUNTS

    @cached_property
    def same(self) -> Array:
        """True for genuine pairs (P,)."""
        return self.pairs["same"].to_numpy()

    @cached_property
    def sides(self) -> tuple[Array, Array]:
        """The person on each side (P,)."""
        return tuple(self.pairs[side].to_numpy() // self.images for side in ("a", "b"))  # type: ignore[return-value]

    @property
    def people(self) -> int:
        """How many."""
        return 1 + max(int(side.max()) for side in self.sides)

    @property
    def impostors(self) -> int:
        """How many impostor pairs."""
        return int((~self.same).sum())

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Number -> metric."""
        fold = {"accuracy": Accuracy(self.pairs["fold"].to_numpy())} if "fold" in self.pairs else {}
        return {**fold, **{f"TAR, k = {k}": TarAt(k / self.impostors) for k in self.counts}}


def designs() -> list[Design]:
    """The benchmarks of `config/heads.yaml`, one of LFW's form, and an easy one of few people."""
    quick = SyntheticPairs(kind="synthetic_pairs", identities=120, images=7, pairs=1200)
    sparse = SyntheticPairs(kind="synthetic_pairs", identities=1500, images=3, pairs=3000)
    every_two = SyntheticTemplates(
        kind="synthetic_templates", identities=100, images=1, impostor_pairs=10_000
    )
    few = SyntheticTemplates(
        kind="synthetic_templates", identities=40, images=1, impostor_pairs=2000
    )
    return [
        Design("pairs", "as in the study heads", verification_pairs(quick), 7, 0.9),
        Design("templates", "as in the study heads", _template_pairs(every_two), 2, 0.8),
        Design(
            "sparse",
            "as LFW: few pairs a person",
            verification_pairs(sparse),
            3,
            0.9,
            (1, 3, 10, 30, 120),
        ),
        Design("easy", "few people, TAR near 100 %", _template_pairs(few), 2, 0.45, (12, 60)),
    ]


def embed(
    rng: np.random.Generator, direction_ID: Array, harder_I: Array, shared_ND: Array, noise: float
) -> Array:
    """Unit embeddings (N, D) of a training: the images of each person follow one another."""
    images = len(shared_ND) // len(direction_ID)
    own = rng.standard_normal(shared_ND.shape, np.float32)
    added = np.sqrt(SHARED) * shared_ND + np.sqrt(1 - SHARED) * own
    added *= (noise * np.repeat(harder_I, images))[:, None] / np.float32(np.sqrt(DIM))
    vectors = np.repeat(direction_ID, images, axis=0) + added
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def draw_people(rng: np.random.Generator, people: int) -> tuple[Array, Array]:
    """Directions (I, D) of identities, and how much harder than others each is (I,)."""
    direction = rng.standard_normal((people, DIM), np.float32)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction, np.exp(HARDER * rng.standard_normal(people, np.float32))


@dataclass
class Truth:
    """Expected numbers of a design over all people there could be, at any noise.

    Args:
        design: which.
        people: that are drawn for it.
    """

    design: Design
    people: int = 500_000
    _curves: dict[str, CubicSpline] = field(default_factory=dict, init=False)
    _accuracy: RegularGridInterpolator = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(1)
        spread = np.log(WORSE) + 4 * SEED
        at = np.log(self.design.noise) + np.linspace(-4 * SEED, spread, 9)
        found = [self._numbers(rng, float(noise)) for noise in np.exp(at)]
        for name in self.design.metrics:
            self._curves[name] = CubicSpline(at, [numbers[name] for numbers, _ in found])
        right = np.stack([accuracy for _, accuracy in found])
        self._accuracy = RegularGridInterpolator((at, THRESHOLDS), right)

    def _numbers(self, rng: np.random.Generator, noise: float) -> tuple[dict[str, float], Array]:
        """TAR of each number, and the accuracy at each of `THRESHOLDS`."""
        genuine, impostor = (np.sort(np.concatenate(part)) for part in zip(
            *self._scores(rng, noise), strict=True))  # fmt: skip
        found = {}
        for name, metric in self.design.metrics.items():
            if isinstance(metric, TarAt):
                barred = impostor[-1 - int(metric.far * impostor.size)]
                found[name] = 1 - np.searchsorted(genuine, barred, side="right") / genuine.size
        right = 1 - np.searchsorted(genuine, THRESHOLDS) / genuine.size
        right += np.searchsorted(impostor, THRESHOLDS) / impostor.size
        return found | {"accuracy": right.max() / 2}, right / 2

    def _scores(self, rng: np.random.Generator, noise: float) -> Iterator[tuple[Array, Array]]:
        for _ in range(max(self.people // 250_000, 1)):
            people = draw_people(rng, min(self.people, 250_000))
            nothing = np.zeros((2 * len(people[0]), DIM), np.float32)
            # Images have no part in common here, so all of the noise is drawn as the training's.
            a, b = embed(rng, *people, nothing, noise / np.sqrt(1 - SHARED)).reshape(
                -1, 2, DIM).swapaxes(0, 1)  # fmt: skip
            impostors = [np.einsum("nd,nd->n", a, np.roll(b, n, axis=0)) for n in range(1, 5)]
            yield np.einsum("nd,nd->n", a, b), np.concatenate(impostors)

    def at(self, number: str, noise: float) -> float:
        """Of one training."""
        return float(self._curves[number](np.log(noise)))

    def cost_of_choosing(self, ranked: Ranked, noise: float) -> float:
        """What accuracy over all people loses by thresholds that were chosen on the other folds."""
        fold = self.design.pairs["fold"].to_numpy()
        chosen = verification_accuracy(ranked.scores, ranked.same, fold).thresholds
        points = np.column_stack([np.full(chosen.size, np.log(noise)), chosen])
        return self.at("accuracy", noise) - float(self._accuracy(points).mean())

    def over_seeds(self, number: str, noise: float) -> float:
        """Of the mean over all seeds there could be."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(7)
        values = self._curves[number](np.log(noise) + SEED * nodes)
        return float(values @ weights / weights.sum())


def repetition(
    design: Design, truth: Truth, number: int, names: Sequence[str], seeds: int
) -> Iterator[dict[str, Any]]:
    """Every interval of one repetition, with the truth that it should hold.

    Args:
        design: the benchmark.
        truth: of it.
        number: of the repetition; equal numbers give equal people.
        names: the numbers asked for.
        seeds: trainings of each method; with one there is one run alone.
    """
    rng = np.random.default_rng([2, number])
    people = draw_people(rng, design.people)
    shared = rng.standard_normal((design.people * design.images, DIM), np.float32)
    noises = {
        f"{method} {seed}": design.noise * worse * float(np.exp(SEED * rng.standard_normal()))
        for method, worse in (("A", 1.0), ("B", WORSE))[: 1 + (seeds > 1)]
        for seed in range(seeds)
    }
    a, b = (design.pairs[side].to_numpy() for side in ("a", "b"))
    scores = {}
    for run, noise in noises.items():
        vectors = embed(rng, *people, shared, noise)
        scores[run] = Ranked(np.einsum("pd,pd->p", vectors[a], vectors[b]), design.same)
    first, second = ([run for run in scores if run.startswith(method)] for method in "AB")
    pairs = people_of_pairs(design.same, *design.sides)
    for name in names:
        costs = dict.fromkeys(scores, 0.0)
        if name == "accuracy":
            costs = {run: truth.cost_of_choosing(scores[run], noises[run]) for run in scores}
        metrics = dict.fromkeys(scores, design.metrics[name])
        alone = intervals_of_pairs({"A 0": scores["A 0"]}, pairs, metrics=metrics, refuse_few=False)
        true_one = truth.at(name, noises["A 0"])
        yield _row(name, "one run", alone.mean(["A 0"]), true_one, costs["A 0"])
        if seeds > 1:
            shared = intervals_of_pairs(
                scores, pairs, metrics=metrics, groups=[first, second], refuse_few=False
            )
            true = [truth.over_seeds(name, design.noise * worse) for worse in (1.0, WORSE)]
            cost = [float(np.mean([costs[run] for run in runs])) for runs in (first, second)]
            yield _row(name, "mean over seeds", shared.mean(first), true[0], cost[0])
            difference = shared.difference(first, second)
            yield _row(name, "difference", difference, true[0] - true[1], cost[0] - cost[1])


def _row(number: str, kind: str, estimate: Estimate, truth: float, cost: float) -> dict[str, Any]:
    return {"number": number, "kind": kind, "value": estimate.value, "low": estimate.low,
            "high": estimate.high, "truth": truth, "cost": cost}  # fmt: skip


def coverage(
    design: Design, repetitions: int,
    names: Sequence[str] | None = None, seeds: int = SEEDS, truth_people: int = 500_000,
) -> pd.DataFrame:  # fmt: skip
    """One row for each number and kind of interval: how often the truth was in it.

    Args:
        design: the benchmark.
        repetitions: of the whole.
        names: the numbers; all of the design if not given.
        seeds: trainings of each method; with one there is one run alone.
        truth_people: drawn to know the truth.
    """
    numbers = range(repetitions)
    return summary(design, simulated(design, numbers, names, seeds, truth_people))


def simulated(
    design: Design, numbers: Sequence[int],
    names: Sequence[str] | None = None, seeds: int = SEEDS, truth_people: int = 500_000,
) -> pd.DataFrame:  # fmt: skip
    """Every interval of the repetitions `numbers`; see `coverage`."""
    truth, names = Truth(design, truth_people), list(design.metrics) if names is None else names
    rows = [row for number in numbers for row in repetition(design, truth, number, names, seeds)]
    return pd.DataFrame(rows)


def summary(design: Design, rows: pd.DataFrame) -> pd.DataFrame:
    """How often the truth was in each kind of interval.

    A threshold chosen on the other folds is not the best there is for all people. What that costs
    is a part of the procedure and no error of the interval, so the true accuracy is the best one
    less the mean cost over the repetitions.
    """
    groups = rows.groupby(["number", "kind"], sort=False)
    return pd.DataFrame([_summary(design, *key, part) for key, part in groups])


def _summary(design: Design, number: str, kind: str, part: pd.DataFrame) -> dict[str, Any]:
    truth = part["truth"] - part["cost"].mean()
    too_high, too_low = int((part["low"] > truth).sum()), int((part["high"] < truth).sum())
    held, metric = len(part) - too_high - too_low, design.metrics[number]
    interval = stats.binomtest(held, len(part)).proportion_ci(method="wilson")
    count = round(metric.far * design.impostors) if isinstance(metric, TarAt) else None
    return {
        "design": design.name, "about": design.about, "people": design.people,
        "genuine": int(design.same.sum()), "impostors": design.impostors, "number": number,
        "false_accepts": count, "given": count is None or count >= MIN_FALSE_ACCEPTS,
        "kind": kind, "repetitions": len(part), "held": held, "held_low": interval.low,
        "held_high": interval.high, "too_high": too_high, "too_low": too_low,
        "truth": truth.mean(), "bias": (part["value"] - truth).mean(),
        "width": (part["high"] - part["low"]).mean(),
    }  # fmt: skip


KINDS = {"one run": "one run", "mean over seeds": f"mean of {SEEDS} seeds",
         "difference": "difference"}  # fmt: skip


def as_markdown(frame: pd.DataFrame) -> str:
    """The table of the page: each number of each benchmark, with its three kinds of interval."""
    lines = []
    for _, own in frame.groupby("design", sort=False):
        first = own.iloc[0]
        lines += [
            f"**{first['design']}** ({first['about']}): {first['people']:,} people, "
            f"{first['genuine']:,} genuine and {first['impostors']:,} impostor pairs",
            "",
            "| number | "
            + " | ".join(f"{kind}: held" for kind in KINDS.values())
            + " | one run: too high, too low | mean width | bias | interval given |",
            "| --- |" + " ---: |" * (len(KINDS) + 3) + " --- |",
        ]
        lines += [_line(part.set_index("kind")) for _, part in own.groupby("number", sort=False)]
        lines.append("")
    count = int(frame["repetitions"].iloc[0])
    return "\n".join([
        f"{count} repetitions; in brackets the 95 % interval (Wilson) of the share that held the "
        "truth; width and bias in points.", "", *lines])  # fmt: skip


def _line(part: pd.DataFrame) -> str:
    one = part.loc["one run"]
    shares = [_share(part.loc[kind]) for kind in KINDS]
    sides = ", ".join(f"{100 * one[side] / one['repetitions']:.1f} %"
                      for side in ("too_high", "too_low"))  # fmt: skip
    bias = f"{100 * one['bias']:+.2f}".replace("-", "−")
    width = f"{100 * one['width']:.1f}"
    cells = [one["number"], *shares, sides, width, bias, "yes" if one["given"] else "no"]
    return f"| {' | '.join(cells)} |"


def _share(row: pd.Series) -> str:
    held = 100 * row["held"] / row["repetitions"]
    return f"{held:.1f} % [{100 * row['held_low']:.0f}, {100 * row['held_high']:.0f}]"


def _all(repetitions: int, processes: int) -> pd.DataFrame:
    """`coverage` of all designs, in several processes."""
    chosen = designs()
    parts = max(1, processes // len(chosen))
    jobs = {
        (place, part): partial(simulated, one, range(part, repetitions, parts))
        for place, one in enumerate(chosen)
        for part in range(parts)
    }
    rows = parallel.compute(jobs, processes)
    return pd.concat(
        [
            summary(one, pd.concat([rows[place, part] for part in range(parts)]))
            for place, one in enumerate(chosen)
        ],
        ignore_index=True,
    )


@dataclass(frozen=True)
class Simulation:
    """A table of simulations that is kept as a CSV file and shown on a page of the docs.

    Attributes:
        name: of the page's markers.
        csv, page: the files.
        as_markdown: the table, from the frame of the CSV.
        run: the frame, from the numbers of repetitions and of processes.
    """

    name: str
    csv: Path
    page: Path
    as_markdown: Callable[[pd.DataFrame], str]
    run: Callable[[int, int], pd.DataFrame]

    def block(self, frame: pd.DataFrame) -> str:
        """The Markdown between the page's markers."""
        begin, end = markers(self.name)
        return f"{begin}\n\n{self.as_markdown(frame)}\n{end}"

    def command(self, description: str | None, repetitions: int) -> None:
        """Simulate, print, and write if asked to; `repetitions` by default."""
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawTextHelpFormatter
        )
        parser.add_argument("--repetitions", type=int, default=repetitions)
        parser.add_argument("--processes", type=int, default=parallel.available_cores())
        parser.add_argument("--write", action="store_true", help="write the CSV and the page")
        parser.add_argument("--docs", action="store_true", help="write the page from the CSV")
        given = parser.parse_args()
        if given.docs:
            frame = pd.read_csv(self.csv)
        else:
            frame = self.run(given.repetitions, given.processes)
            Console().print(self.as_markdown(frame), markup=False, soft_wrap=True)
        if given.write:
            with atomic_file(self.csv) as path:
                frame.to_csv(path, index=False, lineterminator="\n", float_format="%.6g")
        if given.write or given.docs:
            page = with_block(self.page.read_text(encoding="utf-8"), self.block(frame), self.name)
            write_text(self.page, page)


SIMULATION = Simulation("coverage", CSV, PAGE, as_markdown, _all)


if __name__ == "__main__":
    SIMULATION.command(__doc__, 200)
