"""The power that `frcore power` tells: of a study's results, of any folder's, or of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

import pandas as pd

from frcore.errors import UserError
from frcore.results.columns import Columns, chosen
from frcore.results.kept import read_evaluation
from frcore.results.power import Power, powers
from frcore.results.rows import Rows, collect
from frcore.results.scores import Scores
from frcore.study.config import Study


@dataclass(frozen=True)
class Design:
    """What would be otherwise; None: as in the results.

    Attributes:
        methods: that are compared.
        seeds: of each.
        people: in the test set, with as many pairs each.
        pairs: times as many of each person.
    """

    methods: int | None = None
    seeds: int | None = None
    people: int | None = None
    pairs: float | None = None


def powers_of(
    study: Study | None, root: Path | None, pilot: Path | None, metrics: Sequence[str],
    asked: Design,
) -> list[Power]:  # fmt: skip
    """What can be seen in the numbers that are asked for.

    Args:
        study: whose results, or whose plan.
        root: its results; without a study, of any.
        pilot: results of another study, or rows kept of one, instead of results of its own.
        metrics: numbers, such as `pairs.accuracy`, or `all`; empty: the main ones.
        asked: what would be otherwise.

    Raises:
        UserError: there is nothing to learn from, or a number does not exist.
    """
    place = pilot or root
    if place is None:
        raise UserError(
            "neither --study nor --root was given; give --study config/X.yaml, or --root "
            "results/NAME for the results of any study"
        )
    if pilot is None and study is not None:
        rows, benchmarks = collect(study, place), [*study.benchmarks]
        if rows.usable("evaluation").empty:
            raise UserError(
                f"'{place}' has no finished evaluation, and the power of a plan is unknown without "
                "one: it depends on how far seeds and test people spread. Run a part of the study, "
                "or name another one with the same benchmarks: --pilot results/NAME"
            )
    else:
        frame = read_evaluation(place)
        rows = Rows(frame, pd.DataFrame(), pd.DataFrame(), pd.DataFrame())
        benchmarks = list(dict.fromkeys(frame["benchmark"]))
    known = Columns(rows.usable("evaluation"), benchmarks)
    every = known.counting()
    main = [column for column in known.primary if column in every]
    columns = chosen(every, metrics, every=every, main=main, where="--metric")
    found = powers(Scores(place, rows), columns)
    if not found:
        raise UserError(
            f"'{place}' has no number of two methods with scores, or with kept standard errors and "
            "two seeds; give the results of a study that compares methods"
        )
    if pilot is not None and study is not None:
        parts = product(study.backbones, study.heads, study.samplers)
        methods = len(list(parts)) or len(study.models)
        seeds = asked.seeds or (len(study.seeds) if study.trains else None)
        asked = Design(methods, seeds, asked.people, asked.pairs)
    plan = {part.name: getattr(asked, part.name) for part in fields(asked)}
    return [one.planned(**plan) for one in found]
