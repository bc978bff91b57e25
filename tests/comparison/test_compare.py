"""`frcore compare`: files, exit codes, and what is missing."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from frcore.cli import main
from frcore.comparison.compare import compare, read
from frcore.errors import UserError
from frcore.files import read_json, write_json
from frcore.reporting.docs.reference import keep
from frcore.reporting.report import report
from frcore.results.rows import collect
from tests.comparison.making import Drawn, spec_of
from tests.reporting.tree import Tree, make_study

SKILL = {"arcface": 0.1, "softmax": 0.6, "cosface": 0.6}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Three heads, of which arcface is far worse."""
    pairs = {"kind": "synthetic_pairs", "identities": 20, "images": 2, "pairs": 20}
    study = make_study(
        heads=["arcface", "softmax", "cosface"], samplers=["full"], seeds=[0, 1, 2],
        benchmarks={"pairs": pairs}, evaluation={"flip": "none", "bootstrap": 100},
    )  # fmt: skip
    root = tmp_path_factory.mktemp("finished") / "results/toy"
    return Drawn(study, root, skill=SKILL).everything()


@pytest.fixture
def tree(finished: Tree, tmp_path: Path) -> Tree:
    """A copy, to be changed."""
    shutil.copytree(finished.root, tmp_path / "results/toy")
    return replace(finished, root=tmp_path / "results/toy")


