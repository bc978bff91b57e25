"""1:N numbers in the report: means over galleries, with intervals from the stored searches."""

from __future__ import annotations

import json

import numpy as np
import pytest

from frcore.evaluation.identification import FoundProbes, Searches, stored_arrays
from frcore.evaluation.intervals.uncertainty import RankShare, TpirAt, intervals_of_searches
from frcore.evaluation.judge import search_rows
from frcore.reporting.tables.accuracy import SPREAD, accuracy_table
from frcore.reporting.tables.overview import overview_columns, overview_table
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Column, Method, Summary
from tests.reporting.tree import Tree, make_study

RANK = Column("templates", "rank", None, "all", rank=1)
TPIR = Column("templates", "tpir", None, "all", fpir=0.1)
PROBES = np.repeat(np.arange(40), 6)


def drawn(seed: int, skill: float) -> FoundProbes:
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    galleries = {}
    for number in (1, 2):
        mated = number - 1 == PROBES % 2
        hard = shared.normal(0, 0.1, PROBES.size)
        mate = (skill + hard + own.normal(0, 0.1, PROBES.size)).astype(np.float32)
        other = own.normal(0.2, 0.1, PROBES.size).astype(np.float32)
        rank = np.where(mated, 1 + (other >= mate), 0)
        galleries[number] = Searches(PROBES, mated, mate, other, rank)
    return FoundProbes(galleries, np.zeros(PROBES.size, bool))


@pytest.fixture
def searched(tmp_path):
    """Two heads, two seeds, each with a search beside its pairs of templates."""
    study = make_study(samplers=["full"])
    tree = Tree(study, tmp_path).everything()
    found = {}
    for head, skill in (("arcface", 0.5), ("softmax", 0.4)):
        for seed in study.seeds:
            run = f"tiny-{head}-full-s{seed}"
            found[run] = drawn(seed + sum(head.encode()), skill)
            path = tmp_path / f"evaluation/{run}/templates.json"
            record = json.loads(path.read_text())
            record["rows"] += search_rows(found[run], "all")
            path.write_text(json.dumps(record))
            with np.load(path.with_suffix(".npz")) as archive:
                arrays = dict(archive)
            np.savez(path.with_suffix(".npz"), **arrays, **stored_arrays(found[run]))
    rows = collect(study, tree.root)
    return Summary(study, rows, Scores(tree.root, rows)), found


@pytest.mark.slow
def test_the_table_has_the_mean_over_galleries(searched):
    summary, _ = searched
    table = accuracy_table(summary)
    named = [heading.text for heading in table.headings]
    for text in ("rank-1", "rank-5", "TPIR at FPIR 0.1"):
        assert sum(f"{text} [%]" == name for name in named) == 1
    assert summary.main_columns()[-1].metric == "tar"
    assert overview_columns(summary) == [*summary.primary(), RANK]
    rows = summary.rows.usable("evaluation")
    assert sorted(rows["gallery"].dropna().unique()) == [1, 2]


@pytest.mark.parametrize(("column", "metric"), [(RANK, RankShare(1)), (TPIR, TpirAt(0.1))])
def test_intervals_and_differences_are_those_of_the_stored_searches(searched, column, metric):
    summary, found = searched
    searches = {run: list(one.galleries.values()) for run, one in found.items()}
    groups = [[f"tiny-{head}-full-s{seed}" for seed in (0, 1)] for head in ("arcface", "softmax")]
    metrics = dict.fromkeys(searches, metric)
    expected = intervals_of_searches(searches, metrics=metrics, groups=groups)
    for head, runs in zip(("arcface", "softmax"), groups, strict=True):
        number = summary.cell(Method("tiny", head, "full"), column)
        estimate = expected.mean(runs)
        assert (number.value, number.low, number.high) == pytest.approx(
            (estimate.value, estimate.low, estimate.high)
        )
        assert (number.se_test, number.se_seed) == pytest.approx(
            (estimate.se_test, estimate.se_seed)
        )
        assert min(number.se_test, number.se_seed) > 0
    best, other = summary.differences(column)
    assert (best.method.head, other.method.head) == ("arcface", "softmax")
    difference = expected.difference(*groups, level=summary.comparison_level(column))
    assert (other.estimate.value, other.estimate.low) == pytest.approx(
        (difference.value, difference.low)
    )


@pytest.mark.slow
def test_where_the_uncertainty_comes_from_stands_in_the_table(searched):
    summary, _ = searched
    table = accuracy_table(summary)
    number = summary.cell(summary.methods[0], TPIR)
    place = [heading.text for heading in table.headings].index("TPIR at FPIR 0.1 [%]")
    text = f"± {100 * number.se_test:.2f} people, {100 * number.se_seed:.2f} seeds"
    assert text in table.rows[0][place].detail
    assert table.data[f"{TPIR.key}.se_test"][0] == number.se_test
    assert table.data[f"{TPIR.key}.se_seed"][0] == number.se_seed
    assert SPREAD in table.notes


@pytest.mark.slow
def test_numbers_without_people_of_the_training_set_are_in_the_first_table(tmp_path):
    study = make_study(samplers=["full"])
    tree = Tree(study, tmp_path).everything()
    for path in tree.root.glob("evaluation/*/pairs.json"):
        record = json.loads(path.read_text())
        [row] = [row | {"subset": "unseen"} for row in record["rows"]]
        record["rows"] += [row, row | {"metric": "tar", "far": 0.1, "n": 90}]
        record["data"] |= {"people": 40, "seen_people": 7, "pairs": 400, "seen_pairs": 250}
        path.write_text(json.dumps(record))
    rows = collect(study, tree.root)
    summary = Summary(study, rows, Scores(tree.root, rows))
    shown = overview_columns(summary)
    assert (
        "pairs, unseen: without the 7 of 40 people who are in the training set, in 250 of 400 "
        "pairs; 90 of the other 150 are genuine, so that one answer to all is right in 60.0%."
    ) in overview_table(summary).notes
    first = [(one.metric, one.subset) for one in shown if one.benchmark == "pairs"]
    assert first[:2] == [("accuracy", "all"), ("accuracy", "unseen")]
    assert {one.subset for one in shown if one.benchmark == "templates"} == {"all"}
