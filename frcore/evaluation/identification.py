"""1:N identification: every probe is searched for among the people enrolled in a gallery.

Definitions follow NIST (FRVT Part 2, NIST IR 8271): a search is *mated* if the probe's person is
enrolled. FPIR(T) is the share of non-mated searches with a candidate of score ≥ T, FNIR(1, T) the
share of mated searches whose mate is not the first candidate or scores below T; TPIR = 1 − FNIR.
Closed set: rank-k is the share of mated searches whose mate is among the first k candidates; over
all k that is the cumulative match characteristic (CMC).

IJB-B and IJB-C have two galleries without a person in common and one list of probes (Maze et al.,
"IARPA Janus Benchmark – C", 2018, 4.3): a probe mated in one gallery is a non-mated search of the
other, and both numbers are means over the galleries. InsightFace's older `ijb_1n.py` joins the
galleries and takes thresholds from mated searches, so its numbers are not comparable; its newer
`ijb_evals.py` (`evaluation_1N`) does the same as here, but for rules that differ by one search.

A candidate is a person: if several of their templates are enrolled, the highest score counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, FloatArray, IntArray
from frcore.evaluation.metrics import TarAtFar, allowed_false_accepts
from frcore.evaluation.protocol import (
    PooledTemplates,
    ScoredPairs,
    pooled_templates,
    score_images,
    score_templates,
)
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.templates import rows_of_templates
from frcore.study.parts import Evaluation

BELOW_ALL = np.float32(-2.0)
"""The score of a mated search whose mate is not ranked first: below any cosine, never accepted."""

BLOCK = 512
"""Probes per block: 14 MiB of scores at IJB-C's size."""


@dataclass(frozen=True)
class Searches:
    """The results of searching one gallery, for each probe (Q,).

    Attributes:
        person: the person in the probe.
        mated: True where that person is enrolled.
        mate: the person's score; `BELOW_ALL` where not mated.
        other: the highest score of another person.
        rank: of the mate, from 1, ties counted against it; 0 where not mated.
    """

    person: IntArray
    mated: BoolArray
    mate: NDArray[np.float32]
    other: NDArray[np.float32]
    rank: NDArray[np.int32]

    def take(self, mask: BoolArray) -> Searches:
        """The searches where `mask` (Q,) is True."""
        return Searches(**{name: column[mask] for name, column in vars(self).items()})

    def scores(self) -> tuple[NDArray[np.float32], BoolArray]:
        """Scores (Q,) and labels for `tar_at_far`: TPIR at FPIR is its TAR at FAR.

        A mated search counts with its mate's score if the mate is ranked first, a non-mated one
        with the score of its first candidate.
        """
        first = self.mated & (self.rank == 1)
        scores = np.where(self.mated, np.where(first, self.mate, BELOW_ALL), self.other)
        return scores.astype(np.float32), self.mated


def search(
    gallery: FloatArray,
    gallery_person: ArrayLike,
    probes: FloatArray,
    probe_person: ArrayLike,
    *,
    block: int = BLOCK,
) -> Searches:
    """Search every probe in a gallery, by cosine.

    Args:
        gallery: unit vectors of the enrolled templates (G, D).
        gallery_person: the person in each (G,), integers; at least two people.
        probes: unit vectors (Q, D).
        probe_person: the person in each (Q,), the same codes.
        block: probes per block; the result does not depend on it.

    Raises:
        UserError: mismatched shapes, no probes, or fewer than two people enrolled.

    >>> enrolled = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> found = search(enrolled, [1, 2], np.array([[0.6, 0.8], [0.8, 0.6]]), [1, 3])
    >>> found.rank.tolist(), found.mated.tolist(), found.other.round(1).tolist()
    ([2, 0], [True, False], [0.800000011920929, 0.800000011920929])
    """
    enrolled, wanted = _people(gallery, gallery_person), _people(probes, probe_person)
    order = np.argsort(enrolled, kind="stable")
    people, starts = np.unique(enrolled[order], return_index=True)
    if people.size < 2:
        raise UserError(
            f"the gallery has {people.size} people; a search needs at least two to choose from"
        )
    place = np.minimum(np.searchsorted(people, wanted), people.size - 1)
    mated = people[place] == wanted
    sorted_gallery = gallery[order].astype(np.float64)
    mate, other = (np.full(wanted.size, BELOW_ALL) for _ in range(2))
    rank = np.zeros(wanted.size, dtype=np.int32)
    for start in range(0, wanted.size, block):
        part = slice(start, start + block)
        products = (probes[part].astype(np.float64) @ sorted_gallery.T).astype(np.float32)
        # One candidate per person: the highest score of that person's templates.
        scores = (
            products
            if starts.size == enrolled.size
            else np.maximum.reduceat(products, starts, axis=1)
        )
        rows = np.flatnonzero(mated[part])
        mate[start + rows] = scores[rows, place[start + rows]]
        scores[rows, place[start + rows]] = BELOW_ALL
        other[part] = scores.max(axis=1)
        better = (scores[rows] >= mate[start + rows, None]).sum(axis=1)
        rank[start + rows] = 1 + better
    return Searches(wanted, mated, mate, other, rank)


