"""From a benchmark and embeddings to scored pairs: who is compared, and who was in training."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, IntArray
from frcore.evaluation.scoring import score_rows
from frcore.evaluation.templates import (
    Templates,
    normalise,
    pool_templates,
    rows_of_templates,
)
from frcore.study.parts import Evaluation

Codes = NDArray[np.integer[Any]]
"""Integer codes of people or folds, in the smallest type that holds them."""


@dataclass(frozen=True)
class ScoredPairs:
    """All pairs of a benchmark, in the benchmark's order (P,).

    Attributes:
        scores: cosines, float32.
        same: True for genuine pairs.
        fold: LFW-style fold; 0 for templates.
        tested: True for pairs that are evaluated, False for those that only choose the threshold.
        identity_a, identity_b: codes of people, the same for every run on the benchmark.
        seen_a, seen_b: True where that person is in the training set.
    """

    scores: NDArray[np.float32]
    same: BoolArray
    fold: Codes
    tested: BoolArray
    identity_a: Codes
    identity_b: Codes
    seen_a: BoolArray
    seen_b: BoolArray

    @property
    def unseen(self) -> BoolArray:
        """True where neither person is in the training set (P,)."""
        return ~(self.seen_a | self.seen_b)

    def take(self, mask: BoolArray) -> ScoredPairs:
        """The pairs where `mask` (P,) is True; the same arrays, not copies, if that is all."""
        if mask.all():
            return self
        return ScoredPairs(**{name: column[mask] for name, column in vars(self).items()})


@dataclass(frozen=True)
class Overlap:
    """How many of the benchmark's people and pairs are in the training set, matched by name."""

    people: int
    seen_people: int
    pairs: int
    seen_pairs: int


def rows_needed(benchmark: Prepared) -> IntArray:
    """The image rows that the benchmark's protocol uses, ascending and unique."""
    if benchmark.manifest.protocol == "templates":
        return np.unique(benchmark.column("templates", "image"))
    if benchmark.manifest.protocol == "pairs":
        return np.union1d(*(benchmark.column("pairs", side) for side in ("a", "b")))
    raise UserError(
        f"{benchmark.folder} is a data set with the protocol '{benchmark.manifest.protocol}'; "
        "evaluation needs the protocol 'pairs' or 'templates'"
    )


def people_are_known(benchmark: Prepared, train: Prepared) -> bool:
    """Whether people of the benchmark and of the training set can be matched by name."""
    return benchmark.manifest.people == train.manifest.people == "named"


def seen_images(benchmark: Prepared, train: Prepared) -> BoolArray:
    """True for images of people who are in the training set under their given or true name (N,)."""
    trained = set(train.index["identity"]) | set(train.index["true_identity"])
    index = benchmark.index
    return (index["identity"].isin(trained) | index["true_identity"].isin(trained)).to_numpy(bool)


def _codes(names: pd.Series) -> NDArray[np.int32]:
    """The rank of each name among the distinct names (N,)."""
    return names.factorize(sort=True)[0].astype(np.int32)


def _names(benchmark: Prepared, rows: IntArray) -> Sequence[str]:
    """The names of the images `rows` (R,), for messages."""
    return cast(Sequence[str], benchmark.index["name"].array[rows])


def score_images(
    benchmark: Prepared, embeddings: NDArray[np.floating[Any]], rows: IntArray, seen: BoolArray
) -> ScoredPairs:
    """Score every pair of images of the benchmark; arguments as for `pooled_templates`."""
    unit = normalise(embeddings, names=_names(benchmark, rows))
    sides = [np.searchsorted(rows, benchmark.column("pairs", side)) for side in ("a", "b")]
    person = _codes(benchmark.index["identity"])[rows]
    tested = (benchmark.pairs["split"] == "test").to_numpy(bool)
    fold = benchmark.column("pairs", "fold")
    return _scored(benchmark, "pairs", unit, sides, person, seen[rows], fold, tested)


