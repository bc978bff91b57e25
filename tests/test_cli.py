from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frcore.cli import app, main
from frcore.heads import HEADS
from frcore.samplers import SAMPLERS
from tests.tiny_study import write_study

runner = CliRunner()


def run_main(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `frcore` with `arguments`."""
    monkeypatch.setattr(sys, "argv", ["frcore", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize(("command", "catalogue"), [("heads", HEADS), ("samplers", SAMPLERS)])
def test_listings_have_every_name(command, catalogue):
    listed = json.loads(runner.invoke(app, [command, "--json"]).stdout)
    assert [item["name"] for item in listed] == list(catalogue)
    assert all(item["summary"] for item in listed)
    shown = runner.invoke(app, [command]).stdout
    assert all(name in shown for name in catalogue)


def test_listed_parameters_have_types_defaults_and_ranges():
    listed = json.loads(runner.invoke(app, ["heads", "--json"]).stdout)
    arcface = next(item for item in listed if item["name"] == "arcface")["parameters"]
    assert arcface["scale"]["default"] == 64.0
    assert arcface["scale"]["limits"] == {"exclusiveMinimum": 0}
    assert arcface["gradient"]["choices"] == ["full", "detached"]


def test_one_component_can_be_listed_in_full():
    place = "frcore.heads.arcface:ArcFace"
    listed = json.loads(runner.invoke(app, ["heads", place, "cosface", "--json"]).stdout)
    assert [item["name"] for item in listed] == [place, "cosface"]
    shown = runner.invoke(app, ["samplers", "partial_fc"]).stdout
    assert "rate" in shown
    assert "number in [0, 1]" in shown


def test_an_unknown_component_is_a_mistake(monkeypatch, capsys):
    code, out, err = run_main(monkeypatch, capsys, "heads", "arcfase")
    assert (code, out) == (2, "")
    assert "did you mean 'arcface'" in err


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train"], ["--study"]),
        (["train", "--study", "config/none.yaml"], ["config/none.yaml"]),
        (["train", "--study", "STUDY", "--run", "tiny-arcfase-full-s0"], ["tiny-arcface-full-s0"]),
        (["train", "--study", "STUDY"], ["--run is missing", "tiny-adacos-full-s0"]),
        (["train", "--spec", "{}"], ["--spec is not a RunSpec", "backbone"]),
        (["train", "--spec", "{"], ["Invalid JSON"]),
        (["train", "--study", "STUDY", "--config", "seeds"], ["key=value"]),
        (["train", "--study", "STUDY", "--config", "heads=[arcfase]"], ["did you mean 'arcface'"]),
        (["prepare", "--spec", "[]"], ["TrainDataSpec"]),
        (["prepare", "--study", "STUDY", "--benchmark", "pair"], ["did you mean 'pairs'"]),
        (["measure", "--study", "STUDY", "--head", "arcface"], ["--sampler is missing", "full"]),
        (["evaluate", "--study", "STUDY", "--run", "x"], ["unknown run 'x'"]),
        (["report", "--spec", "{}"], ["Study"]),
    ],
)
def test_a_mistake_ends_with_2_and_no_traceback(monkeypatch, capsys, tmp_path, arguments, expected):
    study = str(write_study(tmp_path))
    arguments = [study if argument == "STUDY" else argument for argument in arguments]
    code, out, err = run_main(monkeypatch, capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error:")
    assert "Traceback" not in err
    for part in expected:
        assert part in err


def test_a_spec_needs_its_paths(monkeypatch, capsys, tmp_path):
    from frcore.workflow import Workflow

    spec = Workflow.load([write_study(tmp_path)], None).key("run", "tiny-arcface-full-s0")
    code, _, err = run_main(monkeypatch, capsys, "train", "--spec", spec, "--out", tmp_path / "x")
    assert code == 2
    assert "--data is missing" in err
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_help_needs_no_torch():
    code = "import sys; from frcore.cli import app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_command_has_help_with_an_example_or_options():
    for command in ("prepare", "train", "evaluate", "measure", "report"):
        shown = runner.invoke(app, [command, "--help"])
        assert shown.exit_code == 0
        assert "Example: frcore" in shown.stdout


@pytest.mark.slow
def test_the_schema_is_written_where_asked(tmp_path):
    out = tmp_path / "schema.json"
    assert runner.invoke(app, ["schema", "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_text()) == json.loads(runner.invoke(app, ["schema"]).stdout)


@pytest.mark.slow
def test_each_stage_runs_by_itself_from_the_study(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    study = str(write_study(tmp_path))
    run, pair = "tiny-arcface-full-s0", ["--head", "arcface", "--sampler", "full"]
    for arguments in (
        ["prepare"],
        ["prepare", "--benchmark", "pairs"],
        ["train", "--run", run],
        ["evaluate", "--run", run],
        ["measure", *pair],
        ["report"],
    ):
        done = runner.invoke(app, [*arguments, "--study", study], catch_exceptions=False)
        assert done.exit_code == 0, arguments
    root = Path("results/tiny")
    for made in (
        "data/train/manifest.json", "data/pairs/manifest.json", f"runs/{run}/result.json",
        f"evaluation/{run}/pairs.json", "measurement/arcface-full.json", "report.html",
        "tables/accuracy.csv",
    ):  # fmt: skip
        assert (root / made).is_file(), made
    assert json.loads((root / f"runs/{run}/result.json").read_text())["id"] == run


def test_the_version_is_the_packages():
    assert runner.invoke(app, ["--version"]).stdout == f"frcore {version('frcore')}\n"


def test_a_study_is_checked_and_its_jobs_are_counted(monkeypatch, capsys, tmp_path):
    study = write_study(tmp_path)
    shown = runner.invoke(app, ["check", str(study)]).stdout
    assert "is in order: 4 trainings, 1 benchmark, 4 measurements" in shown
    study.write_text(study.read_text() + "\nextra: 1\n")
    code, _, told = run_main(monkeypatch, capsys, "check", study)
    assert code == 2
    assert "extra: unknown key" in told
