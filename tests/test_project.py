"""What the project promises about itself: installation, files, and rules of the house."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from frcore.reporting.outputs import FIGURES, TABLES

ROOT = Path(__file__).resolve().parent.parent
RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pinned}


def tracked() -> list[Path]:
    """Files that git knows; of a copy without git, all that lie where sources lie."""
    if shutil.which("git") and (ROOT / ".git").exists():
        done = subprocess.run(
            ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        found = [ROOT / line for line in done.stdout.splitlines()]
    else:
        found = [path for part in ("frcore", "tests", "workflow", "docs", "config")
                 for path in (ROOT / part).rglob("*")]  # fmt: skip
    return [path for path in found if path.is_file()]


# --- installation --------------------------------------------------------------------------------


def requirements(project: dict[str, Any], *extras: str) -> list[Requirement]:
    """What `pip install frcore[extras]` needs, extras of extras resolved."""
    found = list(map(Requirement, project["dependencies"]))
    for extra in extras:
        for text in project["optional-dependencies"][extra]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                found += requirements(project, *requirement.extras)[len(project["dependencies"]) :]
            else:
                found.append(requirement)
    return found


def test_every_requirement_is_pinned_within_its_bounds(project, pins):
    for requirement in requirements(project, "dev", "slurm"):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not in constraints.txt"
        assert pins[name] in requirement.specifier, f"{name} {pins[name]} is not {requirement}"


def test_pins_hold_on_other_machines(pins):
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    assert not [name for name, version in pins.items() if version.local]
    assert "frcore" not in pins


def test_conda_installs_what_make_installs(project):
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    plain = [item for item in environment["dependencies"] if isinstance(item, str)]
    python = next(item for item in plain if item.startswith("python "))
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(project["requires-python"])
    through_pip = next(item for item in environment["dependencies"] if isinstance(item, dict))[
        "pip"
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    install = re.search(r"-m pip install --quiet \$\(PIP_ARGS\) (.*)", makefile)
    assert install is not None
    assert " ".join(through_pip) == install[1].replace('"', "")


def test_the_check_for_python_says_what_is_declared(project):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    version = project["requires-python"].removeprefix(">=")
    assert f"({', '.join(version.split('.'))})" in makefile
    assert f"Python >= {version}" in makefile


def make(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_installs_once_and_again_when_requirements_change(tmp_path):
    stamp = tmp_path / "venv/.installed"
    arguments = ("--dry-run", "install", f"VENV={stamp.parent}")
    assert "-m pip install" in make(*arguments)
    stamp.parent.mkdir()
    stamp.touch()
    assert "-m pip install" not in make(*arguments)
    assert "-m pip install" in make(*arguments, "--assume-new=constraints.txt")
    assert "-m pip install" in make(*arguments, "--assume-new=pyproject.toml")


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(("target", "command"), [("tables", "snakemake"), ("test", "pytest")])
def test_the_two_commands_install_before_they_run(tmp_path, target, command):
    planned = make("--dry-run", target, f"VENV={tmp_path}/venv")
    assert planned.index("-m pip install") < planned.index(f"{tmp_path}/venv/bin/{command}")


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_clean_keeps_results_and_what_is_known_of_them(tmp_path):
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    kept = ("results/lfw/runs/a/model.pt", "results/reference/cpu/a.csv", "results/README.md",
            "logs/lfw/a.log", ".snakemake/metadata/a")  # fmt: skip
    for name in (*kept, "results/quick/complete", "logs/quick/a.log", ".ruff_cache/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("days of work")

    def there() -> set[str]:
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {path.relative_to(tmp_path).as_posix() for path in files} - {"Makefile"}

    def asked(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(["make", *arguments], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout

    everything = {*kept, "results/quick/complete", "logs/quick/a.log"}
    assert asked("clean")[0] == 0
    assert there() == everything
    code, told = asked("clean-results")
    assert (code, there()) == (0, everything)
    assert "results/quick" in told
    assert "results/reference" not in told
    for wrong in ("reference", "README.md", "../x", ".", "lfw/runs", "none", "quick none"):
        assert asked("clean-results", f"NAMES={wrong}")[0] == 2
        assert there() == everything
    assert asked("clean-results", "NAMES=quick")[0] == 0
    assert there() == set(kept)


def test_an_old_python_is_refused_in_words(tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "install", f"VENV={tmp_path}/venv", f"PYTHON={old}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "older than" in done.stderr
    assert not (tmp_path / "venv").exists()


# --- the workflow --------------------------------------------------------------------------------


def rules(path: Path) -> dict[str, str]:
    """Name -> text of each rule in a file."""
    parts = re.split(r"^rule (\w+):\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


ALL_RULES = [(path, name) for path in RULES for name in rules(path)]


@pytest.mark.parametrize(("path", "name"), ALL_RULES, ids=[name for _, name in ALL_RULES])
def test_each_rule_calls_frcore_and_says_what_it_needs(path, name):
    text = rules(path)[name]
    for directive in ("log", "benchmark", "threads", "resources", "params", "conda", "shell"):
        assert re.search(rf"^    {directive}:", text, re.MULTILINE), directive
    for parameter in ("frcore", "spec", "key", "code", "versions"):
        assert re.search(rf"^        {parameter}=", text, re.MULTILINE), parameter
    # Not a `frcore` that happens to be on PATH: the interpreter that plans the study.
    command = r'^        "\{params.frcore:q\} \w+ --spec \{params.spec:q\}'
    assert re.search(command, text, re.MULTILINE)
    # Snakemake inside a cluster job would repeat a rule's own retries once more.
    assert not re.search(r"^    retries:", text, re.MULTILINE)


def test_snakefiles_are_short_and_hold_no_logic():
    for path in (ROOT / "Snakefile", ROOT / "workflow/Snakefile"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 70
    for path in RULES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(def|if|import|from|run:)\b", text, re.MULTILINE), path.name


def test_each_figure_and_table_has_a_caption():
    expected = {"page", *FIGURES, *(f"table_{name}" for name in TABLES)}
    captions = {path.stem for path in (ROOT / "workflow/report").glob("*.rst")}
    assert expected <= captions


def test_the_catalogues_entry_is_complete():
    entry = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    assert set(entry["usage"]) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (ROOT / "config/README.md").is_file()
    assert (ROOT / "workflow/Snakefile").is_file()
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert "snakemake" in readme
    assert "workflow" in readme


@pytest.mark.slow
def test_profiles_set_what_snakemake_knows():
    from snakemake.cli import get_argument_parser

    known = {option.lstrip("-") for action in get_argument_parser()._actions
             for option in action.option_strings}  # fmt: skip
    for profile in (ROOT / "workflow/profiles").glob("*/profile.yaml"):
        keys = yaml.safe_load(profile.read_text(encoding="utf-8"))
        unknown = {key for key in keys if key not in known and not key.startswith("slurm-")}
        assert not unknown, profile


def test_profiles_name_rules_that_exist():
    names = {name for _, name in ALL_RULES}
    for profile in (ROOT / "workflow/profiles").glob("*/profile.yaml"):
        keys = yaml.safe_load(profile.read_text(encoding="utf-8"))
        for key in ("set-threads", "set-resources"):
            assert set(keys.get(key, {})) <= names, f"{profile}: {key}"


# --- rules of the house --------------------------------------------------------------------------


@pytest.mark.slow
def test_the_package_never_imports_snakemake():
    for path in (ROOT / "frcore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "snakemake"], path


def test_no_tracked_file_is_large():
    large = [path for path in tracked() if path.stat().st_size > 500_000]
    assert not large


def test_the_readmes_tree_and_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or (ROOT / link).exists(), link
    tree = text.partition("## What is where")[2].split("```")[1].strip().splitlines()
    folder = Path()
    for line in tree:
        name = line.split()[0]
        place = (folder if line.startswith("  ") else Path()) / name
        assert (ROOT / place).exists(), place
        if not line.startswith("  "):
            folder = Path(name)


def test_the_licence_is_the_declared_one(project):
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "[name of copyright owner]" not in text


def test_the_quick_start_of_each_study_names_its_own_file():
    for path in (ROOT / "config").rglob("*.yaml"):
        header = path.read_text(encoding="utf-8").partition("\nname:")[0]
        for heading in ("Purpose", "Data", "Run", "Cost", "Leaves out"):
            assert heading in header, f"{path.name}: {heading}"
        place = path.relative_to(ROOT).as_posix()
        assert path.stem == "quick" or f"--configfile {place}" in header
