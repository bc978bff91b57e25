"""The session's table, order, limits; and the whole of it on a CPU, killed and taken up again."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from email import message_from_string
from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
from packaging.utils import canonicalize_name
from rich.console import Console

import benchmarks.gpu_session as gpu_session
from benchmarks.conftest import append
from benchmarks.gpu_session import Session, run, show
from benchmarks.session import machine, peers
from benchmarks.session.cases import KEY, grid, rank
from benchmarks.session.measure import Options
from benchmarks.session.table import COLUMNS, Table
from frcore.errors import UserError

QUICK = Options(device="cpu", seconds=0.01, warmup=1, steps=(3, 3))


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tiny(*words: str):
    return [case for case in grid("tiny") if all(word in case.name.split() for word in words)]


@pytest.mark.parametrize("name", ["full", "tiny"])
def test_a_grid_has_each_case_once_and_the_first_question_first(name):
    cases = grid(name)
    assert len(set(cases)) == len(cases)
    ranks = [rank(case) for case in cases]
    assert ranks == sorted(ranks)


def test_the_full_grid_has_what_was_asked_for():
    cases = grid("full")
    assert {case.identities for case in cases} == {10**5, 10**6, 10**7, 3 * 10**7}
    assert {case.rate for case in cases} == {1.0, 0.1}
    ours = [case for case in cases if case.subject == "frcore"]
    assert {case.backend for case in ours} == {"dense", "streamed", "triton"}
    heads = {"cosface", "arcface", "curricularface", "mv_softmax", "adacos", "normface"}
    assert {case.head for case in ours} == heads
    peers = {"naive", "compiled", "linear_ce", "liger", "liger_wide", "cce", "insightface"}
    assert {case.subject for case in cases} == {"frcore"} | peers
    assert {(case.batch_size, case.dim) for case in cases} == {(1024, 512)}


def test_a_table_takes_one_row_per_case_and_is_read_back(tmp_path):
    table = Table(tmp_path / "a" / "steps.csv")
    first, second = grid("tiny")[:2]
    table.put(first, {"status": "failed", "error": 'a "quoted", error'})
    table.put(second, {"status": "ok", "step_ms": 1.5})
    table.put(first, {"status": "ok", "step_ms": 2.5, "notes": None})
    again = Table(tmp_path / "a" / "steps.csv")
    assert again.rows == table.rows
    assert (again.status(first), again.status(second)) == ("ok", "ok")
    assert [row["step_ms"] for row in rows_of(again.path)] == ["2.5", "1.5"]
    assert tuple(rows_of(again.path)[0]) == COLUMNS
    assert rows_of(again.path)[0]["error"] == ""
    with pytest.raises(ValueError, match="no such column"):
        table.put(first, {"status": "ok", "speed": 1})
    assert [path.name for path in again.path.parent.iterdir()] == ["steps.csv"]


def test_a_table_of_somebody_else_is_kept(tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text("name,grade\nAda,1\n")
    for write in (lambda: Table(path), lambda: append(path, {"benchmark": "bench_loss"})):
        with pytest.raises(UserError, match=r"grades\.csv exists and is not .*table"):
            write()
    assert path.read_text() == "name,grade\nAda,1\n"


def test_resuming_repeats_failures_only(tmp_path):
    cases = grid("tiny")[:4]
    session = Session(cases, QUICK, tmp_path, resume=True)
    for case, status in zip(cases, ("ok", "oom", "failed", "timeout"), strict=True):
        session.table(case).put(case, {"status": status})
    assert list(session.open()) == [cases[2]]
    assert list(Session(cases, QUICK, tmp_path, resume=False).open()) == cases


@pytest.mark.slow
def test_a_case_becomes_a_row(tmp_path):
    (case,) = tiny("streamed", "cosface", "rate=0.1", "split")
    session = Session([case], QUICK, tmp_path, resume=True)
    assert session.measure(case, None) == "ok"
    (row,) = rows_of(tmp_path / "cpu" / "steps-b8-d16.csv")
    assert {name: row[name] for name in KEY} == {k: str(v) for k, v in case.as_dict().items()}
    assert float(row["step_ms_low"]) <= float(row["step_ms"]) <= float(row["step_ms_high"])
    assert row["steps"] == "3"
    for column in ("cpu_ms_per_step", "rss_peak_mib", "inside_timer", "torch", "measured_at"):
        assert row[column], column
    for column in ("energy_mj_per_step", "allocated_peak_mib", "gpu_name", "plan_ms", "error"):
        assert row[column] == "", column  # a CPU cannot tell, and 0 would be a number


@pytest.mark.slow
def test_running_out_of_memory_is_a_row(tmp_path):
    (case,) = tiny("C=1000000000000")
    session = Session([case], QUICK, tmp_path, resume=True)
    assert session.measure(case, None) == "oom"
    row = session.table(case).row(case)
    assert row is not None
    assert "64000000000000 bytes" in row["error"]


@pytest.mark.slow
def test_a_step_without_end_is_a_row_but_the_sessions_end_is_none(tmp_path):
    (case,) = tiny("naive")
    endless = dataclasses.replace(QUICK, steps=(10**9, 10**9), limit=1.0)
    session = Session([case], endless, tmp_path, resume=True)
    assert session.measure(case, 0.5) is None
    assert session.table(case).row(case) is None
    assert session.measure(case, 100) == "timeout"
    assert list(session.open()) == []


def test_the_budget_ends_a_session_before_it_is_up(tmp_path, monkeypatch):
    out = Console(record=True, width=200)
    monkeypatch.setattr(gpu_session, "console", out)
    session = Session(tiny("cosface"), QUICK, tmp_path, resume=True)
    run(session, 5.0, dry=False)  # less than a first case is taken to need
    assert "stopped" in out.export_text()
    assert session.tables == {} or not any(t.path.exists() for t in session.tables.values())


def test_what_is_missing_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "interpreted", lambda: False)
    out = Console(record=True, width=200)
    monkeypatch.setattr(gpu_session, "console", out)
    session = Session(grid("tiny"), QUICK, tmp_path, resume=True)
    case = session.cases[0]
    session.table(case).put(case, {"status": "ok"})
    show(session)
    text = out.export_text()
    assert f"ok             {case.name}" in text
    assert "not measured: the triton backend needs a GPU" in text
    assert f"{len(session.cases) - 1} not measured, 1 ok" in text
    run(session, None, dry=True)
    assert text.count("would measure") == 0
    assert f"would measure {session.cases[1].name}" in out.export_text()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu_session", "--device", "cpu", "--grid", "tiny",
            "--resume", "--seconds", "0.01", *arguments]  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_session_goes_on_where_it_was(tmp_path, repository):
    """The whole path: every case of the tiny grid that a CPU can run."""
    arguments = command("--out", str(tmp_path))
    path = tmp_path / "cpu" / "steps-b8-d16.csv"
    with subprocess.Popen(arguments, cwd=repository, stdout=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + 120
        while not path.exists() or len(rows_of(path)) < 2:
            assert time.monotonic() < give_up
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    before = rows_of(path)
    assert 2 <= len(before) < 10
    done = subprocess.run(arguments, cwd=repository, capture_output=True, text=True, check=True)
    rows = rows_of(path)
    assert rows[: len(before)] == before
    keys = [tuple(row[name] for name in KEY) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["status"] for row in rows} == {"ok", "oom"}
    session = Session(grid("tiny"), QUICK, tmp_path, resume=True)
    possible = [case for case in session.cases if session.reason(case) is None]
    assert len(rows) == len(possible)
    assert list(session.open()) == []
    assert f"{len(possible) - len(before)} of {len(session.cases)} cases" in done.stdout


LACKING = {"pydantic", "pydantic-core", "annotated-types", "typing-inspection", "docstring-parser"}
"""What a common GPU image with torch lacks of what a session needs; frcore too is not installed."""


def stand_in(folder: Path) -> Path:
    """A machine whose torch lives in an environment of its own: its Python, beside a folder
    `wheels` of what it lacks."""
    venv.create(folder / "env", with_pip=False)
    here = Path(sysconfig.get_path("purelib"))
    there = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    hidden = {"frcore", "__pycache__"}
    (folder / "wheels").mkdir()
    for found in distributions(path=[str(here)]):
        files = [file for file in found.files or () if file.parts[0] not in ("..", "__pycache__")]
        name = canonicalize_name(found.metadata["Name"])
        if name in LACKING | {"frcore"}:
            hidden |= {file.parts[0] for file in files}
        if name in LACKING:
            tag = message_from_string(found.read_text("WHEEL") or "")["Tag"]
            wheel = f"{name.replace('-', '_')}-{found.version}-{tag}.whl"
            with zipfile.ZipFile(folder / "wheels" / wheel, "w") as archive:
                for file in files:
                    archive.write(file.locate(), str(file))
    for path in here.iterdir():
        if path.name not in hidden:
            (there / path.name).symlink_to(path)
    return folder / "env" / "bin" / "python"


@pytest.mark.slow
def test_the_script_runs_where_torch_has_its_own_environment_and_no_network(tmp_path, repository):
    """Nothing but wheels: no environment is made, and the machine's own one stays as it is."""
    python = stand_in(tmp_path)
    lacks = [python, "-c", "import torch, pydantic"]
    missing = subprocess.run(lacks, capture_output=True, text=True, check=False)
    assert "No module named 'pydantic'" in missing.stderr

    def installed() -> list[Path]:  # not what Python compiles where it may
        return sorted(p for p in (tmp_path / "env").rglob("*") if "__pycache__" not in p.parts)

    before = installed()
    environ = os.environ | {"PYTHON": str(python), "DEVICE": "cpu", "OUT": str(tmp_path / "rows")}
    offline = ["unshare", "--map-root-user", "--net"]
    works = (
        shutil.which("unshare") and not subprocess.run([*offline, "true"], check=False).returncode
    )
    script = [*(offline if works else ()), str(repository / "benchmarks" / "gpu_session.sh"),
              "--grid", "tiny", "--seconds", "0.01", "--only", "naive"]  # fmt: skip
    bare = subprocess.run(
        script, env=environ | {"WHEELS": str(tmp_path / "none")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert bare.returncode == 2
    assert "lacks the module named above" in bare.stderr
    environ |= {"WHEELS": str(tmp_path / "wheels")}
    done = subprocess.run(script, check=True, env=environ, capture_output=True, text=True)
    assert done.stdout.startswith("machine: no GPU, ")
    (row,) = rows_of(tmp_path / "rows" / "cpu" / "steps-b8-d16.csv")
    assert (row["subject"], row["status"]) == ("naive", "ok")
    assert installed() == before


def test_the_short_grid_begins_with_the_fused_step_and_has_its_rehearsal():
    short, tiny = grid("short"), grid("short_tiny")
    assert len(set(short)) == len(short) == len(set(tiny))
    assert [case.backend for case in short[:6]] == ["triton"] * 6
    assert set(short) - set(grid("full")) == set()
    names = [
        [(case.subject, case.backend, case.head, case.rate) for case in g] for g in (short, tiny)
    ]
    assert names[0] == names[1]
    assert max(case.identities for case in tiny) <= 300


def test_a_machine_says_what_is_not_as_expected(monkeypatch):
    assert machine.line("cpu").startswith("machine: no GPU, ")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no GPU" in machine.problems("cuda", None)[-1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (140 << 30, 141 << 30))
    monkeypatch.setattr(machine, "installed", lambda: True)
    assert machine.problems("cuda", "NVIDIA H200") == []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 << 30, 141 << 30))
    monkeypatch.setattr(machine, "installed", lambda: False)
    triton, capability, plan, memory = machine.problems("cuda", "NVIDIA T4")
    assert "triton" in triton
    assert "7.5" in capability
    assert "NVIDIA T4" in plan
    assert "71.0 GiB" in memory


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["dense", "streamed", "triton"])
def test_a_gpu_fills_its_columns(tmp_path, backend):
    (case,) = [
        dataclasses.replace(case, identities=5000, dim=64, batch_size=64)
        for case in grid("tiny")
        if (case.backend, case.head, case.rate) == (backend, "cosface", 1.0)
        and case.state == ("split" if backend == "triton" else "fp32")
        and case.identities == 64
    ]
    options = dataclasses.replace(QUICK, device="cuda", energy_seconds=1.0)
    session = Session([case], options, tmp_path, resume=True)
    assert session.measure(case, None) == "ok"
    row = session.table(case).row(case)
    assert row is not None
    for column in ("step_ms", "allocated_peak_mib", "reserved_peak_mib", "gpu_name", "cuda"):
        assert row[column], column
    state_mib = 5000 * 64 * (6 if case.state == "split" else 8) / 2**20
    assert float(row["allocated_start_mib"]) >= state_mib
    assert float(row["allocated_peak_mib"]) >= float(row["allocated_start_mib"])
    assert row["energy_mj_per_step"] or row["notes"]  # a number, or why there is none
