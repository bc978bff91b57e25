from __future__ import annotations

import re
import subprocess
import sys
from itertools import product

import pytest

from frcore.errors import UserError
from frcore.files import read_json
from frcore.heads import HEADS
from frcore.measurement import conditions
from frcore.measurement.load import cores
from frcore.measurement.measure import measure
from frcore.samplers import SAMPLERS
from frcore.study.expansion import MeasurementSpec

SAMPLER_PARAMETERS = {"partial_fc": {"rate": 0.5}, "broadface": {"size": 12}}

ONLY_ON_A_GPU = ("allocated_peak_mib", "reserved_peak_mib", "nvml_process_mib", "nvml_device_mib",
                 "power_watts", "power_limit_watts", "energy_mj_per_step", "energy_seconds",
                 "utilisation_percent", "clock_mhz", "temperature_start_celsius",
                 "temperature_celsius", "throttle_reasons", "throttled_ms", "other_processes",
                 "cooldown_seconds")  # fmt: skip

MAY_BE_ZERO = {"rss_extra_mib", "others_cores", "waited_percent", "steady"}
"""What can be seen to be nothing, or is no number. All else is more than 0, or null."""

DOOMED = """
import os, signal
from frcore.heads.cosface import CosFace

class Doomed(CosFace):
    '''Ends its process where there are 50 identities, and raises where there are 60.'''

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)

    def target(self, cosine_N, batch):
        if batch.num_classes == 50:
            os.kill(os.getpid(), signal.SIGKILL)
        if batch.num_classes == 60:
            raise ValueError("sixty")
        return super().target(cosine_N, batch)
"""


def make_spec(head="cosface", sampler="full", **measurement) -> MeasurementSpec:
    return MeasurementSpec.model_validate(
        {
            "head": head,
            "sampler": sampler,
            "image": {"size": 16, "alignment": "none"},
            "measurement": {
                "identities": [40], "batch_size": 8, "dim": 16, "warmup": 1, "steps": 5,
                "attempts": 1, **measurement,
            },
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def columns(repository) -> set[str]:
    """The names that docs/formats.md promises."""
    text = (repository / "docs" / "formats.md").read_text()
    section = text.partition("## Measurement (")[2].partition("\n## ")[0]
    listed = section.partition("One of `rows`")[2]
    return set(re.findall(r"^\| `([a-z_]+)`", listed, re.MULTILINE))


# A process each: each head and each sampler in the slow tier, and the rest, of which tests/heads
# has each, are long.
PAIRS = [
    pytest.param(
        head,
        sampler,
        marks=pytest.mark.slow if sampler == "full" or head == "cosface"
        else [pytest.mark.grid, pytest.mark.long],
    )
    for head, sampler in product(HEADS, SAMPLERS)
]  # fmt: skip


@pytest.mark.parametrize(("head", "sampler"), PAIRS)
def test_every_head_with_every_sampler(head, sampler, columns, tmp_path):
    spec = make_spec(head, {"name": sampler, **SAMPLER_PARAMETERS.get(sampler, {})})
    out = tmp_path / "m.json"
    measure(spec, out)
    record = read_json(out)
    assert record["id"] == f"{head}-{sampler}"
    assert record["spec_hash"] == spec.hash
    (row,) = record["rows"]
    assert set(row) == columns
    assert (row["status"], row["error"]) == ("ok", None)
    assert row["identities"] == 40
    assert row["dim"] == 16
    assert 0 < row["step_ms_low"] <= row["step_ms"] <= row["step_ms_high"]
    assert row["images_per_second"] == pytest.approx(8e3 / row["step_ms"])
    assert row["cpu_ms_per_step"] > 0
    assert row["rss_peak_mib"] > row["rss_extra_mib"] >= 0
    assert [row[name] for name in ONLY_ON_A_GPU] == [None] * len(ONLY_ON_A_GPU)
    assert [name for name in set(row) - MAY_BE_ZERO if row[name] in (0, "")] == []
    assert row["warmup_steps"] >= 1 + 2  # two blocks at least, or there is nothing to compare
    assert row["steady"] in (True, False)
    assert row["attempts"] == 1


@pytest.mark.slow
def test_memory_grows_with_the_identities_by_what_the_matrices_take(tmp_path):
    spec = make_spec(identities=[1_000, 10_000, 40_000], batch_size=16, dim=32, backend="dense")
    rows = measure(spec, tmp_path / "m.json")["rows"]
    small, middle, large = (row["rss_extra_mib"] for row in rows)
    # At least the centres' gradient and one matrix of logits, in fp32, are new in a step.
    least = (40_000 - 10_000) * (32 + 16) * 4 / 2**20
    assert large - middle > least
    assert middle - small > least / 6
    assert small < 8


@pytest.mark.slow
def test_memory_of_the_streamed_backend_does_not(tmp_path):
    spec = make_spec(identities=[10_000, 40_000], batch_size=16, dim=32, backend="streamed")
    rows = measure(spec, tmp_path / "m.json")["rows"]
    assert [row["backend"] for row in rows] == ["streamed", "streamed"]
    small, large = (row["rss_extra_mib"] for row in rows)
    assert large - small < (40_000 - 10_000) * (32 + 16) * 4 / 2**20 / 4


@pytest.mark.slow
def test_split_centres_take_fewer_bytes_and_are_named(tmp_path):
    bytes_per_class = {}
    few, many = 100_000, 400_000
    for form in ("fp32", "split"):
        spec = make_spec(identities=[few, many], dim=64, backend="streamed", center_format=form)
        rows = measure(spec, tmp_path / "m.json")["rows"]
        named = {(row["backend"], row["center_format"]) for row in rows}
        assert named == {("streamed", form)}
        # Of two sizes: what a tile, the libraries and the allocator take is in both.
        grown_mib = rows[1]["rss_peak_mib"] - rows[0]["rss_peak_mib"]
        bytes_per_class[form] = grown_mib * 2**20 / (many - few)
    # 8 and 6 bytes for each entry of centres and momentum.
    assert bytes_per_class["fp32"] == pytest.approx(64 * 8, rel=0.1)
    assert bytes_per_class["split"] == pytest.approx(64 * 6, rel=0.1)


@pytest.mark.slow
def test_one_child_for_each_row_leaves_no_history(tmp_path):
    after, alone = (
        measure(make_spec(identities=given, batch_size=16, dim=32), tmp_path / "m.json")["rows"][-1]
        for given in ([40_000, 1_000], [1_000])
    )
    assert abs(after["rss_peak_mib"] - alone["rss_peak_mib"]) < 4


@pytest.mark.slow
def test_a_disturbed_row_is_measured_again_in_a_fresh_process(tmp_path, monkeypatch):
    """Real load: threads that spin take this machine's other cores and wait for this one's."""
    spinners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores())
    ]
    monkeypatch.setattr(conditions, "PAUSE_SECONDS", 0)
    try:
        record = measure(make_spec(attempts=2), tmp_path / "m.json")
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    (row,), (other,) = record["rows"], record["other_attempts"]
    assert (row["status"], row["attempts"]) == ("ok", 2)
    for seen in (row, other):
        assert seen["disturbed"]
        assert seen["others_cores"] > 0.25


