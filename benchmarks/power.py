"""How often equal heads are called different, and how often a worse one is found, by simulation.

    python -m benchmarks.power --repetitions 1000           # print the table
    python -m benchmarks.power --repetitions 1000 --write   # and write CSV and docs/power.md
    python -m benchmarks.power --docs                       # the page again, from the CSV

Each repetition is a small study on the "pairs" of `benchmarks.coverage`: heads
under samplers, two seeds each, all judged on the same new people. Two of the heads are compared as
`frcore compare` does, under every sampler and in the mean over samplers, in the two main numbers:
"now" with each method's spread over seeds moderated by that of all, and "before" as until decision
0028: the pooled spread of the two heads alone, the luck of a training with the test people counted
twice, and a family of 24 numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from benchmarks.coverage import DIM, SEED, Design, Simulation, designs, draw_people, embed
from frcore.evaluation.intervals.estimates import Estimate, Intervals
from frcore.evaluation.intervals.influences import Accuracy, Metric
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.seeds import SeedSpread, seed_spread
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import verification_accuracy
from frcore.machine import parallel
from frcore.results.summary import joint_level

ROOT = Path(__file__).resolve().parent.parent
CSV, PAGE = ROOT / "results/reference/cpu/power.csv", ROOT / "docs/power.md"

NUMBERS = ("accuracy", "TAR, k = 12")
BEFORE = joint_level(24)
"""The level at which 24 numbers were judged."""
OTHERS = (0.95, 1.05)
"""Noise of the heads that are not compared, over that of the first."""
SAMPLERS = (1.0, 1.05, 0.98)
"""Noise under each sampler."""
MEAN = "mean over samplers"


@dataclass(frozen=True)
class Scenario:
    """What is true of the heads of a study.

    Attributes:
        name: for the table.
        worse: noise of the second head over that of the first; 1: they are equal.
        spreads: over seeds, as multiples of `benchmarks.coverage.SEED`: of the two heads that are
            compared, and of the others.
        heads, samplers, seeds: how many.
    """

    name: str
    worse: float = 1.0
    spreads: tuple[float, float] = (1.0, 1.0)
    heads: int = 2 + len(OTHERS)
    samplers: int = len(SAMPLERS)
    seeds: int = 2

    @property
    def methods(self) -> int:
        """How many."""
        return self.heads * self.samplers


SCENARIOS = (
    Scenario("equal heads"),
    Scenario("equal heads, alone under one sampler", heads=2, samplers=1),
    Scenario("equal heads, of twice the others' spread", spreads=(2.0, 1.0)),
    Scenario("equal heads, of four times the others' spread", spreads=(4.0, 1.0)),
    Scenario("the same with five seeds", spreads=(4.0, 1.0), seeds=5),
    Scenario("worse by 8 % of noise", worse=1.08),
)


def repetition(scenario: Scenario, design: Design, number: int) -> Iterator[dict[str, Any]]:
    """Every difference of one repetition, as it was and as it is judged."""
    rng = np.random.default_rng([3, number])
    people = draw_people(rng, design.people)
    shared = rng.standard_normal((design.people * design.images, DIM), np.float32)
    a, b = (design.pairs[side].to_numpy() for side in ("a", "b"))
    scores, groups = {}, []
    noises = (1.0, scenario.worse, *OTHERS)[: scenario.heads]
    for head, worse in enumerate(noises):
        spread = SEED * scenario.spreads[head > 1]
        for sampler, factor in enumerate(SAMPLERS[: scenario.samplers]):
            groups.append([f"{head} {sampler} {seed}" for seed in range(scenario.seeds)])
            for run in groups[-1]:
                lucky = float(np.exp(spread * rng.standard_normal()))
                vectors = embed(rng, *people, shared, design.noise * worse * factor * lucky)
                products = np.einsum("pd,pd->p", vectors[a], vectors[b])
                scores[run] = Ranked(products, design.same)
    pairs = people_of_pairs(design.same, *design.sides)
    fold = design.pairs["fold"].to_numpy()
    chosen = {run: verification_accuracy(one.scores, one.same, fold).thresholds[fold]
              for run, one in scores.items()}  # fmt: skip
    above = {run: one.scores - chosen[run] for run, one in scores.items()}
    metric_of: dict[str, Metric] = {"accuracy": Accuracy(fold, 0.0)}
    for name in NUMBERS:
        metrics = dict.fromkeys(scores, metric_of.get(name, design.metrics[name]))
        of = above if name == "accuracy" else scores
        found = intervals_of_pairs(of, pairs, metrics=metrics, groups=groups)
        yield from _judged(scenario, groups, found, name, number)


def _judged(
    scenario: Scenario, groups: Sequence[Sequence[str]], found: Intervals, name: str, number: int
) -> Iterator[dict[str, Any]]:
    count = scenario.samplers
    alone = seed_spread([[found.values[run] for run in group] for group in groups[: 2 * count]])
    assert alone is not None
    sides = [(str(place), groups[place], groups[count + place]) for place in range(count)]
    if count > 1:
        whole = [[run for _, *both in sides for run in both[side]] for side in (0, 1)]
        sides.append((MEAN, *whole))
    level = joint_level(len(NUMBERS) * len(sides))
    for sampler, one, other in sides:
        now = found.difference(one, other, level=level)
        common = {"repetition": number, "number": name, "sampler": sampler, "value": now.value}
        half, seldom = now.errors.half_width(level), number % 20 == 0  # the rest takes long
        yield {**common, "judged": "now", "half": half, "freedom": now.errors.freedom_seeds,
               "detectable": now.errors.detectable(level) if seldom else np.nan}  # fmt: skip
        yield {**common, "judged": "before", "half": _before(alone, now),
               "freedom": alone.freedom, "detectable": np.nan}  # fmt: skip


def _before(alone: SeedSpread, estimate: Estimate) -> float:
    """Half of the interval that the harness gave before decision 0028."""
    upper = (1 + BEFORE) / 2
    people = estimate.se_test * special.stdtrit(estimate.errors.freedom_people, upper)
    deviation = alone.deviation * np.sqrt(2 / len(estimate.per_seed))
    return float(np.hypot(people, deviation * special.stdtrit(alone.freedom, upper)))


def simulated(scenario: Scenario, numbers: Sequence[int]) -> pd.DataFrame:
    """Every difference of the repetitions `numbers`."""
    (design,) = (one for one in designs() if one.name == "pairs")
    return pd.DataFrame([row for n in numbers for row in repetition(scenario, design, n)])


def summary(scenario: Scenario, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One row for each number and way of judging, and one for any number of a repetition."""
    rows = rows.assign(different=rows["value"].abs() > rows["half"])
    named = rows.assign(kind=rows["number"] + np.where(rows["sampler"] == MEAN, f", {MEAN}", ""))
    if scenario.samplers > 1:
        named = named[named["sampler"].isin(["0", MEAN])]
    any_one = rows.groupby(["judged", "repetition"], as_index=False)["different"].any()
    whole = pd.concat([any_one.assign(kind="any of all"), named])
    found = []
    for (kind, judged), part in whole.groupby(["kind", "judged"], sort=False):
        hits, count = int(part["different"].sum()), len(part)
        ends = stats.binomtest(hits, count).proportion_ci(method="wilson")
        found.append({
            "scenario": scenario.name, "methods": scenario.methods, "seeds": scenario.seeds,
            "number": kind, "judged": judged, "repetitions": count, "different": hits,
            "different_low": ends.low, "different_high": ends.high,
            "difference": part["value"].mean(), "deviation": part["value"].std(),
            "half_width": part["half"].median(), "detectable": part["detectable"].median(),
            "freedom": part["freedom"].median(),
        })  # fmt: skip
    return found


