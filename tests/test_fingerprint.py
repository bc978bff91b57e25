"""Fingerprints of real modules on a copy of the package, in which a file can be changed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import frcore
from frcore.fingerprint import PLUMBING, code_fingerprint, dependencies
from frcore.heads import HEADS

STAGES = {
    "prepare": "frcore.data.prepare",
    "train": "frcore.training.run",
    "evaluate": "frcore.evaluation.run",
    "measure": "frcore.measurement.run",
    "report": "frcore.reporting.run",
}
PACKAGE = Path(frcore.__file__).parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package."""
    return Path(
        shutil.copytree(PACKAGE, tmp_path / "frcore", ignore=shutil.ignore_patterns("__pycache__"))
    )


def fingerprint(package: Path, *modules: str) -> str:
    """The fingerprint that the copied package gives itself."""
    code = (
        "import sys; from frcore.fingerprint import code_fingerprint; "
        "print(code_fingerprint(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *modules]
    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_copy_elsewhere_has_the_same_fingerprint(package):
    assert fingerprint(package, "frcore.heads.arcface") == code_fingerprint(
        ["frcore.heads.arcface"]
    )


def test_comments_docstrings_and_layout_do_not_count(package):
    before = fingerprint(package, "frcore.heads.cosface")
    path = package / "heads/cosface.py"
    text = path.read_text().replace('"""cos θ_y − m."""', '"""Another sentence."""  # a comment')
    assert text != path.read_text()
    path.write_text("# a comment\n\n\n" + text)
    assert fingerprint(package, "frcore.heads.cosface") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("Deng et al.", "Somebody"), ("s cos(θ_y + m)", "another"), ('"beyond_pi",', "")],
)
def test_citations_do_not_count(package, old, new):
    before = fingerprint(package, "frcore.heads.arcface")
    path = package / "heads/arcface.py"
    text = path.read_text()
    cited = text.index("source: ClassVar")
    path.write_text(text[:cited] + text[cited:].replace(old, new, 1))
    assert path.read_text() != text
    assert fingerprint(package, "frcore.heads.arcface") == before


def test_a_changed_formula_counts_for_its_own_head_only(package):
    heads = ("frcore.heads.cosface", "frcore.heads.arcface")
    before = [fingerprint(package, "frcore.training.run", head) for head in heads]
    path = package / "heads/cosface.py"
    path.write_text(path.read_text().replace("cosine_N - self.margin", "cosine_N + self.margin"))
    after = [fingerprint(package, "frcore.training.run", head) for head in heads]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_changed_import_counts(package):
    before = fingerprint(package, "frcore.heads.adacos")
    path = package / "heads/adacos_fixed.py"
    path.write_text(path.read_text().replace("math.sqrt(2)", "math.sqrt(3)"))
    assert fingerprint(package, "frcore.heads.adacos") != before


@pytest.mark.parametrize("module", STAGES.values())
def test_stages_start_from_modules_that_exist(module):
    assert module in dependencies([module])


def test_training_depends_on_what_it_computes_with():
    found = dependencies(["frcore.training.run", "frcore.heads.adacos"])
    assert {
        "frcore.training.loop", "frcore.classifier", "frcore.centers", "frcore.loss.dense",
        "frcore.heads.base", "frcore.heads.adacos", "frcore.heads.adacos_fixed",
        "frcore.data.loader",
    } <= found  # fmt: skip


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate", "measure"])
def test_the_report_repeats_nothing_before_it(stage):
    reporting = {name for name in dependencies([STAGES[stage]]) if "reporting" in name}
    assert reporting == set()


def test_another_head_in_the_catalogue_repeats_nothing():
    found = dependencies(STAGES.values())
    assert not found & PLUMBING
    assert not {name for name in found if name.startswith("frcore.heads.")} - {"frcore.heads.base"}


def test_listings_and_the_pages_made_from_them_repeat_nothing():
    found = dependencies([*STAGES.values(), *(place.partition(":")[0] for place in HEADS.values())])
    assert "frcore.heads.adacos" in found
    own = ("description", "listing", "reporting.component_docs", "reporting.head_curves",
           "reporting.plot_heads")  # fmt: skip
    for name in own:
        assert importlib.util.find_spec(f"frcore.{name}"), name
        assert f"frcore.{name}" not in found


def test_every_plumbing_module_exists():
    for name in PLUMBING:
        path = PACKAGE.joinpath(*name.split(".")[1:])
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), name


def test_a_users_own_module_and_its_neighbour_count(tmp_path, monkeypatch):
    folder = tmp_path / "mine_fp"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "head.py").write_text("from .margin import MARGIN\nimport json\n")
    (folder / "margin.py").write_text("MARGIN = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert dependencies(["mine_fp.head"]) == {"mine_fp.head", "mine_fp.margin"}


def test_imports_for_type_checkers_only_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "typed_fp.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from frcore.heads import base\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert dependencies(["typed_fp", "frcore.heads.cosface"]) & {"typed_fp"} == {"typed_fp"}
    assert dependencies(["typed_fp"]) == {"typed_fp"}
