import json

import numpy as np
import pytest

from frcore.evaluation.intervals.estimates import Intervals
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import Accuracy, TarAt, intervals_of_pairs
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Column, Method, Summary
from frcore.study import expansion
from tests.reporting.made import Made
from tests.reporting.tree import Tree, make_study

ACCURACY = Column("pairs", "accuracy", None, "all")
TAR = Column("templates", "tar", 0.1, "all")
FEW = Column("templates", "tar", 0.01, "all")
BAR = Column("templates", "tar", 0.0001, "all")


def arrays(made: Made, run: str, benchmark: str) -> dict[str, np.ndarray]:
    with np.load(made.root / f"evaluation/{run}/{benchmark}.npz") as archive:
        return dict(archive)


def values(made: Made, head: str, sampler: str, column: Column) -> list[float]:
    found = []
    for seed in made.study.seeds:
        path = made.root / f"evaluation/tiny-{head}-{sampler}-s{seed}/{column.benchmark}.json"
        for row in json.loads(path.read_text())["rows"]:
            if row["metric"] == column.metric and row["far"] == column.far:
                found.append(row["value"])
    return found


def test_columns_are_the_metrics_of_the_files_in_order(summary: Summary):
    assert [column.key for column in summary.columns] == [
        "pairs.accuracy", "templates.tar.0.1", "templates.tar.0.01", "templates.tar.0.0001"
    ]  # fmt: skip
    assert summary.main_columns() == [ACCURACY, TAR]


@pytest.mark.parametrize("column", [ACCURACY, TAR])
@pytest.mark.parametrize("head", ["arcface", "softmax"])
@pytest.mark.parametrize("sampler", ["full", "partial_fc"])
def test_a_cell_is_the_mean_over_seeds(complete: Made, summary: Summary, column, head, sampler):
    number = summary.cell(Method("tiny", head, sampler), column)
    assert number.value == np.mean(values(complete, head, sampler, column))
    assert number.seeds == (0, 1)
    assert number.low < number.value < number.high
    assert number.n == (400 if column is ACCURACY else 200)


def test_a_far_that_cannot_be_resolved_has_no_number(summary: Summary):
    number = summary.cell(Method("tiny", "arcface", "full"), BAR)
    assert number.value is None
    assert number.why == "200 impostor pairs cannot resolve a FAR of 0.0001"


def test_a_far_of_few_false_accepts_has_a_number_and_no_interval_mark_or_verdict(
    complete: Made, summary: Summary
):
    """200 impostor pairs at FAR 0.01 are two false accepts."""
    why = "FAR 0.01 allows 2 false accepts of 200 impostor pairs, too few for an interval"
    for method in summary.methods:
        number = summary.cell(method, FEW)
        assert number.value == np.mean(values(complete, method.head, method.sampler, FEW))
        assert (number.low, number.high, number.se_test) == (None, None, None)
        assert number.why.startswith(why)
        assert summary.marked(method, FEW) == ""
    assert {one.verdict for one in summary.differences(FEW)[1:]} == {"not compared"}
    assert FEW not in summary.main_columns()
    frame = complete.rows.evaluation
    assert frame[FEW.rows_in(frame)]["low"].isna().all()
    assert frame[TAR.rows_in(frame)]["low"].notna().all()


def test_one_seed_does_not_take_the_interval_of_an_earlier_version(tmp_path):
    """The rows of the files have one; without scores it would stand in."""
    study = make_study(seeds=[0])
    tree = Tree(study, tmp_path).everything()
    for path in tmp_path.glob("evaluation/*/*.npz"):
        path.unlink()
    rows = Made(study, tree.root).rows
    summary = Summary(study, rows, Scores(tree.root, rows))
    method = Method("tiny", "arcface", "full")
    assert summary.cell(method, FEW).low is None
    assert summary.cell(method, TAR).low is not None


def judged(one: dict[str, np.ndarray], column: Column) -> np.ndarray:
    """Scores; for accuracy less the threshold that each pair was judged with."""
    scores = one["scores"].astype(float)
    return scores if column.metric == "tar" else scores - one["threshold"]


def intervals(made: Made, column: Column) -> Intervals:
    """The evaluation's own, over the files of all runs."""
    runs = {run: arrays(made, run, column.benchmark) for run in expansion.runs(made.study)}
    first = next(iter(runs.values()))
    metric = TarAt(0.1) if column is TAR else Accuracy(first["fold"], 0.0)
    methods = {run.rpartition("-")[0] for run in runs}
    return intervals_of_pairs(
        {run: judged(one, column) for run, one in runs.items()},
        people_of_pairs(first["same"], first["identity_a"], first["identity_b"]),
        metrics=dict.fromkeys(runs, metric),
        groups=[[f"{method}-s0", f"{method}-s1"] for method in methods],
    )  # fmt: skip


def seeds_of(method: Method) -> list[str]:
    return [f"tiny-{method.head}-{method.sampler}-s{seed}" for seed in (0, 1)]


def test_the_differences_of_a_column_hold_together_at_95_percent(summary: Summary):
    assert summary.comparison_level(ACCURACY) == pytest.approx(1 - 0.05 / 3)