def as_markdown(frame: pd.DataFrame) -> str:
    """The table of the page: for each scenario and number, before and now side by side."""
    lines = [
        "In brackets the 95 % interval (Wilson) of the share of repetitions in which the heads "
        "were called different; half widths: medians, in points.", "",
        "| truth | number | repetitions | called different: before | now | half width: before "
        "| now | degrees of freedom |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for (scenario, number), part in frame.groupby(["scenario", "number"], sort=False):
        both = part.set_index("judged")
        before, now = both.loc["before"], both.loc["now"]
        widths = [f"{100 * one['half_width']:.1f}" if pd.notna(one["half_width"]) else "–"
                  for one in (before, now)]  # fmt: skip
        count = f"{int(now['repetitions']):,}"
        freedom = f"{now['freedom']:.1f}" if pd.notna(now["freedom"]) else "–"
        cells = [scenario, number, count, _share(before), _share(now), *widths, freedom]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def _share(row: pd.Series) -> str:
    share = 100 * row["different"] / row["repetitions"]
    return f"{share:.1f} % [{100 * row['different_low']:.1f}, {100 * row['different_high']:.1f}]"


def _all(repetitions: int, processes: int) -> pd.DataFrame:
    jobs = {
        (scenario, part): partial(simulated, scenario, range(part, repetitions, processes))
        for scenario in SCENARIOS
        for part in range(processes)
    }
    rows = parallel.compute(jobs, processes)
    found = []
    for scenario in SCENARIOS:
        own = pd.concat([rows[scenario, part] for part in range(processes)])
        found += summary(scenario, own)
    return pd.DataFrame(found)


SIMULATION = Simulation("power", CSV, PAGE, as_markdown, _all)


if __name__ == "__main__":
    SIMULATION.command(__doc__, 1000)
