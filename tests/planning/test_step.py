"""The plan against the figures of a derivation on paper (H200, D = 512), and against a real step.

The paper: per class 4BD FLOP and 2D + 4 bytes in the first pass, 4BD and {20, 12, 8}D + 8 in the
second; 162 bytes per logit and 140 per element of the centres for insightface's step.
"""

from __future__ import annotations

import pytest

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.optimizer import CentersSGD
from frcore.planning import STATES, Workload, get_device, plan_step

H200 = get_device("h200")


def step_ms(**workload) -> float:
    return plan_step(Workload(**{"state": "fp32_shadow", **workload}), H200).step_ms


@pytest.mark.parametrize(
    ("identities", "rate", "ms"),
    [(10**5, 1.0, 0.53), (10**5, 0.1, 0.053), (10**6, 1.0, 5.31), (10**6, 0.1, 0.53),
     (10**7, 1.0, 53.1), (10**7, 0.1, 5.31)],
)  # fmt: skip
def test_fused_step_is_4_products_at_batch_1024(identities, rate, ms):
    planned = plan_step(Workload(identities, rate=rate, state="fp32_shadow"), H200)
    passes = sum(p.compute_ms(H200, "bf16") for p in planned.parts)
    assert passes == pytest.approx(ms, rel=0.01)
    sampling = [p.memory_ms(H200) for p in planned.parts if p.name == "sampling"]
    assert planned.step_ms - sum(sampling) == pytest.approx(ms, rel=0.01)


@pytest.mark.parametrize(
    ("state", "batch", "ms"),
    [("fp32_shadow", 128, 2.72), ("split", 128, 1.76), ("split_no_momentum", 128, 1.29),
     ("split", 4096, 21.2)],
)  # fmt: skip
def test_small_batches_wait_for_memory(state, batch, ms):
    assert step_ms(identities=10**6, state=state, batch=batch) == pytest.approx(ms, rel=0.005)


@pytest.mark.parametrize(
    ("state", "balance"), [("fp32_shadow", 919), ("split", 551), ("split_no_momentum", 367)]
)
def test_batch_from_which_the_second_pass_waits_for_arithmetic(state, balance):
    def second(batch):
        part = plan_step(Workload(10**6, batch=batch, state=state), H200).parts[-1]
        return part.compute_ms(H200, "bf16") - part.memory_ms(H200)

    assert second(balance - 3) < 0 < second(balance + 3)


@pytest.mark.parametrize(
    ("identities", "rate", "fp32", "tf32"),
    [(10**5, 1.0, 11.2, 6.3), (10**5, 0.1, 1.75, 1.26), (10**6, 1.0, 112, 63),
     (10**6, 0.1, 17.5, 12.6), (10**7, 1.0, 1124, 631), (10**7, 0.1, 175, 126)],
)  # fmt: skip
def test_dense_step(identities, rate, fp32, tf32):
    for precision, ms in (("fp32", fp32), ("tf32", tf32)):
        workload = {"state": "fp32", "backend": "dense", "rate": rate, "precision": precision}
        assert step_ms(identities=identities, **workload) == pytest.approx(ms, rel=0.01)


def test_a_queue_has_no_gradient_for_its_rows():
    """6·E·C·D FLOP more."""
    more = step_ms(identities=10**6, queue=8192) - step_ms(identities=10**6)
    assert more == pytest.approx(31.9, rel=0.01)


def test_the_statistic_of_adacos_is_a_fifth_product():
    assert step_ms(identities=10**6, statistic=True) == pytest.approx(5.31 * 1.25, rel=0.01)


@pytest.mark.parametrize(
    ("identities", "state", "gb"),
    [(10**6, "fp32_shadow", 5.1), (10**6, "split", 3.1), (10**6, "split_no_momentum", 2.0),
     (10**7, "fp32_shadow", 51), (10**7, "split_no_momentum", 20.5), (3 * 10**7, "split", 92)],
)  # fmt: skip
def test_fused_memory_is_the_state_and_little_else(identities, state, gb):
    memory = plan_step(Workload(identities, state=state), H200).memory
    assert memory["centres and momentum"] / 1e9 == pytest.approx(gb, rel=0.03)
    assert memory["workspace"] == pytest.approx(35e6, rel=0.05)
    assert sum(memory.values()) / memory["centres and momentum"] < 1.04