def call(tree: Tree, monkeypatch, capsys, *options: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `frcore compare`."""
    study = tree.root.parent / "study.yaml"
    study.write_text(yaml.safe_dump(tree.study.model_dump(mode="json")))
    given = ["--study", study, "--root", tree.root, *options]
    monkeypatch.setattr(sys, "argv", ["frcore", "compare", *map(str, given)])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.mark.slow
def test_a_regression_exits_with_3_and_is_written(tree, monkeypatch, capsys):
    pair = ("--candidate", "arcface", "--baseline", "softmax")
    code, out, _ = call(tree, monkeypatch, capsys, *pair)
    assert code == 3
    assert "arcface against softmax: failed" in out
    assert "regression" in out
    folder = tree.root / "comparison"
    record = json.loads((folder / "arcface-vs-softmax.json").read_text())
    assert record["exit_code"] == 3
    assert record["outcome"] == "failed"
    assert any("pairs: accuracy" in line for line in record["failures"])
    assert record["rule"] == {
        "tolerance": 0.0, "strict": False, "max_slowdown": None, "metrics": [],
        "pool": None,
    }  # fmt: skip
    page = (folder / "arcface-vs-softmax.html").read_text()
    assert "//" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    text = MarkdownIt().enable("table").render((folder / "arcface-vs-softmax.md").read_text())
    assert text.count("<table>") == 2

    # What was written can be judged again, and is refused for another question.
    assert call(tree, monkeypatch, capsys, *pair, "--judge")[0] == 3
    assert call(tree, monkeypatch, capsys, *pair, "--judge", "--no-fail")[0] == 0
    code, _, err = call(tree, monkeypatch, capsys, *pair, "--judge", "--tolerance", "1")
    assert code == 2
    assert "stale" in err


@pytest.mark.slow
def test_equal_heads_pass_unless_a_proof_is_asked_for(tree, monkeypatch, capsys):
    pair = ("--candidate", "cosface", "--baseline", "softmax")
    code, out, _ = call(tree, monkeypatch, capsys, *pair, "--json")
    assert code == 0
    assert {number["verdict"] for number in json.loads(out)["numbers"]} == {"not told apart"}
    assert call(tree, monkeypatch, capsys, *pair, "--tolerance", "0.1", "--strict")[0] == 3
    assert call(tree, monkeypatch, capsys, *pair, "--max-slowdown", "1.01")[0] == 0
    assert call(tree, monkeypatch, capsys, *pair, "--max-slowdown", "0.5")[0] == 3


@pytest.mark.slow
def test_a_run_that_failed_is_no_pass(tree, monkeypatch, capsys):
    tree.fail("tiny-cosface-full-s1", error="loss is NaN at step 7")
    pair = ("--candidate", "cosface", "--baseline", "softmax")
    code, out, _ = call(tree, monkeypatch, capsys, *pair)
    assert code == 4
    assert "loss is NaN at step 7" in out
    record = read_json(tree.root / "comparison/cosface-vs-softmax.json")
    # What is there is compared, over the seeds that both have.
    assert {tuple(number["seeds"]) for number in record["numbers"]} == {(2, 2)}
    assert {number["verdict"] for number in record["numbers"]} == {"not told apart"}


@pytest.mark.slow
def test_mistakes_exit_with_2(tree, monkeypatch, capsys, tmp_path):
    for options, expected in (
        (["--candidate", "arcfase", "--baseline", "softmax"], "did you mean 'arcface'"),
        (["--candidate", "arcface"], "needs a baseline"),
        (["--candidate", "{name: arcface", "--baseline", "softmax"], "write a mapping"),
        (["--candidate", "arcface", "--baseline", "softmax", "--judge"], "compare again"),
        (["--candidate", "magface", "--baseline", "adacos"], "snakemake --cores all compare"),
        (["--against", tmp_path / "none"], "cannot be read"),
        (["--candidate", "arcface", "--baseline", "softmax", "--metric", "pairs.accurcy"],
         "did you mean 'pairs.accuracy'"),
    ):  # fmt: skip
        code, out, err = call(tree, monkeypatch, capsys, *options)
        assert (code, out) == (2, ""), options
        assert expected in err


@pytest.mark.slow
def test_kept_rows_find_what_became_worse(tree, monkeypatch, capsys, tmp_path):
    report(tree.study, tree.root)
    (tree.root / "complete").touch()
    keep(tree.root, tmp_path / "kept")
    against = ("--against", tmp_path / "kept")
    assert call(tree, monkeypatch, capsys, *against)[0] == 0
    assert (tree.root / "comparison/all-vs-reference.json").is_file()

    worse = replace(tree, skill={**SKILL, "softmax": 0.1})
    for seed in worse.study.seeds:
        worse.evaluate(f"tiny-softmax-full-s{seed}", "pairs")
    environment = {"commit": "fedcba987654", "versions": {"torch": "2.99"}, "cpu": "Another"}
    for path in tree.root.glob("runs/*/run.json"):
        record = read_json(path)
        write_json(path, {**record, "environment": {**record["environment"], **environment}})
    code, out, _ = call(tree, monkeypatch, capsys, *against, "--json")
    record = json.loads(out)
    assert code == 3
    assert all("softmax" in failure for failure in record["failures"])
    conditions = "\n".join(record["conditions"])
    for part in ("fedcba987654 (now), 0123456789ab (reference)", "torch: 2.99", "Another"):
        assert part in conditions
    assert call(tree, monkeypatch, capsys, *against, "--candidate", "cosface")[0] == 0
    assert call(tree, monkeypatch, capsys, *against, "--candidate", "magface")[0] == 2


@pytest.mark.slow
def test_the_studys_report_is_not_disturbed(tree):
    study = tree.study.model_copy(update={"heads": tree.study.heads[:2]})
    assert collect(study, tree.root).strays, "a run that nobody asked for is told"
    compare(spec_of(tree.study, candidate="cosface", baseline="arcface"), tree.root)
    assert not collect(study, tree.root).strays, "those of a comparison are its own"


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"spec_hash": "x"}'])
def test_a_broken_file_is_not_judged(tree, content):
    spec = spec_of(tree.study, candidate="cosface", baseline="softmax")
    path = spec.file(tree.root, "json")
    path.parent.mkdir()
    path.write_text(content.replace('"x"', f'"{spec.hash}"'))
    with pytest.raises(UserError, match="compare again"):
        read(spec, tree.root)


@pytest.mark.slow
def test_texts_of_strangers_are_only_text(tree):
    hostile = "</script><script>alert(1)</script> | [x](javascript:1) [bold]"
    tree.fail("tiny-cosface-full-s1", error=hostile)
    spec = spec_of(tree.study, candidate="cosface", baseline="softmax")
    compare(spec, tree.root)
    assert "<script" not in spec.file(tree.root, "html").read_text()
    shown = MarkdownIt().enable("table").render(spec.file(tree.root, "md").read_text())
    assert "<script" not in shown
    assert "href" not in shown
