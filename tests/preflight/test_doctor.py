from __future__ import annotations

import importlib.metadata
import io
import json
from types import SimpleNamespace

import numpy as np
import pynvml
import pytest
from rich.console import Console

from frcore.machine.nvml import Nvml
from frcore.preflight import doctor
from frcore.preflight.doctor import Finding, Report, diagnose, prepared_bytes, render
from frcore.preflight.load import load_study
from tests.measurement.simulated import SimulatedBoard, SimulatedNvml

STUDY = """
name: {name}
image: {{size: 32, alignment: synthetic}}
train: {{kind: synthetic, identities: 10, images: 4}}
benchmarks:
  pairs: {{kind: synthetic_pairs, identities: 20, images: 3, pairs: 20}}
  templates:
    {{kind: synthetic_templates, identities: 20, templates: 2, images: 5, impostor_pairs: 100}}
backbones: [tiny]
heads: [softmax]
samplers: [full]
training: {{epochs: 1, batch_size: 4, learning_rate: 0.1, device: {device}}}
evaluation: {{flip: none}}
"""


@pytest.fixture
def write_study(tmp_path):
    def write(name: str, device: str = "cpu", extra: str = "") -> object:
        path = tmp_path / f"{name}.yaml"
        path.write_text(STUDY.format(name=name, device=device) + extra)
        return path

    return write


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def by_name(findings, name: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.what == name]
    return finding


def test_this_machine_can_run_the_default_study(repository, monkeypatch):
    monkeypatch.chdir(repository)
    report = diagnose([repository / "config" / "quick.yaml"])
    assert report.ok, [f for f in (*report.machine, *report.studies) if f.verdict == "wrong"]
    assert by_name(report.studies, "quick").fix.endswith("config/quick.yaml")
    json.dumps(report.as_dict(), allow_nan=False)


def test_every_required_library_is_looked_at():
    found = by_name(doctor._libraries(), "libraries").found
    for name in ("torch", "snakemake", "nvidia-ml-py", "pandas"):
        assert f"{name} {importlib.metadata.version(name)}" in found
    assert "pytest" not in found  # an extra is not needed to run a study


@pytest.mark.parametrize(
    ("requirement", "said"),
    [("numpy<1", "needed is <1"), ("no-such-library>=2", "not installed")],
)
def test_a_library_that_is_old_or_missing_is_wrong_and_comes_with_a_command(
    requirement, said, monkeypatch
):
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["rich", requirement])
    report = diagnose([])
    name = requirement.split("<")[0].split(">")[0]
    finding = by_name(report.machine, name)
    assert finding.verdict == "wrong"
    assert said in finding.found
    assert f"pip install '{requirement}'" in finding.fix
    assert not report.ok


def test_a_study_for_cuda_is_not_ready_without_a_gpu(write_study, no_gpu):
    report = diagnose([write_study("big", device="cuda"), write_study("small")])
    big, small = report.studies
    assert big.verdict == "note"
    assert "cuda" in big.found
    assert "--configfile" in big.fix
    assert small.verdict == "ok"
    assert report.ok  # the default study is not among them


def test_the_default_study_must_be_ready(write_study, no_gpu):
    assert not diagnose([write_study(doctor.DEFAULT_STUDY, device="cuda")]).ok


def test_a_folder_that_was_not_given_is_told_with_the_option_that_gives_it(repository, monkeypatch):
    monkeypatch.delenv("FRCORE_LFW", raising=False)
    (finding,) = diagnose([repository / "config" / "lfw.yaml"]).studies
    assert finding.verdict == "note"
    assert "--config lfw=FOLDER" in finding.found


def test_a_broken_study_is_told_with_its_mistake(write_study):
    (finding,) = diagnose([write_study("odd", extra="colour: red\n")]).studies
    assert "colour" in finding.found


def test_a_full_disk_is_told_before_anything_runs(write_study, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    (finding,) = diagnose([write_study("small")]).studies
    assert "not ready" in finding.found
    assert "disk" in finding.fix


def test_prepared_data_are_estimated_as_what_prepare_writes(write_study, tmp_path):
    study = load_study(write_study("small"))
    images = 10 * 4 + 20 * 3 + 20 * 2 * 5
    array = np.zeros((images, 32, 32, 3), dtype=np.uint8)
    assert prepared_bytes(study) == array.nbytes


def test_folders_are_counted(tmp_path):
    for name in ("a/1.jpg", "a/2.PNG", "b/1.jpg", "b/notes.txt"):
        file = tmp_path / "faces" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    data = SimpleNamespace(kind="folder", root=str(tmp_path / "faces"))
    assert doctor._images(data) == 3


def test_a_board_that_this_torch_cannot_use(monkeypatch, no_gpu):
    library = SimulatedNvml(SimulatedBoard(uuid="GPU-a"))
    monkeypatch.setattr(doctor, "Nvml", _with(library))
    monkeypatch.setattr("torch.version.cuda", None)
    finding = doctor._gpu()
    assert finding.verdict == "note"
    assert "GPU-a" in finding.found
    assert "CPU only" in finding.found
    assert "pytorch.org" in finding.fix
    monkeypatch.setattr("torch.version.cuda", "13.0")
    finding = doctor._gpu()
    assert "580.65.06" in finding.found
    assert "driver" in finding.fix


def _with(library):
    """`Nvml` over another library, where the caller gives none."""

    class Simulated(Nvml):
        def __init__(self, given=library):
            super().__init__(given)

        @classmethod
        def why_not(cls, given=library):
            return super().why_not(given)

    return Simulated


def test_no_board_at_all_is_told_with_nvmls_reason(monkeypatch, no_gpu):
    library = SimulatedNvml(init_error=pynvml.NVMLError_LibraryNotFound)
    monkeypatch.setattr(doctor, "Nvml", _with(library))
    finding = doctor._gpu()
    assert finding.verdict == "note"
    assert "Not Found" in finding.found


def test_rendering_shows_every_finding_and_what_to_do():
    findings = (Finding("disk", "wrong", "[full]", "tidy up"), Finding("gpu", "note", "none"))
    text = io.StringIO()
    render(Report(findings, (Finding("quick", "ok", "ready"),)), Console(file=text, width=100))
    for expected in ("disk", "[full]", "tidy up", "gpu", "none", "quick", "ready"):
        assert expected in text.getvalue()


@pytest.mark.parametrize(("device", "status"), [("cpu", 0), ("cuda", 1)])
def test_the_exit_status_says_whether_the_default_study_can_run(
    device, status, write_study, no_gpu, tmp_path, monkeypatch
):
    from typer.testing import CliRunner

    from frcore.cli import app

    (tmp_path / "config").mkdir()
    write_study("quick", device=device).rename(tmp_path / "config" / "quick.yaml")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == status
    assert json.loads(result.stdout)["ok"] is (status == 0)
