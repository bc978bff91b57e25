"""From a benchmark's galleries and probes to the rows of 1:N search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.identification import Searches, search, tpir_at_fpir
from frcore.evaluation.inputs import BoolArray, IntArray
from frcore.evaluation.intervals.estimates import Estimate
from frcore.evaluation.intervals.search_bootstrap import (
    RankShare,
    SearchBootstrap,
    SearchMetric,
    TpirAt,
    few_false_positives,
)
from frcore.evaluation.judge import LEVEL, Row, empty_row, with_estimate
from frcore.evaluation.protocol import (
    PooledTemplates,
    ScoredPairs,
    pooled_templates,
    score_benchmark,
    score_templates,
)
from frcore.evaluation.templates import rows_of_templates
from frcore.study.parts import Evaluation

RANKS = (1, 5)
FPIRS = (0.01, 0.1)
NOTE = (
    "1:N search: a candidate is a person; rank-k is the share of mated searches with the mate "
    "among the first k, TPIR the share with the mate first and at or above the threshold, the "
    "lowest at which the share of this sample's non-mated searches with a candidate (FPIR) is not "
    "above the one asked for. Means over galleries, each with its own threshold; intervals: people "
    "of probes are drawn, the galleries stay."
)
METRICS: tuple[SearchMetric, ...] = (*map(RankShare, RANKS), *map(TpirAt, FPIRS))


@dataclass(frozen=True)
class FoundProbes:
    """The searches of all galleries.

    Attributes:
        galleries: number of the gallery -> the search of every probe (Q,).
        seen: True where the probe's person is in the training set (Q,).
    """

    galleries: dict[int, Searches]
    seen: BoolArray

    def unseen(self) -> FoundProbes | None:
        """Without probes of people that were trained on; None where that is none of them."""
        if not self.seen.any():
            return None
        kept = ~self.seen
        galleries = {number: one.take(kept) for number, one in self.galleries.items()}
        return FoundProbes(galleries, self.seen[kept])


def score_and_search(
    benchmark: Prepared,
    embeddings: NDArray[np.floating[Any]],
    rows: IntArray,
    seen: BoolArray,
    evaluation: Evaluation,
) -> tuple[ScoredPairs, FoundProbes | None]:
    """`score_benchmark`, and `search_benchmark` with the same templates."""
    if benchmark.manifest.protocol != "templates":
        return score_benchmark(benchmark, embeddings, rows, seen, evaluation), None
    pooled = pooled_templates(benchmark, embeddings, rows, seen, evaluation)
    return score_templates(benchmark, pooled), search_benchmark(benchmark, pooled)


def search_benchmark(benchmark: Prepared, pooled: PooledTemplates) -> FoundProbes | None:
    """Search every probe in every gallery; None where the benchmark has no search.

    Raises:
        UserError: a template without images, or one that is enrolled and searched for.
    """
    if not benchmark.has_search:
        return None
    enrolled, probes = benchmark.galleries, benchmark.probes
    both = np.intersect1d(enrolled["template"], probes["template"])
    if both.size:
        raise UserError(
            f"{both.size} templates are enrolled and searched for, such as {both[0]}; they would "
            "find themselves: correct galleries.parquet or probes.parquet"
        )
    vectors, ids = pooled.templates
    names = pd.concat([enrolled["identity"], probes["identity"]], ignore_index=True)
    person = names.factorize(sort=True)[0]
    row = rows_of_templates(ids, enrolled["template"].to_numpy(), "gallery")
    probe = rows_of_templates(ids, probes["template"].to_numpy(), "probe")
    gallery = enrolled["gallery"].to_numpy()
    galleries = {}
    for number in np.unique(gallery):
        part = np.flatnonzero(gallery == number)
        galleries[int(number)] = search(
            vectors[row[part]], person[part], vectors[probe], person[len(enrolled) :]
        )
    return FoundProbes(galleries, pooled.seen[probe])


def all_search_rows(found: FoundProbes | None, replicates: int) -> list[Row]:
    """`search_rows` of all probes and, where people were trained on, of probes without them."""
    if found is None:
        return []
    rows = search_rows(found, "all", replicates)
    unseen = found.unseen()
    return rows + (search_rows(unseen, "unseen", replicates) if unseen else [])


def search_rows(found: FoundProbes, subset: str, replicates: int) -> list[Row]:
    """Rank-k and TPIR at FPIR: the mean over galleries, then each gallery where there are several.

    A number that cannot be had is a row without a value that says why.
    """
    numbers: list[int | None] = [None]
    if len(found.galleries) > 1:
        numbers += list(found.galleries)
    rows = []
    for number in numbers:
        chosen = found.galleries.values() if number is None else [found.galleries[number]]
        rows += _rows(list(chosen), number, subset, replicates)
    return rows


def _rows(
    galleries: Sequence[Searches], number: int | None, subset: str, replicates: int
) -> list[Row]:
    mated = sum(int(one.mated.sum()) for one in galleries)
    others = sum(int((~one.mated).sum()) for one in galleries)
    rows, resolved = [], {}
    for metric in METRICS:
        row = empty_row() | {
            "subset": subset,
            "gallery": number,
            "n": mated,
            "n_unit": "mated searches",
        }
        if isinstance(metric, RankShare):
            row |= {"metric": "rank", "rank": metric.rank}
        else:
            row |= {"metric": "tpir", "fpir": metric.fpir, "impostors": others}
        try:
            row["value"] = float(np.mean([metric.value(one) for one in galleries]))
            if isinstance(metric, TpirAt):
                row |= _operating_point(galleries, metric.fpir)
            resolved[str(metric)] = metric
        except UserError as error:
            row["note"] = str(error)
        rows.append(row)
    estimates = _estimates(galleries, resolved, replicates)
    return [
        with_estimate(row, estimates[str(metric)]) if str(metric) in estimates else row
        for row, metric in zip(rows, METRICS, strict=True)
    ]


def _operating_point(galleries: Sequence[Searches], fpir: float) -> Row:
    """The FPIR achieved, and of a single gallery the threshold too: each has its own."""
    points = [tpir_at_fpir(one, fpir) for one in galleries]
    row: Row = {
        "far_achieved": float(np.mean([point.far for point in points])),
        "false_accepts": sum(point.false_accepts for point in points),
    }
    if len(points) == 1 and math.isfinite(points[0].threshold):
        row["threshold"] = points[0].threshold
    return row


def _estimates(
    galleries: Sequence[Searches], metrics: dict[str, SearchMetric], replicates: int
) -> dict[str, Estimate | UserError]:
    """The interval of each metric, or why there is none; all are drawn together."""
    found: dict[str, Estimate | UserError] = {
        name: UserError(why)
        for name, metric in metrics.items()
        if (why := few_false_positives(galleries, metric))
    }
    drawn = {name: metric for name, metric in metrics.items() if name not in found}
    if not drawn:
        return found
    try:
        bootstrap = SearchBootstrap(
            dict.fromkeys(drawn, galleries), metrics=drawn, replicates=replicates
        )
        return found | {name: bootstrap.mean([name], level=LEVEL) for name in drawn}
    except UserError as error:
        return found | dict.fromkeys(drawn, error)


def stored_arrays(found: FoundProbes) -> dict[str, NDArray[np.generic]]:
    """What intervals over seeds and differences of methods need, for the `.npz` of scores."""
    galleries = found.galleries
    columns = {name: np.concatenate([vars(one)[name] for one in galleries.values()])
               for name in ("person", "mated", "mate", "other", "rank")}  # fmt: skip
    numbers = [np.full(one.mated.size, number, np.int16) for number, one in galleries.items()]
    stored = {f"search_{name}": column for name, column in columns.items()}
    stored["search_person"] = stored["search_person"].astype(np.int32)
    stored["search_gallery"] = np.concatenate(numbers)
    stored["search_unseen"] = np.tile(~found.seen, len(galleries))
    return stored


def searches_of(arrays: dict[str, NDArray[np.generic]], subset: str) -> list[Searches] | None:
    """The searches of each gallery from `stored_arrays`; None where there are none."""
    if "search_gallery" not in arrays:
        return None
    kept = arrays["search_unseen"] if subset == "unseen" else np.True_
    found = []
    for number in np.unique(arrays["search_gallery"]):
        mask = (arrays["search_gallery"] == number) & kept
        names = ("person", "mated", "mate", "other", "rank")
        found.append(Searches(**{name: arrays[f"search_{name}"][mask] for name in names}))
    return found
