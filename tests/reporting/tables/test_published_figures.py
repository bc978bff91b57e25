"""Published figures: the rows, whose they are, and the table beside measured numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from frcore.heads import HEADS
from frcore.reporting.tables.latex import to_latex
from frcore.reporting.tables.published import SHOWN, _conditions, published_table
from frcore.reporting.tables.published_figures import (
    OFFICIAL,
    backbone_family,
    figures,
    official_benchmark,
    official_metric,
    published,
)
from frcore.reporting.tables.table import Table, to_markdown
from frcore.results.column import Column
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.samplers import SAMPLERS
from frcore.study import expansion
from frcore.study.config import Study
from tests.reporting.tree import Tree, make_study

LFW = {"kind": "lfw_pairs", "root": "lfw", "view": 2}
IJBC = {"kind": "ijb", "root": "ijb", "name": "ijbc"}
MODEL = {"label": "other", "kind": "onnx", "file": "o.onnx", "colour": "RGB", "mean": 127.5,
         "std": 128, "source": "its README", "published": {"pairs_lfw": 99.48}}  # fmt: skip


def table_of(root: Path, **changes) -> tuple[Study, Table]:
    study = make_study(**changes)
    tree = Tree(study, root).everything()
    for label, benchmark in expansion.model_benchmarks(study):
        tree.evaluate(label, benchmark)
    rows = collect(study, root)
    return study, published_table(Summary(study, rows, Scores(root, rows)))


@pytest.fixture(scope="module")
def lfw(tmp_path_factory) -> Table:
    return table_of(
        tmp_path_factory.mktemp("lfw"),
        benchmarks={"pairs_lfw": LFW, "pairs_own": make_study().benchmarks["pairs"]},
        heads=[{"name": "arcface", "label": "arc"}, "adacos"],
        samplers=["full", {"name": "interclass_filter", "label": "filter"}],
        backbones=[{"name": "iresnet50", "label": "r50"}], seeds=[0], models=[MODEL],
        measurement=None,
    )[1]  # fmt: skip


def test_the_figures_are_numbers_with_a_source():
    frame = published()
    assert len(frame) == 1984
    assert frame["value"].notna().all()
    assert (frame["source"].str.len() > 5).all()
    percent = frame[frame["unit"].str.startswith("%")]
    assert percent["value"].between(0, 100).all()
    assert {"throughput", "GPU memory"} <= set(frame["benchmark"]), "kept for later"


def test_all_methods_are_heads_and_samplers_that_exist():
    frame = published().dropna(subset=["head"])
    assert set(frame["head"]) <= set(HEADS)
    assert set(frame["sampler"]) <= set(SAMPLERS)
    assert set(frame["head"]) >= {"arcface", "cosface", "adacos", "magface", "adaface", "uniface"}


def ours(name: str) -> set[tuple[str, str]]:
    """Head and sampler of the rows of a paper's method."""
    frame = published()
    own = frame[(frame["method"] == name) & (frame["rate"].isna())]
    assert len(own)
    return {*own[["head", "sampler"]].fillna("").itertuples(index=False, name=None)}


@pytest.mark.parametrize(
    ("name", "head", "sampler"),
    [
        ("ArcFace m=0.5", "arcface", "full"),
        ("ArcFace MS1MV3 R100", "arcface", "full"),
        ("Partial-FC-ArcFace", "arcface", "partial_fc"),
        ("BroadFace (ArcFace)", "arcface", "broadface"),
        ("BroadFace (ArcFace) queue=8192 with compensation", "arcface", "broadface"),
        ("BroadFace (CosFace, dagger)", "cosface", "broadface"),
        ("CosFace m=0.4 PFC-0.3", "cosface", "partial_fc"),
        ("CosFace m=0.4 full FC", "cosface", "full"),
        ("CosFace m=0.4 r=0.1 mxnet R100", "cosface", "partial_fc"),
        ("CosFace m=0.4 r=1.0 pytorch R50", "cosface", "full"),
        ("Dynamic AdaCos", "adacos", "full"),
        ("Fixed AdaCos", "adacos_fixed", "full"),
        ("marginal UCE m=0.45 negative sampling r=0.2", "uniface", "partial_fc"),
        ("marginal UCE m=0.45 negative sampling r=1.0", "uniface", "full"),
    ],
)
def test_a_papers_method_is_a_head_and_a_sampler(name, head, sampler):
    assert ours(name) == {(head, sampler)}


