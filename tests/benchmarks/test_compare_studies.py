"""Two studies compared: values, pairing, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.compare_studies import compare
from frcore.errors import UserError
from frcore.results.rows import collect, write_rows
from tests.reporting.tree import Tree, make_study

SKILL = {"arcface": 0.5, "softmax": 0.05}


def written(root, skill=SKILL, **changes):
    study = make_study(**changes)
    Tree(study, root, skill=skill).everything()
    write_rows(collect(study, root), root)
    return root


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return written(tmp_path_factory.mktemp("first") / "toy")


@pytest.mark.slow
def test_a_study_does_not_differ_from_itself(first):
    frame = compare(first, first)
    # Of the templates' FARs 1e-4 has no value, and 1e-2 two false accepts, too few to compare.
    assert len(frame) == 4 * 2
    assert (frame["seeds"] == 2).all()
    assert (frame["difference"] == 0).all()
    assert (frame["between_studies"] == 0).all()
    # No replicate differs: the interval is Wilson's and not of width zero.
    assert (frame["low"] < 0).all()
    assert (frame["high"] > 0).all()
    assert (frame["between_seeds"] > 0).any()


@pytest.mark.slow
def test_differences_are_those_of_the_rows_paired_by_seed(first, tmp_path):
    worse = written(tmp_path / "worse", skill={"arcface": 0.05, "softmax": 0.05})
    frame = compare(first, worse)
    rows = [pd.read_csv(root / "rows/evaluation.csv") for root in (first, worse)]
    for _, found in frame.iterrows():
        chosen = [
            [
                row["value"]
                for seed in (0, 1)
                for _, row in side.iterrows()
                if (row["run"], row["benchmark"], row["metric"])
                == (
                    f"tiny-{found['head']}-{found['sampler']}-s{seed}",
                    found["benchmark"],
                    found["metric"],
                )
                and (np.isnan(found["far"]) or row["far"] == found["far"])
            ]
            for side in rows
        ]
        gaps = np.subtract(*chosen)
        assert found["difference"] == pytest.approx(gaps.mean())
        assert found["between_studies"] == pytest.approx(np.sqrt((gaps**2).mean()))
        if found["head"] == "arcface" and found["metric"] == "accuracy":
            assert found["low"] > 0
        assert found["low"] <= found["difference"] <= found["high"]


@pytest.mark.slow
def test_nothing_in_common_and_other_pairs_are_refused(first, tmp_path):
    other = written(tmp_path / "other", seeds=[7])
    with pytest.raises(UserError, match="no number in common"):
        compare(first, other)
    moved = written(tmp_path / "moved")
    for path in moved.glob("evaluation/*/pairs.npz"):
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        np.savez(path, **arrays | {"identity_a": arrays["identity_a"] + 1})
    with pytest.raises(UserError, match="different pairs of 'pairs'"):
        compare(first, moved)
