"""A study with a benchmark of one kind of pair, from the files to the page and a comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from frcore.comparison.compare import compare
from frcore.evaluation.judge import accuracy_rows, tar_rows
from frcore.evaluation.protocol import ScoredPairs
from frcore.reporting.report import report
from frcore.results.rows import collect
from frcore.study import expansion
from tests.comparison.making import spec_of
from tests.reporting.tree import Tree, make_study


@dataclass
class OneSided(Tree):
    """The pairs are all genuine (or all impostor); the templates are as ever."""

    genuine: bool = True

    def evaluate(self, name: str, benchmark: str) -> None:
        super().evaluate(name, benchmark)
        if benchmark != "pairs":
            return
        path = self.root / f"evaluation/{name}/pairs.json"
        with np.load(path.with_suffix(".npz")) as archive:
            arrays = {key: one[archive["same"] == self.genuine] for key, one in archive.items()}
        nobody = np.zeros(arrays["same"].size, bool)
        pairs = ScoredPairs(
            scores=arrays["scores"], same=arrays["same"], fold=arrays["fold"], tested=~nobody,
            identity_a=arrays["identity_a"], identity_b=arrays["identity_b"], seen_a=nobody,
            seen_b=nobody,
        )  # fmt: skip
        record = json.loads(path.read_text())
        record["rows"] = accuracy_rows(pairs, "all").rows + tar_rows(pairs, "all", [0.01])
        path.write_text(json.dumps(record))
        np.savez(path.with_suffix(".npz"), **arrays | {"threshold": np.full(nobody.size, np.nan)})


@pytest.mark.slow
@pytest.mark.parametrize(("genuine", "reason"), [(True, "no impostor pairs"),
                                                 (False, "no genuine pairs")])  # fmt: skip
def test_every_output_says_why_there_is_no_number(tmp_path, genuine, reason):
    study = make_study(samplers=["full"])
    OneSided(study, tmp_path, genuine=genuine).everything()
    page = report(study, tmp_path, processes=1).read_text(encoding="utf-8")
    assert f"pairs: accuracy: no value, {reason}" in page
    for name in ("accuracy.md", "accuracy.tex", "accuracy.csv"):
        assert reason in (tmp_path / "tables" / name).read_text(encoding="utf-8")
    rows = collect(study, tmp_path).evaluation
    own = rows[rows["benchmark"] == "pairs"]
    assert len(own) == 2 * len(expansion.runs(study))
    assert own["value"].isna().all()
    assert own["note"].str.startswith(reason).all()
    found = compare(spec_of(study, candidate="arcface", baseline="softmax"), tmp_path)
    assert {number.key for number in found.numbers} == {"templates.tar.0.1"}
    assert any(f"pairs: accuracy: no value, {reason}" in note for note in found.notes)
