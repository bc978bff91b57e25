"""The claims of a study on its page, in its table, and on the page made from what was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from frcore.errors import UserError
from frcore.reporting.docs.component_docs import reproduction_page
from frcore.reporting.docs.reproduction import kept_claims, read_claims
from frcore.reporting.tables.claims import claims_table
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study.config import Study
from tests.reporting.made import Made

ROOT = Path(__file__).parents[3]
TEST: dict[str, Any] = {
    "number": "pairs.accuracy", "better": ["arcface"], "than": ["softmax"], "samplers": ["full"],
}  # fmt: skip
CLAIMS: dict[str, Any] = {
    "right": {
        "says": "A | b is better.",
        "source": "A paper, Table 1",
        "evidence": "1.5 points",
        "published": [{"paper": "AdaCos", "method": "Fixed AdaCos", "metric": "TPR@FPR=1e-7"}],
        "test": TEST,
    },
    "wrong": {"says": "It is worse.", "source": "Another",
              "test": {**TEST, "better": ["softmax"], "than": ["arcface"]}},
    "elsewhere": {"says": "On faces too.", "source": "A third", "needs": "faces"},
}  # fmt: skip


@pytest.fixture(scope="module")
def claiming(complete: Made) -> Study:
    return Study.model_validate({**complete.study.model_dump(mode="json"), "claims": CLAIMS})


@pytest.fixture(scope="module")
def table(complete: Made, claiming: Study) -> Any:
    rows = collect(claiming, complete.root)
    return claims_table(Summary(claiming, rows, Scores(complete.root, rows)))


def test_the_table(table):
    verdicts = dict(zip(table.data["claim"], table.data["verdict"], strict=True))
    assert verdicts == {"right": "reproduced", "wrong": "not reproduced", "elsewhere": "needs"}
    assert [row[1].text for row in table.rows] == ["reproduced", "not reproduced", "needs faces"]
    published = table.rows[0][4].text
    assert published.startswith("1.5 points; Fixed AdaCos: IJB-C TPR@FPR=1e-7 72.5 %")


def test_no_claims(summary):
    table = claims_table(summary)
    assert (table.rows, table.notes) == ([], ["The study states no claims."])


def test_kept_claims_are_read_back_and_written_as_a_page(table, tmp_path):
    folder = tmp_path / "results/reference/cpu/toy"
    folder.mkdir(parents=True)
    (folder / "claims.csv").write_text(table.csv, encoding="utf-8")
    (tmp_path / "config/papers").mkdir(parents=True)
    (tmp_path / "config/papers/a.yaml").write_text("name: toy\ntitle: A toy\n", encoding="utf-8")
    (kept,) = kept_claims(tmp_path / "results/reference", tmp_path / "config")
    assert [row.model_dump() for row in kept.rows] == [
        {**row, "value": pytest.approx(row["value"])} if row["value"] is not None else row
        for row in (one.model_dump() for one in read_claims(folder / "claims.csv"))
    ]
    (tmp_path / "docs/templates").mkdir(parents=True)
    template = ROOT / "docs/templates/reproduction.md.j2"
    (tmp_path / "docs/templates/reproduction.md.j2").write_text(template.read_text("utf-8"))
    page = reproduction_page(tmp_path / "docs", tmp_path / "results/reference")
    assert "Of 3 claims, 1 is reproduced, 1 is not reproduced and 1 needs what is not here." in page
    assert "snakemake --cores all --configfile config/papers/a.yaml" in page
    assert "A \\| b is better." in page
    assert "2 seeds" in page
    assert "| not reproduced |" in page


def test_a_scale_has_its_command(table, tmp_path):
    (tmp_path / "r/cpu/toy").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    config = tmp_path / "config/a.yaml"
    config.write_text("name: to\nscales: {y: {title: L}}\n", encoding="utf-8")
    for name, command, title in (
        ("gone", "", "gone"),
        ("to_y", "snakemake --cores all --configfile config/a.yaml --config scale=y", "L"),
    ):
        csv = table.csv.replace("toy,", f"{name},")
        (tmp_path / "r/cpu/toy/claims.csv").write_text(csv, encoding="utf-8")
        (kept,) = kept_claims(tmp_path / "r", tmp_path / "config")
        assert (kept.command, kept.title) == (command, title)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "claims.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is not the claims of a study"):
        read_claims(tmp_path / "claims.csv")
