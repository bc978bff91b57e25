import pandas as pd
import pytest

from frcore.reporting import outputs
from frcore.reporting.report import report
from tests.reporting.tree import Tree, make_study


@pytest.mark.slow
def test_a_study_that_never_ran_has_a_report(tmp_path):
    study = make_study(measurement=None)
    page = report(study, tmp_path / "toy").read_text(encoding="utf-8")
    assert all(path.is_file() for path in outputs.paths(tmp_path / "toy").values())
    assert "No benchmark has results yet." in page
    assert "0 of 8 training runs" in page
    assert "not measured" in page


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(tmp_path):
    """In another process, and in several at once."""
    study = make_study(heads=["arcface", "softmax"], samplers=["full"])
    Tree(study, tmp_path).everything()
    report(study, tmp_path)
    first = {path: path.read_bytes() for path in outputs.paths(tmp_path).values()}
    report(study, tmp_path, processes=3)
    assert {path: path.read_bytes() for path in outputs.paths(tmp_path).values()} == first


@pytest.mark.slow
def test_a_hundred_runs_fit_one_page(tmp_path):
    # How long it takes is measured in benchmarks/bench_report.py.
    heads = ["softmax", "normface", "cosface", "arcface", "adacos"]
    study = make_study(
        heads=heads, seeds=list(range(10)), evaluation={"flip": "none", "bootstrap": 1000}
    )
    Tree(study, tmp_path, pairs=1000).everything()
    page = report(study, tmp_path)
    assert page.stat().st_size < 10e6
    training = pd.read_parquet(tmp_path / "rows" / "training.parquet")
    assert len(training) == 100