def _people(vectors: FloatArray, given: ArrayLike) -> IntArray:
    person = np.asarray(given)
    if vectors.ndim != 2 or not vectors.size or person.shape != (len(vectors),):
        raise UserError(
            f"vectors have shape {vectors.shape} and people {person.shape}; give unit vectors "
            "(N, D), at least one, and one person each"
        )
    return person.astype(np.int64)


def rank_share(searches: Searches, rank: int) -> float:
    """The share of mated searches whose mate is among the first `rank` candidates.

    Raises:
        UserError: no search is mated, or a rank below 1.
    """
    return float(cmc(searches, rank)[-1])


def cmc(searches: Searches, largest: int) -> NDArray[np.float64]:
    """The cumulative match characteristic: `rank_share` for the ranks 1 to `largest`.

    Raises:
        UserError: as `rank_share`.
    """
    if largest < 1:
        raise UserError(f"rank {largest}; the first candidate has rank 1")
    ranks = searches.rank[searches.mated]
    if not ranks.size:
        raise UserError(
            "no probe's person is enrolled, so no search is mated; check that galleries and probes "
            "belong to one protocol"
        )
    found = np.bincount(np.minimum(ranks, largest + 1), minlength=largest + 2)
    return np.cumsum(found[1 : largest + 1]) / ranks.size


def tpir_at_fpir(searches: Searches, fpir: float) -> TarAtFar:
    """TPIR at an FPIR, by `tar_at_far`'s conservative rule: the requested FPIR is not exceeded
    in this sample.

    In the result `tar` is the TPIR, `far` the FPIR achieved, `impostors` the non-mated searches.

    Raises:
        UserError: no mated or no non-mated search, or an FPIR outside (0, 1).
        UnresolvableFAR: fewer than 1/FPIR non-mated searches.
    """
    refuse_fpir(searches, fpir)
    return Ranked(*searches.scores()).tar_at_fars([fpir])[0]


def refuse_fpir(searches: Searches, fpir: float) -> None:
    """Raise the errors of `tpir_at_fpir` if the searches cannot resolve an FPIR."""
    if not 0 < fpir < 1:
        raise UserError(f"FPIR {fpir} is out of range; give one between 0 and 1, e.g. 0.01")
    others = int((~searches.mated).sum())
    if not others or others == searches.mated.size:
        kind = "non-mated" if not others else "mated"
        raise UserError(
            f"none of {searches.mated.size} searches is {kind}; an open-set search needs probes of "
            "enrolled people and of people who are not enrolled"
        )
    allowed_false_accepts(fpir, others, rate="FPIR", unit="non-mated searches")


@dataclass(frozen=True)
class FoundProbes:
    """The searches of all galleries.

    Attributes:
        galleries: gallery number -> the searches of all probes (Q,).
        seen: True where the probe's person is in the training set (Q,).
    """

    galleries: dict[int, Searches]
    seen: BoolArray

    def unseen(self) -> FoundProbes | None:
        """Without probes of people who were in training; None if there are none of those."""
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
    """Score every pair of the benchmark, and search if it has galleries; see `pooled_templates`."""
    if benchmark.manifest.protocol != "templates":
        return score_images(benchmark, embeddings, rows, seen), None
    pooled = pooled_templates(benchmark, embeddings, rows, seen, evaluation)
    return score_templates(benchmark, pooled), search_benchmark(benchmark, pooled)


def search_benchmark(benchmark: Prepared, pooled: PooledTemplates) -> FoundProbes | None:
    """Search every probe in every gallery; None where the benchmark has no search.

    Raises:
        UserError: a template without images, or one that is both enrolled and a probe.
    """
    if not benchmark.has_search:
        return None
    enrolled, probes = benchmark.galleries, benchmark.probes
    both = np.intersect1d(enrolled["template"], probes["template"])
    if both.size:
        raise UserError(
            f"{both.size} templates are both enrolled and probes, such as {both[0]}; they would "
            "match themselves: correct galleries.parquet or probes.parquet"
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


def stored_arrays(found: FoundProbes) -> dict[str, NDArray[np.generic]]:
    """The arrays that intervals over seeds and between methods need, for the `.npz` of scores."""
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