def _scored(
    benchmark: Prepared, table: str, vectors: NDArray[np.float32], sides: Sequence[Codes],
    person: Codes, seen: BoolArray, fold: Codes, tested: BoolArray,
) -> ScoredPairs:  # fmt: skip
    """The scored pairs of a table; `sides` are rows of `vectors`, `person` and `seen`."""
    a, b = sides
    return ScoredPairs(
        scores=score_rows(vectors, a, b),
        same=benchmark.column(table, "same"),
        fold=fold,
        tested=tested,
        identity_a=person[a],
        identity_b=person[b],
        seen_a=seen[a],
        seen_b=seen[b],
    )


@dataclass(frozen=True)
class PooledTemplates:
    """The templates of a benchmark.

    Attributes:
        templates: unit vectors (T, D) and ids (T,).
        person: code of the person in each (T,), the rank of the name among the benchmark's.
        seen: True where one of its images shows a person of the training set (T,).
    """

    templates: Templates
    person: NDArray[np.int32]
    seen: BoolArray


def pooled_templates(
    benchmark: Prepared,
    embeddings: NDArray[np.floating[Any]],
    rows: IntArray,
    seen: BoolArray,
    evaluation: Evaluation,
) -> PooledTemplates:
    """Pool the templates of a benchmark.

    Args:
        benchmark: with the protocol `templates`.
        embeddings: of the images `rows` (R, D), not normalised.
        rows: ascending image rows (R,), at least those of `rows_needed`.
        seen: `seen_images` (N,).
        evaluation: how templates are pooled.
    """
    image = benchmark.column("templates", "image")
    template = benchmark.column("templates", "template")
    pooled = pool_templates(
        embeddings,
        template,
        benchmark.column("templates", "medium"),
        pooling=evaluation.pooling,
        weights=benchmark.column("templates", "weight") if evaluation.detector_score else None,
        rows=np.searchsorted(rows, image),
        names=_names(benchmark, rows),
    )
    _let_go(embeddings)
    row_of_image = np.searchsorted(pooled.ids, template)
    seen_template = np.zeros(pooled.ids.size, dtype=np.bool_)
    seen_template[row_of_image[seen[image]]] = True
    person = _people_of_templates(benchmark.templates["identity"], row_of_image, pooled.ids)
    return PooledTemplates(pooled, person, seen_template)


def _let_go(embeddings: NDArray[np.floating[Any]]) -> None:
    """Release the cached pages of a memory-mapped embeddings file, which may take a gigabyte."""
    mapped = getattr(embeddings, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def score_templates(benchmark: Prepared, pooled: PooledTemplates) -> ScoredPairs:
    """Score every pair of templates of the benchmark."""
    vectors, ids = pooled.templates
    table, size = "template_pairs", len(benchmark.column("template_pairs", "a"))
    sides = [rows_of_templates(ids, benchmark.column(table, side), side) for side in ("a", "b")]
    fold, tested = np.zeros(size, np.int8), np.ones(size, np.bool_)
    return _scored(benchmark, table, vectors, sides, pooled.person, pooled.seen, fold, tested)


def _people_of_templates(names: pd.Series, row: IntArray, ids: IntArray) -> NDArray[np.int32]:
    """The person of each template (T,); all its images must show the same one."""
    codes = _codes(names)
    person = np.empty(ids.size, dtype=np.int32)
    person[row] = codes
    mixed = np.flatnonzero(person[row] != codes)
    if mixed.size:
        found = sorted(set(names[row == row[mixed[0]]]))
        raise UserError(
            f"template {ids[row[mixed[0]]]} has images of {' and '.join(found)}; a template must "
            "show one person: correct templates.parquet"
        )
    return person


def overlap_with_training(pairs: ScoredPairs) -> Overlap:
    """Count the people and pairs among `pairs` that were seen in training."""
    count = 1 + max(int(side.max(initial=-1)) for side in (pairs.identity_a, pairs.identity_b))
    people, seen = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    for side, trained in ((pairs.identity_a, pairs.seen_a), (pairs.identity_b, pairs.seen_b)):
        people[side] = True
        seen[side[trained]] = True
    return Overlap(
        people=int(people.sum()),
        seen_people=int(seen.sum()),
        pairs=pairs.scores.size,
        seen_pairs=int((~pairs.unseen).sum()),
    )