@pytest.mark.parametrize("column", [ACCURACY, TAR])
def test_intervals_and_marks_are_those_of_the_evaluation(complete, summary, column):
    expected = intervals(complete, column)
    means = {method: expected.mean(seeds_of(method)) for method in summary.methods}
    of_files = {m: np.mean(values(complete, m.head, m.sampler, column)) for m in means}
    best = max(of_files, key=lambda method: of_files[method])
    for method, mean in means.items():
        number = summary.cell(method, column)
        assert (number.low, number.high) == pytest.approx((mean.low, mean.high))
        # Three methods are compared with the best.
        difference = expected.difference(seeds_of(best), seeds_of(method), level=1 - 0.05 / 3)
        mark = "best" if method == best else "" if difference.excludes(0) else "tied"
        assert summary.marked(method, column) == mark


def test_a_head_that_is_far_worse_is_told_apart_and_its_twin_is_not(summary: Summary):
    marks = {(m.head, m.sampler): summary.marked(m, ACCURACY) for m in summary.methods}
    assert {marks["softmax", "full"], marks["softmax", "partial_fc"]} == {""}
    assert {marks["arcface", "full"], marks["arcface", "partial_fc"]} == {"best", "tied"}


def test_identical_scores_are_not_told_apart(tmp_path):
    study = make_study(seeds=[0], samplers=["full"])
    tree = Tree(study, tmp_path).everything()
    one, other = (tmp_path / f"evaluation/tiny-{head}-full-s0" for head in ("arcface", "softmax"))
    (other / "pairs.npz").write_bytes((one / "pairs.npz").read_bytes())
    theirs = json.loads((other / "pairs.json").read_text())
    theirs["rows"] = json.loads((one / "pairs.json").read_text())["rows"]
    (other / "pairs.json").write_text(json.dumps(theirs))
    made = Made(study, tree.root)
    summary = Summary(study, made.rows, Scores(tree.root, made.rows))
    assert [d.verdict for d in summary.differences(ACCURACY)] == ["best", "not told apart"]


def test_without_scores_nothing_is_claimed(tmp_path):
    study = make_study(samplers=["full"])
    tree = Tree(study, tmp_path).everything()
    for path in tmp_path.glob("evaluation/*/*.npz"):
        path.unlink()
    made = Made(study, tree.root)
    summary = Summary(study, made.rows, Scores(tree.root, made.rows))
    number = summary.cell(Method("tiny", "arcface", "full"), ACCURACY)
    assert (number.low, number.high) == (None, None)
    assert [d.verdict for d in summary.differences(ACCURACY)] == ["best", "not compared"]


def test_scores_that_do_not_give_the_printed_number_are_not_used(tmp_path):
    study = make_study(seeds=[0], samplers=["full"])
    tree = Tree(study, tmp_path).everything()
    path = tmp_path / "evaluation/tiny-arcface-full-s0/pairs.json"
    record = json.loads(path.read_text())
    record["rows"][0]["value"] = 0.123
    path.write_text(json.dumps(record))
    made = Made(study, tree.root)
    summary = Summary(study, made.rows, Scores(tree.root, made.rows))
    number = summary.cell(Method("tiny", "arcface", "full"), ACCURACY)
    # The interval of the file itself stands in.
    assert (number.value, number.method) == (0.123, "test")
    assert [d.verdict for d in summary.differences(ACCURACY)] == ["best", "not compared"]


def test_only_seeds_in_common_are_compared(tmp_path):
    study = make_study(samplers=["full"], seeds=[0, 1, 2])
    tree = Tree(study, tmp_path, skill={"arcface": 0.5, "softmax": 0.2}).everything()
    tree.fail("tiny-softmax-full-s1")
    made = Made(study, tree.root)
    summary = Summary(study, made.rows, Scores(tree.root, made.rows))
    [_, other] = summary.differences(ACCURACY)
    assert other.seeds == (0, 2)
    assert other.verdict == "lower"
    assert summary.cell(other.method, ACCURACY).seeds == (0, 2)


def test_nothing_is_marked_where_nothing_was_compared(tmp_path):
    """A metric without scores behind it has values and no differences: no best, and no worse."""
    tree = Tree(make_study(), tmp_path).everything()
    for path in (tmp_path / "evaluation").glob("*/pairs.json"):
        record = json.loads(path.read_text())
        (accuracy,) = (row for row in record["rows"] if row["metric"] == "accuracy")
        theirs = {**accuracy, "metric": "accuracy_insightface", "low": None, "high": None}
        record["rows"].append(theirs)
        path.write_text(json.dumps(record))
    rows = collect(tree.study, tmp_path)
    summary = Summary(tree.study, rows, Scores(tmp_path, rows))
    column = Column("pairs", "accuracy_insightface", None, "all")
    assert column in summary.columns
    assert column.title == "pairs: accuracy by InsightFace's rule"
    assert summary.has_numbers(column)
    assert {summary.marked(method, column) for method in summary.methods} == {""}
    assert "best" in {summary.marked(method, ACCURACY) for method in summary.methods}
