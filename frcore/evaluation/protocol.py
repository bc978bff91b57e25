"""From a benchmark and embeddings to scored pairs: who is compared, and who was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.config import Evaluation
from frcore.data.prepared import Prepared
from frcore.errors import UserError
from frcore.evaluation.checks import BoolArray, IntArray
from frcore.evaluation.templates import normalise, pool_templates, score_pairs, score_rows


@dataclass(frozen=True)
class ScoredPairs:
    """All pairs of a benchmark in its order (P,).

    Attributes:
        scores: cosines, float32.
        same: True for genuine pairs.
        fold: LFW-style fold; 0 for templates.
        tested: True for pairs that count, False for those that only choose the threshold.
        identity_a, identity_b: codes of people; equal for every run on the benchmark.
        seen_a, seen_b: True where that person is in the training set.
    """

    scores: NDArray[np.float32]
    same: BoolArray
    fold: IntArray
    tested: BoolArray
    identity_a: IntArray
    identity_b: IntArray
    seen_a: BoolArray
    seen_b: BoolArray

    @property
    def unseen(self) -> BoolArray:
        """True where neither person is in the training set (P,)."""
        return ~(self.seen_a | self.seen_b)

    def take(self, mask: BoolArray) -> ScoredPairs:
        """The pairs where `mask` (P,) is True."""
        return ScoredPairs(**{name: column[mask] for name, column in vars(self).items()})


@dataclass(frozen=True)
class Overlap:
    """How many of the benchmark's people and pairs the training set has, by people's names."""

    people: int
    seen_people: int
    pairs: int
    seen_pairs: int


def rows_needed(benchmark: Prepared) -> IntArray:
    """The image rows that the benchmark's protocol uses, ascending and without repeats."""
    if benchmark.manifest.protocol == "templates":
        return np.unique(benchmark.templates["image"].to_numpy(np.int64))
    if benchmark.manifest.protocol == "pairs":
        return np.unique(benchmark.pairs[["a", "b"]].to_numpy(np.int64))
    raise UserError(
        f"{benchmark.folder} is a data set of protocol '{benchmark.manifest.protocol}'; evaluation "
        "needs one of protocol 'pairs' or 'templates'"
    )


def people_are_known(benchmark: Prepared, train: Prepared) -> bool:
    """Whether names can tell which people of the benchmark are in the training set."""
    return benchmark.manifest.people == train.manifest.people == "named"


def seen_images(benchmark: Prepared, train: Prepared) -> BoolArray:
    """True for images of people in the training set, under their given or true name (N,)."""
    trained = set(train.index["identity"]) | set(train.index["true_identity"])
    index = benchmark.index
    return (index["identity"].isin(trained) | index["true_identity"].isin(trained)).to_numpy(bool)


def score_benchmark(
    benchmark: Prepared,
    embeddings: NDArray[np.float32],
    rows: IntArray,
    seen: BoolArray,
    evaluation: Evaluation,
) -> ScoredPairs:
    """Score every pair of the benchmark by cosine.

    Args:
        benchmark: of protocol `pairs` or `templates`.
        embeddings: of the images `rows` (R, D), not normalised.
        rows: ascending image rows (R,), at least those of `rows_needed`.
        seen: `seen_images` (N,).
        evaluation: how templates are pooled.
    """
    if benchmark.manifest.protocol == "templates":
        return _score_templates(benchmark, embeddings, rows, seen, evaluation)
    return _score_images(benchmark, embeddings, rows, seen)


def _person_codes(index: pd.DataFrame) -> IntArray:
    """A code for the person on each image (N,): the rank of the name among the benchmark's."""
    return np.unique(index["identity"].to_numpy(str), return_inverse=True)[1].astype(np.int64)


def _score_images(
    benchmark: Prepared, embeddings: NDArray[np.float32], rows: IntArray, seen: BoolArray
) -> ScoredPairs:
    pairs = benchmark.pairs
    a, b = pairs["a"].to_numpy(np.int64), pairs["b"].to_numpy(np.int64)
    person = _person_codes(benchmark.index)
    scores = score_rows(normalise(embeddings), np.searchsorted(rows, a), np.searchsorted(rows, b))
    return ScoredPairs(
        scores=scores,
        same=pairs["same"].to_numpy(bool),
        fold=pairs["fold"].to_numpy(np.int64),
        tested=(pairs["split"] == "test").to_numpy(bool),
        identity_a=person[a],
        identity_b=person[b],
        seen_a=seen[a],
        seen_b=seen[b],
    )


def _score_templates(
    benchmark: Prepared,
    embeddings: NDArray[np.float32],
    rows: IntArray,
    seen: BoolArray,
    evaluation: Evaluation,
) -> ScoredPairs:
    table, pairs = benchmark.templates, benchmark.template_pairs
    image = table["image"].to_numpy(np.int64)
    template = table["template"].to_numpy(np.int64)
    pooled = pool_templates(
        embeddings[np.searchsorted(rows, image)],
        template,
        table["medium"].to_numpy(np.int64),
        pooling=evaluation.pooling,
    )
    row_of_image = np.searchsorted(pooled.ids, template)
    person = _people_of_templates(table, row_of_image, pooled.ids)
    seen_template = np.zeros(pooled.ids.size, dtype=np.bool_)
    np.logical_or.at(seen_template, row_of_image, seen[image])
    a, b = pairs["a"].to_numpy(np.int64), pairs["b"].to_numpy(np.int64)
    scores = score_pairs(pooled, a, b)
    row_a, row_b = np.searchsorted(pooled.ids, a), np.searchsorted(pooled.ids, b)
    return ScoredPairs(
        scores=scores,
        same=pairs["same"].to_numpy(bool),
        fold=np.zeros(len(pairs), dtype=np.int64),
        tested=np.ones(len(pairs), dtype=np.bool_),
        identity_a=person[row_a],
        identity_b=person[row_b],
        seen_a=seen_template[row_a],
        seen_b=seen_template[row_b],
    )


def _people_of_templates(table: pd.DataFrame, row: IntArray, ids: IntArray) -> IntArray:
    """The person of each template (T,); all its images must show the same one."""
    codes = np.unique(table["identity"].to_numpy(str), return_inverse=True)[1].astype(np.int64)
    person = np.empty(ids.size, dtype=np.int64)
    person[row] = codes
    mixed = np.flatnonzero(person[row] != codes)
    if mixed.size:
        names = sorted(set(table.loc[row == row[mixed[0]], "identity"]))
        raise UserError(
            f"template {ids[row[mixed[0]]]} has images of {' and '.join(names)}; a template shows "
            "one person: correct templates.parquet"
        )
    return person


def overlap_with_training(pairs: ScoredPairs) -> Overlap:
    """Count the people and pairs, of those that are given, that training has seen."""
    people = np.concatenate([pairs.identity_a, pairs.identity_b])
    seen = np.concatenate([pairs.seen_a, pairs.seen_b])
    return Overlap(
        people=np.unique(people).size,
        seen_people=np.unique(people[seen]).size,
        pairs=pairs.scores.size,
        seen_pairs=int((~pairs.unseen).sum()),
    )