@pytest.mark.slow
def test_a_row_whose_process_dies_does_not_take_the_others_with_it(monkeypatch, tmp_path):
    (tmp_path / "doomed_head.py").write_text(DOOMED)
    monkeypatch.syspath_prepend(tmp_path)
    spec = make_spec("doomed_head:Doomed", identities=[40, 50, 60, 70])
    rows = measure(spec, tmp_path / "m.json")["rows"]
    assert [row["status"] for row in rows] == ["ok", "failed", "failed", "ok"]
    assert "SIGKILL" in rows[1]["error"]
    assert rows[2]["error"] == "ValueError: sixty"
    assert rows[1]["step_ms"] is None
    assert rows[1]["identities"] == 50


KILLED_ONCE = """
import os, signal
from pathlib import Path
from frcore.heads.cosface import CosFace

class KilledOnce(CosFace):
    '''Its process is killed the first time.'''

    def target(self, cosine_N, batch):
        try:
            Path("killed").touch(exist_ok=False)
        except FileExistsError:
            return super().target(cosine_N, batch)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_row_whose_process_was_killed_is_measured_again(monkeypatch, tmp_path):
    (tmp_path / "killed_head.py").write_text(KILLED_ONCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conditions, "PAUSE_SECONDS", 0)
    record = measure(make_spec("killed_head:KilledOnce", attempts=2), tmp_path / "m.json")
    (row,), (other,) = record["rows"], record["other_attempts"]
    assert (row["status"], row["attempts"], row["error"]) == ("ok", 2, None)
    assert "SIGKILL" in other["error"]
    assert other["disturbed"] == other["error"]


@pytest.mark.slow
def test_too_many_identities_are_a_row_with_the_bytes_that_were_asked(tmp_path):
    rows = measure(make_spec(identities=[10**12, 40]), tmp_path / "m.json")["rows"]
    assert [row["status"] for row in rows] == ["oom", "ok"]
    assert f"{10**12 * 16 * 4} bytes" in rows[0]["error"]
    assert rows[0]["bytes_asked"] == 10**12 * 16 * 4
    assert rows[0]["step_ms"] is None


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (make_spec("arcfase"), "arcface"),
        (make_spec(sampler={"name": "partial_fc", "rate": 2}), "rate"),
        (make_spec(backbone="tinny"), "tiny"),
    ],
)
def test_a_wrong_name_or_parameter_stops_before_anything_is_measured(spec, told, tmp_path):
    out = tmp_path / "m.json"
    with pytest.raises(UserError, match=told):
        measure(spec, out)
    assert not out.exists()


MAY_BE_ZERO_ON_A_GPU = MAY_BE_ZERO | {"throttled_ms", "other_processes", "cooldown_seconds"}


@pytest.mark.gpu
def test_on_a_gpu(columns, tmp_path):
    spec = make_spec(identities=[1000, 20_000, 10**9], batch_size=64, dim=128, device="cuda")
    record = measure(spec, tmp_path / "m.json")
    small, large, beyond = record["rows"]
    for row in (small, large):
        assert set(row) == columns
        assert row["status"] == "ok"
        assert 0 < row["step_ms_low"] <= row["step_ms"] <= row["step_ms_high"]
        assert row["reserved_peak_mib"] >= row["allocated_peak_mib"] > 0
        assert row["nvml_device_mib"] is None or row["nvml_device_mib"] > row["allocated_peak_mib"]
        assert row["power_watts"] is None or row["power_watts"] > 20
        assert [name for name in set(row) - MAY_BE_ZERO_ON_A_GPU if row[name] == 0] == []
        assert row["energy_seconds"] is None or row["energy_seconds"] >= 5
        for name in ("temperature_celsius", "utilisation_percent", "power_limit_watts"):
            assert row[name] is not None or name.split("_")[0] in row["notes"]
        assert row["disturbed"] is None or row["attempts"] == spec.measurement.attempts
    least = 19_000 * (3 * 128 + 64) * 4 / 2**20  # centres, momentum, gradient, logits
    assert large["allocated_peak_mib"] - small["allocated_peak_mib"] > least
    assert beyond["status"] == "oom"
    assert "bytes" in beyond["error"]
    assert record["environment"]["gpu"]["uuid"].startswith(("GPU-", "MIG-"))