@pytest.mark.parametrize(
    "name",
    ["SCF-ArcFace", "GB-CosFace", "MagFace+", "BroadFace", "Sub-center ArcFace K=3 MS1MV0",
     "BroadFace (ArcFace) queue=0 with compensation", "CosFace m=0.4 PFC-0.3* (filter 0.4)",
     "BroadFace (ArcFace) queue=2048 without compensation", "SphereFace-R v1", "AM-Softmax",
     "P2SGrad", "Partial FC", "lower bound"],
)  # fmt: skip
def test_other_methods_are_nobodys(name):
    assert ours(name) == {("", "")}


def test_known_figures_are_found():
    """Read off the papers: ArcFace TPAMI Table 2 (LFW, CASIA, R50, m = 0.5) is 99.53."""
    frame = figures("LFW", "accuracy", None)
    row = frame[(frame["table"] == "TPAMI Table 2") & (frame["method"] == "ArcFace m=0.5")]
    assert row["value"].tolist() == [99.53]
    ijbc = figures("IJB-C", "tar", 1e-4)
    assert {"TAR@FAR=1e-4", "TPR@FPR=1e-4"} == set(ijbc["metric"])
    assert len(figures("IJB-C", "tar", 2e-4)) == 0
    assert official_metric("accuracy_insightface", None) == ()
    assert "accuracy (5 runs: 99.24 99.20 99.30 99.27 99.13)" in set(frame["metric"])


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (LFW, "LFW"),
        ({**LFW, "view": 1}, None),
        ({**LFW, "published_as": "none"}, None),
        ({"kind": "folder_pairs", "root": "a", "pairs": "p"}, None),
        ({"kind": "folder_pairs", "root": "a", "pairs": "p", "published_as": "CALFW"}, "CALFW"),
        (IJBC, "IJB-C"),
        ({**IJBC, "name": "ijbb"}, "IJB-B"),
        ({"kind": "insightface_bin", "path": "x/agedb_30.bin"}, "AgeDB-30"),
        ({"kind": "insightface_bin", "path": "x/other.bin"}, "CFP-FP"),
        ({"kind": "pair_list", "format": "cplfw", "images": "i", "pairs": "p"}, "CPLFW"),
        ({"kind": "pair_list", "format": "cfp_ff", "images": "i", "pairs": "p"}, None),
        ({"kind": "synthetic_pairs", "identities": 20, "images": 2, "pairs": 20}, None),
    ],
)
def test_which_official_benchmark_a_section_is(section, expected):
    study = make_study(benchmarks={"cfp_fp": section})
    assert official_benchmark("cfp_fp", study.benchmarks["cfp_fp"]) == expected
    assert expected is None or expected in OFFICIAL
    assert expected is None or len(figures(expected, "accuracy", None)) or expected[:3] == "IJB"


def test_saying_what_it_is_prepares_and_judges_nothing_again():
    plain, said = (
        make_study(benchmarks={"b": section}) for section in (LFW, {**LFW, "published_as": "LFW"})
    )
    assert expansion.benchmarks(plain)["b"].hash == expansion.benchmarks(said)["b"].hash
    models = [make_study(models=[{**MODEL, "published": given}], benchmarks={"pairs_lfw": LFW})
              for given in ({}, {"pairs_lfw": 99.0})]  # fmt: skip
    assert len({expansion.models(study)["other"].hash for study in models}) == 1


def test_backbones_of_one_size_are_alike():
    for name in ("iresnet50", "R50", "r50(512*8)", "IR-50", "IRes50", "ResNet-50"):
        assert backbone_family(name) == "r50"
    assert backbone_family("MobileFaceNet (dim 128)") == backbone_family("mobilefacenet")
    assert backbone_family("R100") != backbone_family("R50")


