"""The verdicts on a study's claims, from the same intervals as its tables.

A claim is tested on a contrast of methods: the difference of two means, or over doses a trend. Its
interval is, for a metric, that of a paired difference over the same pairs and seeds
(`Intervals.contrast`); for what a training recorded, Student's over seeds, paired by seed; for time
the span of the ratio from the 20th and 80th percentiles (`frcore.comparison.cost`). Intervals of
all claims of a study hold jointly at 95 % (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np

from frcore.preflight.claims import parts_of
from frcore.records.claims import ClaimRow, Verdict
from frcore.results.claim_numbers import CannotTellError, Contrast, Weights, measure, value_of
from frcore.results.column import Method
from frcore.results.summary import Summary, joint_level
from frcore.results.verdicts import Measured, bears_out, takes, verdict
from frcore.study.claims import Claim, Quantity, Test, methods_of


def claim_rows(summary: Summary) -> list[ClaimRow]:
    """One row per claim of the study, in its order."""
    study, parts = summary.study, parts_of(summary.study)
    tests = {name: claim.test for name, claim in study.claims.items() if claim.test is not None}
    found = {name: contrasts(test, parts) for name, test in tests.items()}
    level = joint_level(sum(len(found[name]) for name, test in tests.items()
                            if test.number.has_level))  # fmt: skip
    return [
        _row(summary, name, claim, found.get(name, []), level)
        for name, claim in study.claims.items()
    ]


def contrasts(test: Test, parts: Mapping[str, tuple[str, ...]]) -> list[Contrast]:
    """What a test looks at: one contrast for each pair of names, all of which the claim is about,
    or for each name of `of`; one trend, or with doses that are all the same, one per dose.

    The methods that one name stands for are averaged.
    A trend is linear in the rank of the dose: with k doses the weights are those of
    −(k − 1)/2 … (k − 1)/2, scaled so that it is a mean of the upper doses minus one of the lower.
    """

    def mean(names: Iterable[str], weight: float) -> Weights:
        chosen = list(dict.fromkeys(m for name in names for m in methods_of(name, test, parts)))
        return {Method(*one): weight / len(chosen) for one in chosen}

    if test.of:
        return [Contrast(name, mean([name], 1.0)) for name in test.of]
    if test.doses and test.expect == "same":
        first, *others = test.doses
        return [Contrast(f"{one} − {first}", _sum(mean([one], 1.0), mean([first], -1.0)))
                for one in others]  # fmt: skip
    if test.doses:
        ranks = np.arange(len(test.doses)) - (len(test.doses) - 1) / 2
        scaled = ranks / ranks[ranks > 0].sum()
        means = (mean([one], float(w)) for one, w in zip(test.doses, scaled, strict=True))
        return [Contrast("trend over " + ", ".join(test.doses), _sum(*means))]
    between = " / " if test.number.is_ratio else " − "
    return [Contrast(f"{one}{between}{other}", _sum(mean([one], 1.0), mean([other], -1.0)))
            for one, other in product(test.side[1], test.than)]  # fmt: skip


def _sum(*parts: Weights) -> Weights:
    total: Weights = {}
    for part in parts:
        for method, weight in part.items():
            total[method] = total.get(method, 0.0) + weight
    return {method: weight for method, weight in total.items() if weight}


def _row(
    summary: Summary, name: str, claim: Claim, found: Sequence[Contrast], level: float
) -> ClaimRow:
    row = ClaimRow(study=summary.study.name, claim=name, says=claim.says, source=claim.source,
                   verdict="needs", why=claim.needs)  # fmt: skip
    test = claim.test
    if test is None:
        return row
    methods = list(dict.fromkeys(method for one in found for method in one.weights))
    row = row.but(number=test.number.title, tested=in_words(test), unit=test.number.unit,
                  values=_values(summary, test), **_provenance(summary, methods))  # fmt: skip
    try:
        measured = [measure(summary, test.number, one, level) for one in found]
    except CannotTellError as gap:
        return row.but(verdict="cannot be told", why=str(gap))
    verdicts = [verdict(test, one) for one in measured]
    place, decided = _together(test, measured, verdicts)
    shown = measured[place]
    why = "" if decided != "cannot be told" else takes(test, shown)
    return row.but(
        **{key: _out(test.number, getattr(shown, key)) for key in ("value", "low", "high")},
        level=shown.level, method=shown.method, seeds=shown.seeds, people=shown.people,
        pairs=shown.pairs, verdict=decided, why=why,
        shown=found[place].name,
    )  # fmt: skip


def _together(
    test: Test, measured: Sequence[Measured], verdicts: Sequence[Verdict]
) -> tuple[int, Verdict]:
    """Of several contrasts, which all must bear the claim out: the place of the one that does so
    least, and the verdict on it."""
    order: list[Verdict] = ["not reproduced", "cannot be told", "reproduced"]

    def least(place: int) -> tuple[int, float]:
        return order.index(verdicts[place]), bears_out(test, measured[place])

    place = min(range(len(measured)), key=least)
    return place, verdicts[place]


def _out(on: Quantity, value: float) -> float:
    return math.exp(value) if on.is_ratio else value


# --- in words -------------------------------------------------------------------------------------


def in_words(test: Test) -> str:
    """What is compared and what is expected, in words."""
    unit = {"points": " points", "degrees": "°", "×": " times", "": ""}.get(
        test.number.unit, f" {test.number.unit}"
    )
    only = [label for kind in (test.backbones, test.heads, test.samplers) for label in kind]
    where = f" ({', '.join(only)} only)" if only else ""
    if test.doses:
        expected = "no difference" if test.expect == "same" else test.expect
        text = f"{' → '.join(test.doses)}{where}: {expected}"
    elif test.of:
        name = next(key for key in ("above", "below", "near") if getattr(test, key) is not None)
        text = f"{' and '.join(test.of)}{where} {name} {getattr(test, name):g}{unit}"
    else:
        name, methods = test.side
        word = "as" if name == "same" else "than"
        text = f"{' and '.join(methods)} {name} {word} {' and '.join(test.than)}{where}"
    more = [("smallest", "by more than"), ("negligible", "negligible up to"), ("within", "within")]
    said = [f"{words} {getattr(test, key):g}{unit}" for key, words in more
            if getattr(test, key) is not None]  # fmt: skip
    return "; ".join([text, *said])


def _values(summary: Summary, test: Test) -> str:
    """The number of each name in a test: the mean over its methods and seeds."""
    names = dict.fromkeys([*test.doses, *test.of, *(test.side[1] if test.than else ()), *test.than])
    parts, found = parts_of(summary.study), []
    for name in names:
        values = []
        for one in methods_of(name, test, parts):
            value = value_of(summary, test.number, Method(*one))
            values += [] if value is None else [value]
        if values:
            found.append(f"{name} {_digits(test.number, float(np.mean(values)))}")
    return ", ".join(found)


def _digits(on: Quantity, value: float) -> str:
    return f"{value:.2f}" if on.unit in ("points", "degrees") else f"{value:.4g}"


def _provenance(summary: Summary, methods: Sequence[Method]) -> dict[str, str | None]:
    frame = summary.rows.usable("training")
    own = frame[[any(one) for one in zip(*(m.rows_in(frame) for m in methods), strict=True)]]
    return {name: ", ".join(dict.fromkeys(map(str, own[name].dropna()))) or None
            for name in ("commit", "cpu") if name in own}  # fmt: skip
