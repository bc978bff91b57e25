"""A candidate against a baseline of the same study: same data, samplers, seeds and test pairs.

The interval of a difference is the differences table's (`Summary.paired`): over the test people
that both sides were judged on, and the spread over seeds, moderated by that of both heads under
all samplers and of the further methods whose rows are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from frcore.comparison.spec import ComparisonSpec, Rule
from frcore.comparison.verdict import judged, number_of
from frcore.evaluation.intervals.estimates import Estimate
from frcore.records.comparison import ComparedNumber
from frcore.results.column import Column, Method
from frcore.results.columns import chosen, without_repeats
from frcore.results.summary import Summary, joint_level

MEAN = "mean over samplers"
"""Used in place of a sampler's label; no label contains a space."""

Pair = tuple[Column, Method, Method]


def paired_numbers(spec: ComparisonSpec, summary: Summary) -> list[ComparedNumber]:
    """Candidate minus baseline for every number that counts, with verdicts.

    Args:
        spec: with a baseline.
        summary: of `spec.study`.

    Raises:
        UserError: `rule.metrics` names a number that does not exist.
    """
    groups = [list(pairs) for _, pairs in groupby(_pairs(summary, spec), key=_column_and_backbone)]
    compared = sum(_both(summary, pair) for pairs in groups for pair in pairs)
    compared += sum(_has_mean(summary, pairs) for pairs in groups)
    level, numbers = joint_level(compared), []
    for pairs in groups:
        numbers += [_number(summary, pair, level, spec.rule) for pair in pairs]
        if _has_mean(summary, pairs):
            numbers.append(_mean(summary, pairs, level, spec.rule))
    return numbers


def counting(
    columns: list[Column], rule: Rule, why_unmarked: Callable[[Column], str],
    main: Sequence[Column],
) -> list[Column]:  # fmt: skip
    """The columns that count: those named by the rule, else the main ones that have intervals.

    Args:
        columns: of the study.
        rule: may name some of them, or `all`.
        why_unmarked: why a column has no intervals; "" if it has them.
        main: those that are judged unless others are named.

    Raises:
        UserError: the rule names one that does not exist.
    """
    own = without_repeats(columns)
    every, first = ([c for c in some if not why_unmarked(c)] for some in (own, main))
    return chosen(own, rule.metrics, every=every, main=first, where="metrics")


def _pairs(summary: Summary, spec: ComparisonSpec) -> Iterator[Pair]:
    """What to compare; numbers that neither head has cannot be resolved by the benchmark."""
    for column in counting(summary.columns, spec.rule, summary.why_unmarked, summary.primary()):
        for backbone in spec.study.backbones:
            for sampler in spec.study.samplers:
                candidate, baseline = (
                    Method(backbone.label, str(head), sampler.label)
                    for head in (spec.candidate, spec.baseline)
                )
                if any(summary.cell(side, column).value is not None
                       for side in (candidate, baseline)):  # fmt: skip
                    yield column, candidate, baseline


def _column_and_backbone(pair: Pair) -> tuple[Column, str]:
    return pair[0], pair[1].backbone


def _both(summary: Summary, pair: Pair) -> bool:
    column, *sides = pair
    valued = all(summary.cell(side, column).value is not None for side in sides)
    return valued and not summary.why_unmarked(column)


def _has_mean(summary: Summary, pairs: Sequence[Pair]) -> bool:
    """Whether there are differences under several samplers to average."""
    return len(pairs) > 1 and all(_both(summary, pair) for pair in pairs)


def _number(summary: Summary, pair: Pair, level: float, rule: Rule) -> ComparedNumber:
    column, *sides = pair
    one, other = (summary.cell(side, column) for side in sides)
    seeds = len(one.seeds), len(other.seeds)
    number = number_of(sides[0], column, one.value, other.value, seeds)
    absent = [cell.why for cell in (one, other) if cell.value is None]
    if reasons := [*absent, *filter(None, [summary.why_unmarked(column)])]:
        return number.but(why=reasons[0])
    estimate, common, why = summary.paired(*pair, level=level)
    number = number.but(seeds=(len(common), len(common)), why=why)
    return number if estimate is None else _judged(number, estimate, rule)


def _mean(summary: Summary, pairs: Sequence[Pair], level: float, rule: Rule) -> ComparedNumber:
    """The mean difference over samplers: the most sensitive test of a loss under all of them."""
    column, first, _ = pairs[0]
    cells = [[summary.cell(side, column).value or 0.0 for side in sides] for _, *sides in pairs]
    candidate, baseline = map(float, np.mean(cells, axis=0))
    common = [summary.common_runs(*pair) for pair in pairs]
    fewest = min(len(seeds) for seeds, _, _ in common)
    number = number_of(replace(first, sampler=MEAN), column, candidate, baseline, (fewest, fewest))
    ones = [run for _, runs, _ in common for run in runs]
    others = [run for _, _, runs in common for run in runs]
    estimate = summary.scores.difference(column, ones, others, level=level) if fewest else None
    if estimate is None:
        return number.but(why=summary.scores.why_not(column, [*ones, *others]))
    # The estimate's "seeds" are seeds × samplers here.
    method = f"{estimate.method.replace(' seeds,', ' runs,')} ({MEAN})"
    return _judged(number, replace(estimate, method=method), rule)


def _judged(number: ComparedNumber, found: Estimate, rule: Rule) -> ComparedNumber:
    number = number.but(detectable=found.detectable)
    return judged(number, rule, found.value, found.low, found.high, level=found.level,
                  method=found.method)  # fmt: skip
