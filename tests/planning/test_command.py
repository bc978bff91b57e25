"""`frcore plan`: numbers as people write them, one plan in full, several as a table, JSON."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.errors import UserError
from frcore.planning import Workload, get_device, plan_step
from frcore.planning.command import count
from tests.planning.test_measured import write

H200 = get_device("h200")


@pytest.mark.parametrize(
    ("text", "number"),
    [("85742", 85_742), ("360k", 360_000), ("360K", 360_000), ("10M", 10**7), ("1e7", 10**7),
     ("30e6", 3 * 10**7), ("1.1M", 1_100_000), ("2.059906M", 2_059_906), ("0.5k", 500), ("0", 0),
     ("1B", 10**9)],
)  # fmt: skip
def test_counts_as_people_write_them(text, number):
    assert count(text, "--identities") == number


@pytest.mark.parametrize(
    "text", ["10X", "1.5", "-3", "", "ten", "1e", "0.0001k", "nan", "inf", "1e999", "10MM", "1 M M"]
)
def test_what_is_no_count_is_refused(text):
    with pytest.raises(UserError, match=r"^--batch .*; allowed are whole numbers, .* such as"):
        count(text, "--batch")


def run(*arguments: str):
    return CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "80"})


def words(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    return " ".join(result.output.split())


def record(*arguments: str):
    return json.loads(run(*arguments, "--json").output)


def test_it_says_that_nothing_was_measured(tmp_path):
    text = words("--identities", "30M", "--gpus", "8", "--rate", "0.1", "--reference", tmp_path)
    assert "No measured rows" in text
    assert "30,000,000 identities on 8 × h200" in text
    assert "No communication is hidden" in text
    assert "for several, give --network" in text


def test_it_shows_errors_of_prediction_against_every_row(tmp_path):
    bound = plan_step(Workload(10**6, state="split"), H200).step_ms
    write(tmp_path, {"step_ms": 2 * bound}, {"step_ms": 4 * bound, "head": "arcface"})
    options = ("--identities", "1e6", "--state", "split", "--reference", str(tmp_path))
    text = words(*options)
    assert "+100 %" in text
    assert "-50 %" in text
    assert "2 measured row(s) of triton, bf16: 11.3 ms" in text  # 4.24 ms / 0.375
    assert "No measured rows" not in text
    found = record(*options)
    assert found["fitted_ms"]["triton, bf16"]["total_ms"] == pytest.approx(bound / 0.375)
    assert [row["error"] for row in found["measured"]] == pytest.approx([1.0, -0.5])


def test_the_bound_is_of_the_data_sheet_and_what_was_reached_is_said(tmp_path):
    """4 products of 2·1,024·512·10⁶ FLOP at 989.5 and at 790 TFLOP/s."""
    options = ("--identities", "1M", "--reference", str(tmp_path))
    found = record(*options)
    assert found["step_ms"] == pytest.approx(4.194304e12 / 989.5e9)
    assert found["best_reached_ms"] == pytest.approx(4.194304e12 / 790e9)
    assert "At the best rates reached on h200: 5.31 ms" in words(*options)
    assert record(*options, "--device", "a100")["best_reached_ms"] is None


def test_a_gpu_by_figures_is_not_called_by_another_name(tmp_path):
    write(tmp_path, {})
    figures = ("--tflops", "100", "--bandwidth", "1", "--memory-gib", "24", "--network", "10")
    text = words("--identities", "1M", *figures, "--reference", str(tmp_path))
    assert "on 1 × your GPU" in text
    assert "your GPU has 24.0 GiB" in text
    assert "h200" not in text.lower()
    found = record("--identities", "1M", *figures, "--reference", str(tmp_path))
    assert found["step_ms"] == pytest.approx(41.94304)
    assert found["measured"] == []  # those of an H200 say nothing about it


def test_older_names_of_the_figures_still_count():
    old = record("--identities", "1M", "--tb-per-second", "2", "--link-gb-per-second", "9")
    assert old["device"]["tb_per_second"] == 2
    assert old["device"]["network_gb_per_second"] == 9


def test_compute_memory_and_network_are_apart(tmp_path):
    options = ("--identities", "8M", "--gpus", "8", "--backbone", "43.59M")
    found = record(*options, "--device", "a100", "--reference", str(tmp_path))
    assert found["compute_ms"] == pytest.approx(8 * 4.194304e12 / 312e9)
    sent = 7 / 8 * (8192 * (2 * 4 * 512 + 8 + 40) + 2 * 174.36e6)
    assert found["network_ms"] == pytest.approx(sent / 300e6)
    assert found["total_ms"] == pytest.approx(found["step_ms"] + found["network_ms"])
    assert found["memory_bytes"]["backbone"] == 16 * 43_590_000
    assert found["is_lower_bound"] is False


def test_several_values_give_a_line_each(tmp_path):
    options = ("--identities", "1M,50M", "--gpus", "1,8", "--rate", "1,0.1", "--state",
               "fp32,split_no_momentum", "--batch", "128,1k",
               "--reference", str(tmp_path))  # fmt: skip
    found = record(*options)
    assert len(found) == 32
    assert found[-1]["shape"]["identities"] == 50_000_000
    assert found[-1]["shape"]["state"] == "split_no_momentum"
    text = words(*options)
    assert text.count("50,000,000") == 16
    assert "does not fit in the 140.4 GiB" in text
    big = next(one for one in found if not one["fits"])
    assert big["shape"]["gpus"] == 1


def test_defaults_follow_backend_and_gpu(tmp_path):
    def shape(*options: str):
        return record("--identities", "1M", "--reference", str(tmp_path), *options)["shape"]

    assert shape()["precision"] == "bf16"
    assert shape("--device", "v100")["precision"] == "fp16"
    assert shape("--backend", "dense")["precision"] == "fp32"


def test_heads_add_their_pass(tmp_path):
    def ms(head: str) -> float:
        return record("--identities", "1M", "--head", head, "--reference", str(tmp_path))["step_ms"]

    assert ms("adacos") == pytest.approx(1.25 * ms("curricularface"), rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--identities", "10X"), "--identities 10X; allowed are whole numbers"),
     (("--identities", "1M", "--rate", "x"), "--rate x; allowed are numbers above 0, up to 1"),
     (("--identities", "1M", "--rate", "nan"), "--rate nan; allowed is above 0"),
     (("--identities", "1M", "--rate", "2"), "--rate 2.0; allowed is above 0, up to 1"),
     (("--identities", "1M", "--gpus", "1,0"), "--gpus 0; allowed is 1 or more"),
     (("--identities", "1M", "--state", "splitt"), "did you mean 'split'"),
     (("--identities", "1M", "--update", "x"), "Allowed: dense, lazy, sparse"),
     (("--identities", "1M", "--device", "h20"), "did you mean 'h200'"),
     (("--identities", "1M", "--bandwidth", "0"), "--bandwidth 0; allowed are numbers above 0"),
     (("--identities", "1M", "--memory-gib", "-1"), "--memory-gib -1; allowed are")],
)  # fmt: skip
def test_what_is_not_allowed_is_said(options, message):
    result = run(*options)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
