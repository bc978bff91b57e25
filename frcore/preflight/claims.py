"""What is wrong with a study's claims: methods, numbers and published rows that do not exist."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from frcore.errors import UserError, or_rather, unknown_name
from frcore.evaluation.false_accepts import (
    PAIR_FARS,
    fars_of_pairs,
    lowest_far,
    why_no_interval,
)
from frcore.study.claims import Claim, Quantity, Test, methods_of
from frcore.study.config import Study
from frcore.study.data import Benchmark, SyntheticVerification

SEARCHES = ("rank.1", "rank.5", "tpir.0.01", "tpir.0.1")


def claim_problems(study: Study) -> list[str]:
    """Every mistake in `claims`, each with its key."""
    found = []
    for name, claim in study.claims.items():
        where = f"claims.{name}"
        found += [f"{where}.{problem}" for problem in _published(claim)]
        if claim.test is not None:
            found += [f"{where}.test.{problem}" for problem in _test(study, claim.test)]
    return found


def parts_of(study: Study) -> dict[str, tuple[str, ...]]:
    """The labels of a study's backbones, heads and samplers."""
    return {kind: tuple(part.label for part in getattr(study, kind))
            for kind in ("backbones", "heads", "samplers")}  # fmt: skip


def _test(study: Study, test: Test) -> Iterator[str]:
    parts = parts_of(study)
    if not study.trains:
        yield "number: the study trains none of the methods that claims are about; remove it"
        return
    for kind, labels in parts.items():
        for label in getattr(test, kind):
            if label not in labels:
                yield str(unknown_name(kind[:-1], label, labels, where=kind))
    sides: list[set[tuple[str, str, str]]] = []
    for key in ("better", "higher", "lower", "same", "than", "doses", "of"):
        names = getattr(test, key)
        for name in names:
            if problem := _method(name, test, parts):
                yield f"{key}: {problem}"
        if names:
            sides.append({method for name in names for method in methods_of(name, test, parts)})
    if len(sides) == 2 and (both := sides[0] & sides[1]):
        yield f"than: {'-'.join(min(both))} is on both sides; a difference needs two methods"
    doses = [methods_of(name, test, parts) for name in test.doses]
    if len({frozenset(one) for one in doses}) < len(doses):
        yield "doses: two doses are the same methods; name them as head-sampler"
    if problem := _quantity(study, test.number):
        yield f"number: {problem}"


def _method(name: str, test: Test, parts: Mapping[str, tuple[str, ...]]) -> str:
    kinds = [kind for kind in parts if name in parts[kind]]
    if len(kinds) > 1:
        return (f"'{name}' is the label of one of the {' and of the '.join(kinds)}; write "
                "head-sampler, or give one of them another label")  # fmt: skip
    if methods_of(name, test, parts):
        return ""
    allowed = [*parts["heads"], *parts["samplers"]]
    if "-" in name:
        allowed = [f"{head}-{sampler}" for head in parts["heads"] for sampler in parts["samplers"]]
    elif kinds:
        return f"'{name}' is not among the heads, samplers and backbones that the test restricts"
    return str(unknown_name("method", name, allowed))


def _quantity(study: Study, on: Quantity) -> str:
    if on.metric is not None:
        return _metric(study, on.metric)
    if on.measured is not None:
        return _measured(study, on)
    if on.drift is not None:
        return _drift(study, on)
    epochs = study.training.epochs if study.training is not None else 0
    if isinstance(on.epoch, int) and on.epoch > epochs:
        return f"epoch {on.epoch} given, but the training has {epochs}"
    return ""


def _drift(study: Study, on: Quantity) -> str:
    given = study.training.drift if study.training is not None else None
    if given is None:
        return f"{on.title}: it is not recorded; add training.drift"
    for name, allowed in (("age", given.ages), ("start", given.starts)):
        if getattr(on, name) not in allowed:
            there = ", ".join(f"{one:g}" for one in allowed)
            return f"{name} {getattr(on, name):g} is not recorded; training.drift has {there}"
    return ""


def _measured(study: Study, on: Quantity) -> str:
    given = study.measurement
    if given is None:
        return f"{on.title}: the study has no `measurement`; add it"
    points = {given.identities_of(one, processes): processes
              for processes in given.processes for one in given.identities
              if processes == on.processes}  # fmt: skip
    if on.identities in points:
        return ""
    there = ", ".join(f"{one:,}" for one in points) or f"none in {on.processes} processes"
    return f"{on.identities:,} identities are not measured; allowed: {there}"


def _metric(study: Study, key: str) -> str:
    names = [name for name in study.benchmarks if key.startswith(f"{name}.")]
    if not names:
        return str(unknown_name("benchmark", key.partition(".")[0], study.benchmarks))
    name = max(names, key=len)
    metric = key.removeprefix(f"{name}.")
    data = study.benchmarks[name]
    known = _known(study, data)
    whole = metric.removesuffix(".unseen")
    far = _far(whole)
    if known is not None and whole not in known:
        return f"'{metric}' is not a number of {name}{or_rather(metric, known)}"
    if known is None and far is None and whole not in ("accuracy", *SEARCHES):
        return (f"'{metric}' is not a number of {name}. Allowed: accuracy, tar.FAR such as "
                f"tar.0.001, {', '.join(SEARCHES)}")  # fmt: skip
    if isinstance(data, SyntheticVerification) and far is not None:
        few = why_no_interval(far, data.pairs)
        if few:
            lowest = lowest_far(data.pairs, fars_of_pairs(data.pairs, PAIR_FARS))
            known_one = "" if lowest is None else f"; the lowest FAR with one is {lowest:g}"
            return f"{few}{known_one}: give more pairs"
    return ""


def _far(metric: str) -> float | None:
    try:
        return float(metric.removeprefix("tar.")) if metric.startswith("tar.") else None
    except ValueError:
        return None


def _known(study: Study, data: Benchmark) -> list[str] | None:
    """The numbers of a benchmark, where they are known before it is prepared."""
    fars = getattr(data, "fars", None)
    if isinstance(data, SyntheticVerification):
        fars = fars_of_pairs(data.pairs, PAIR_FARS)
    if fars is None:
        return None
    tars = [f"tar.{far:g}" for far in fars]
    if isinstance(data, SyntheticVerification):
        return ["accuracy", *tars] + ["accuracy_insightface"] * study.evaluation.insightface
    return [*tars, *SEARCHES]


@cache
def _rows() -> list[dict[str, str]]:
    with files("frcore.reporting").joinpath("published.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def published_rows(asked: Mapping[str, str]) -> list[dict[str, str]]:
    """The rows of published.csv with these values; it has only figures that were seen.

    Raises:
        UserError: a column does not exist, or no row has the values.
    """
    rows = _rows()
    for column, value in asked.items():
        if column not in rows[0]:
            raise unknown_name("column", column, rows[0])
        kept = [row for row in rows if row[column] == value]
        if not kept:
            there = dict.fromkeys(row[column] for row in rows if row[column])
            raise UserError(
                f"{column}: no row has '{value}'{or_rather(value, list(there)[:20])}, …; figures "
                "that nobody saw at their source are not in frcore/reporting/published.csv"
            )
        rows = kept
    return rows


def _published(claim: Claim) -> Iterator[str]:
    for index, asked in enumerate(claim.published):
        try:
            if not asked:
                yield f"published[{index}]: is empty; give columns and values, such as paper"
            published_rows(asked)
        except UserError as error:
            yield f"published[{index}]: {error}"
