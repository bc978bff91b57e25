"""The plan against the figures of a derivation on paper (D = 512), and against a real step.

The paper: per class 4BD FLOP and 2D + 4 bytes in the first pass, 4BD and {20, 12, 8}D + 8 in the
second, at the rates that were reached on an H200: 790 TFLOP/s and 4.3 TB/s.
"""

from __future__ import annotations

import pytest

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.optimizer import CentersSGD
from frcore.planning import STATES, Workload, get_device, memory_of, plan_step

H200 = get_device("h200").at_best()


def step_ms(**workload) -> float:
    return plan_step(Workload(**{"state": "fp32_shadow", **workload}), H200).step_ms


def memory_ms(part) -> float:
    return part.split_ms(H200, "bf16")[1]


@pytest.mark.parametrize(
    ("identities", "rate", "ms"),
    [(10**5, 1.0, 0.53), (10**5, 0.1, 0.053), (10**6, 1.0, 5.31), (10**6, 0.1, 0.53),
     (10**7, 1.0, 53.1), (10**7, 0.1, 5.31)],
)  # fmt: skip
def test_fused_step_is_4_products_at_batch_1024(identities, rate, ms):
    planned = plan_step(Workload(identities, rate=rate, state="fp32_shadow"), H200)
    assert planned.split_ms[0] == pytest.approx(ms, rel=0.01)
    sampling = [memory_ms(p) for p in planned.parts if p.name == "sampling"]
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
        compute, memory, _ = part.split_ms(H200, "bf16")
        return compute - memory

    assert second(balance - 3) < 0 < second(balance + 3)


@pytest.mark.parametrize(
    ("backend", "rate", "moved", "peak"),
    # Of 1,024 rows and D = 512, in bytes for each class.
    [("dense", 1.0, 94 * 1024 + 116 * 512, 21 * 1024 + 4 * 512),
     ("dense", 0.1, 9.4 * 1024 + 16.4 * 512, 2.1 * 1024 + 0.8 * 512),
     ("partial_fc_v2", 1.0, 110 * 1024 + 144 * 512, 16 * 1024 + 8 * 512),
     ("partial_fc_v1", 0.5, 102 * 1024 + 98 * 512, 20 * 1024 + 6 * 512)],
)  # fmt: skip
def test_steps_of_one_kernel_per_operation(backend, rate, moved, peak):
    """All times add up: 3 products of 2·1,024·512 FLOP at 67 TFLOP/s, and what is moved."""
    workload = Workload(10**6, rate=rate, backend=backend, precision="fp32")
    plan = plan_step(workload, H200)
    drawn = 8e6 + 8e6 * rate if rate < 1 else 0
    compute, memory = 3.145728e12 * rate / 67e9, (moved * 1e6 + drawn) / 4.3e9
    assert plan.split_ms == pytest.approx((compute, memory, 0))
    assert plan.step_ms == pytest.approx(compute + memory)
    assert not plan.is_lower_bound
    assert plan.memory["temporaries"] == pytest.approx(peak * 1e6)
    assert plan.memory["centres and momentum"] == 4.096e9


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
    """8 GPUs with 1,024 images each: the rows of all, an eighth of the classes."""
    whole = Workload(8 * 10**6, gpus=8, batch=1024)
    assert (whole.rows, whole.classes) == (8192, 10**6)
    plan = plan_step(whole, H200)
    assert plan.step_ms == pytest.approx(plan_step(Workload(10**6, batch=8192), H200).step_ms)
    # Embeddings and labels, and their gradient; twice 5 numbers for each row.
    sent = 7 / 8 * 8192 * (4 * 512 + 8 + 4 * 512 + 2 * 5 * 4)
    assert plan.split_ms[2] == pytest.approx(sent / 450e6)
    assert plan.total_ms == pytest.approx(plan.step_ms + sent / 450e6)
    assert not plan.is_lower_bound  # communication can be hidden
    assert plan_step(Workload(10**6), H200).is_lower_bound
    assert plan_step(Workload(10**6), H200).split_ms[2] == 0


def test_what_every_rank_holds_besides_its_centres():
    """A queue of 1,000 rows of 8 numbers, with labels; a backbone of 100 parameters."""
    shape = {"gpus": 2, "batch": 4, "dim": 8, "queue": 1000, "backbone": 100}
    memory = memory_of(Workload(10**4, rate=0.5, update="lazy", **shape))
    assert memory["queue"] == 1000 * (2 * 4 * 8 + 8)
    assert memory["backbone"] == 100 * 4 * 4  # parameters, gradients, momentum, buckets to send
    assert memory["steps of lazy centres"] == 4 * 5000
    assert memory["centres and momentum"] == 8 * 8 * 5000
    assert memory["sampling"] == 4 * 5000 + 16 * 2500
    alone = memory_of(Workload(10**4, **(shape | {"gpus": 1, "queue": 0})))
    assert alone["backbone"] == 100 * 4 * 3
    assert not {"queue", "sampling", "steps of lazy centres"} & set(alone)


def test_dense_updates_touch_every_centre():
    sparse = step_ms(identities=10**7, rate=0.1, state="fp32")
    dense = step_ms(identities=10**7, rate=0.1, state="fp32", update="dense")
    moved = 0.9 * 10**7 * 512 * 16  # centre and momentum, read and written
    assert dense - sparse == pytest.approx(1e3 * moved / 4.3e12)


@pytest.mark.parametrize(
    ("workload", "words"),
    [({"identities": 0}, "identities 0"), ({"identities": 9, "rate": 0.0}, "rate 0"),
     ({"identities": 9, "state": "splitt"}, "did you mean 'split'"),
     ({"identities": 9, "state": "split", "backend": "dense"}, "backend 'dense'"),
     ({"identities": 9, "backend": "triton"}, "dense, fused, partial_fc_v1, partial_fc_v2"),
     ({"identities": 9, "update": "lasy"}, "did you mean 'lazy'"),
     ({"identities": 9, "gpus": 0}, "gpus 0")],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused(workload, words):
    with pytest.raises(UserError, match=words):
        Workload(**workload)


def test_a_precision_that_the_gpu_has_not_is_refused():
    with pytest.raises(UserError, match=r"on v100: unknown precision 'bf16'.*fp16, fp32"):
        plan_step(Workload(9, precision="bf16"), get_device("v100"))
