"""GPUs by name, in the spelling of people and of drivers, and by figures."""

from __future__ import annotations

import pytest

from frcore.errors import UserError
from frcore.planning import DEVICES, Workload, get_device, plan_step

H200 = get_device("h200")


@pytest.mark.parametrize(
    ("board", "name"),
    [("NVIDIA H200", "h200"), ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA L40S", "l40s"),
     ("NVIDIA A100-SXM4-80GB", "a100"), ("NVIDIA GeForce RTX 4090", "rtx-4090"),
     ("Tesla V100-SXM2-32GB", "v100"), ("NVIDIA A100-SXM4-40GB", None),
     ("NVIDIA H100 PCIe", None), ("NVIDIA GH200 480GB", None), ("", None)],
)  # fmt: skip
def test_boards_as_their_drivers_call_them(board, name):
    assert [one.name for one in DEVICES.values() if one.is_board(board)] == [name] * bool(name)


@pytest.mark.parametrize("text", ["rtx-4090", "RTX 4090", "rtx4090"])
def test_names_in_any_spelling(text):
    assert get_device(text) is DEVICES["rtx-4090"]


def test_an_unknown_gpu_may_be_given_by_figures():
    with pytest.raises(
        UserError, match=r"unknown GPU 'h20'; did you mean 'h200'\? Allowed: a100, h"
    ):
        get_device("h20")
    with pytest.raises(UserError, match="give another GPU by --tflops, --bandwidth"):
        get_device("mi300x")


@pytest.mark.parametrize("device", DEVICES.values(), ids=str)
def test_every_figure_has_a_source(device):
    assert "data sheet" in device.source or "white paper" in device.source
    reached = device.reached
    assert reached is None or (reached.source and reached.tb_per_second < device.tb_per_second)
    assert reached is None or all(
        rate < device.tflops[name] for name, rate in reached.tflops.items()
    )


def test_the_data_sheet_of_an_h200_and_what_was_reached():
    """Dense rates are half of those with sparsity: 1,979 TFLOP/s."""
    assert H200.tflops["bf16"] == 1979 / 2
    assert H200.at_best().tflops["bf16"] == 790
    assert H200.at_best().tflops["fp32"] == H200.tflops["fp32"]
    assert get_device("a100").at_best() is get_device("a100")


def test_a_gpu_by_figures_is_yours():
    yours = H200.yours(tflops=100, tb_per_second=1, memory_gib=24, network_gb_per_second=10)
    assert yours.name == "your GPU"
    assert "h200" not in yours.source
    assert not yours.is_board("NVIDIA H200")
    assert yours.at_best() is yours
    assert H200.yours() is H200


def test_figures_that_are_not_given_are_the_named_gpus_and_said_so():
    yours = get_device("l40s").yours(memory_gib=1)
    assert yours.source.startswith("memory_gib: as given; tflops, tb_per_second, network")
    assert "of l40s (data sheet" in yours.source
    assert not plan_step(Workload(10**6), yours).fits
    assert yours.tflops == get_device("l40s").tflops