@pytest.mark.parametrize(
    ("identities", "rate", "gb"), [(10**6, 1.0, 23.6), (10**7, 1.0, 236), (10**7, 0.1, 82)]
)
def test_dense_memory(identities, rate, gb):
    plan = plan_step(Workload(identities, rate=rate, backend="dense", precision="fp32"), H200)
    assert plan.memory_gib * 1024**3 / 1e9 == pytest.approx(gb, rel=0.01)


def test_capacity_of_one_board():
    plans = {
        state: plan_step(Workload(3 * 10**7, state=state), H200)
        for state in ("fp32_shadow", "split", "split_no_momentum")
    }
    assert [plan.fits for plan in plans.values()] == [False, True, True]


@pytest.mark.slow
def test_stored_bytes_are_those_of_a_real_classifier():
    classifier = Classifier(100, 8, head="cosface")
    optimizer = CentersSGD(classifier, lr=0.1)
    momentum = optimizer.state_dict()["state"][0]["momentum"]
    stored = sum(t.numel() * t.element_size() for t in (classifier.centers, momentum))
    assert stored == STATES["fp32"].stored * 100 * 8


def test_sharding_divides_classes_and_gathers_rows():
    """8 GPUs with 1024 images each: the rows of all, an eighth of the classes."""
    whole = Workload(8 * 10**6, gpus=8, batch=1024)
    assert (whole.rows, whole.classes) == (8192, 10**6)
    plan = plan_step(whole, H200)
    assert plan.step_ms == plan_step(Workload(10**6, batch=8192), H200).step_ms
    share = 7 / 8
    volumes = {name: size / share for name, size in plan.exchanged.items()}
    labels = 8192 * 8
    assert volumes["all-gather x, y"] - labels == pytest.approx(8.4e6, rel=0.01)
    assert volumes["reduce-scatter dX"] == pytest.approx(16.8e6, rel=0.01)
    assert volumes["all-gather max, sum"] == 8 * 65536  # 64 KiB from each GPU
    assert plan_step(Workload(10**6), H200).exchanged == {}


def test_dense_updates_touch_every_centre():
    sparse = step_ms(identities=10**7, rate=0.1, state="fp32")
    dense = step_ms(identities=10**7, rate=0.1, state="fp32", update="dense")
    moved = 0.9 * 10**7 * 512 * 16  # centre and momentum, read and written
    assert dense - sparse == pytest.approx(1e3 * moved / 4.3e12)


def test_own_ceilings_take_the_tables_place():
    mine = H200.replaced(tflops=395, memory_gib=1)
    plan = plan_step(Workload(10**6), mine)
    assert plan.step_ms == pytest.approx(2 * plan_step(Workload(10**6), H200).step_ms)
    assert not plan.fits
    assert "given" in mine.source
    assert H200.replaced() is H200


@pytest.mark.parametrize(
    ("workload", "words"),
    [({"identities": 0}, "identities 0"), ({"identities": 9, "rate": 0.0}, "rate 0"),
     ({"identities": 9, "state": "splitt"}, "did you mean 'split'"),
     ({"identities": 9, "state": "split", "backend": "dense"}, "backend 'dense'"),
     ({"identities": 9, "backend": "triton"}, "dense, fused"),
     ({"identities": 9, "gpus": 0}, "gpus 0")],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused(workload, words):
    with pytest.raises(UserError, match=words):
        Workload(**workload)


def test_unknown_device_and_precision_are_refused():
    with pytest.raises(UserError, match="h200"):
        get_device("h20")
    with pytest.raises(UserError, match="bf16"):
        plan_step(Workload(9, precision="fp16"), H200)