@pytest.mark.slow
def test_published_stands_beside_measured_with_what_differs(lfw):
    data = lfw.data
    arc = data[(data["head"] == "arc") & (data["sampler"] == "full")]
    expected = figures("LFW", "accuracy", None)
    expected = expected[(expected["head"] == "arcface") & (expected["sampler"] == "full")]
    assert sorted(arc["published"]) == sorted(expected["value"])
    # Those of the same backbone come first, and only the others say that it differs.
    same = [backbone_family(name) == "r50" for name in arc["published_backbone"]]
    assert same == sorted(same, reverse=True)
    assert any(same)
    assert not all(same)
    assert ["backbone (iresnet50 here)" not in text for text in arc["conditions"]] == same
    assert arc["conditions"].str.contains("8 synthetic identities here").all()
    assert arc["conditions"].str.contains("checkpoint").all()
    assert not arc["conditions"].str.contains("FAR rule").any()
    assert arc["measured"].nunique() == 1
    assert (arc["low"] <= arc["measured"]).all()
    rows = [row for row in lfw.rows if row[0].text == "arc"]
    assert len(rows) == SHOWN
    assert any("the CSV has" in note for note in lfw.notes)


def test_a_sampler_without_published_figures_has_none(lfw):
    assert "filter" not in set(lfw.data["sampler"])


def test_synthetic_benchmarks_say_that_there_are_none(lfw):
    assert any("pairs_own: synthetic" in note for note in lfw.notes)
    assert set(lfw.data["benchmark"]) == {"pairs_lfw"}


def test_a_model_stands_beside_its_own_figure(lfw):
    (row,) = lfw.data[lfw.data["backbone"] == "other"].to_dict("records")
    assert (row["published"], row["source"]) == (99.48, "its README")
    (cells,) = [row for row in lfw.rows if row[0].text == "other"]
    assert "99.48" in [cell.text for cell in cells]


@pytest.mark.slow
@pytest.mark.parametrize("synthetic", [True, False])
def test_a_synthetic_folder_in_ijbs_layout_has_no_published_figures(tmp_path, synthetic):
    study = make_study(benchmarks={"ijbc": {**IJBC, "fars": [1e-4]}}, heads=["arcface"],
                       samplers=["full"], seeds=[0], measurement=None)  # fmt: skip
    tree = Tree(study, tmp_path)
    tree.everything()
    tree.manifest("ijbc", synthetic=synthetic)
    name = next(iter(expansion.runs(study)))
    path = tmp_path / f"evaluation/{name}/ijbc.json"
    record = json.loads(path.read_text())
    record["rows"] = [{**row, "value": 0.5} for row in record["rows"] if row["far"] == 1e-4]
    path.write_text(json.dumps(record))
    rows = collect(study, tmp_path)
    table = published_table(Summary(study, rows, Scores(tmp_path, rows)))
    assert (len(table.data) == 0) == synthetic
    assert any("ijbc: synthetic" in note for note in table.notes) == synthetic
    if not synthetic:
        assert table.data["conditions"].str.contains("FAR rule").all()
        assert set(table.data["official"]) == {"IJB-C"}


def test_what_was_not_resolved_has_nothing_beside_it(tmp_path):
    _, table = table_of(tmp_path, benchmarks={"ijbc": {**IJBC, "fars": [1e-4]}}, seeds=[0],
                        measurement=None, samplers=["full"], heads=["arcface"])  # fmt: skip
    # The toy has too few impostors for 1e-4, and papers have no 1e-1.
    assert len(table.data) == 0
    assert any("No published figure" in note for note in table.notes)


def test_the_table_has_all_its_forms(lfw, tmp_path):
    assert "Published beside measured" in to_markdown(lfw)
    assert "99.53" in to_latex(lfw)
    (tmp_path / "t.csv").write_text(lfw.csv)
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(lfw.data)


def test_another_alignment_is_a_condition_that_differs():
    section = SimpleNamespace(aligned_by="three points")
    study = SimpleNamespace(train=SimpleNamespace(kind="lfw"), benchmarks={"cfp": section})
    row = figures("CFP-FP", "accuracy", None).iloc[0]
    column = Column("cfp", "accuracy", None, "all")
    assert "alignment (three points here)" in _conditions(study, "tiny", column, row)
    section.aligned_by = None
    assert "alignment" not in _conditions(study, "tiny", column, row)
