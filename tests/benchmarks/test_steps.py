"""What the session times: peers take the same step as ours, and large tables are built in place."""

from __future__ import annotations

import pytest
import torch

from benchmarks.session.cases import Case
from benchmarks.session.peers import SCALE, PeerStep, unavailable
from benchmarks.session.steps import OurStep, build_classifier, own_tensors
from frcore.heads import build_head

CPU = torch.device("cpu")


def case(subject="frcore", backend="-", head="normface", rate=1.0, state="fp32", identities=50):
    backend = "dense" if (subject, backend) == ("frcore", "-") else backend
    return Case(subject, backend, head, identities, rate, state, "fp32", 6, 16)


def moved(step, times: int = 3) -> torch.Tensor:
    for _ in range(times):
        step()
    center_CD = step.classifier.centers if isinstance(step, OurStep) else step.center_CD
    return center_CD.detach()


@pytest.mark.parametrize("peer", ["naive", "linear_ce"])
def test_a_peer_moves_the_centres_as_we_do(peer):
    """The same batches, loss and SGD: otherwise the times would be of different things."""
    assert build_head("normface", num_classes=50).scale_value == SCALE
    if reason := unavailable(case(peer), "cpu", None):
        pytest.skip(reason)
    before = OurStep(case(), CPU).classifier.centers.detach().clone()
    ours, theirs = moved(OurStep(case(), CPU)), moved(PeerStep(case(peer), CPU))
    assert (ours - before).norm() > 0.1 * before.norm()
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["cosface", "adacos"])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_backends_take_the_same_step(head, rate):
    dense = moved(OurStep(case(head=head, rate=rate), CPU))
    streamed = moved(OurStep(case(backend="streamed", head=head, rate=rate), CPU))
    torch.testing.assert_close(streamed, dense, rtol=1e-4, atol=1e-5)


def test_nothing_is_left_without_memory():
    for rate in (1.0, 0.5):
        classifier = build_classifier(case(rate=rate, head="elasticface"), CPU)
        tensors = [*classifier.parameters(), *classifier.buffers()]
        assert {tensor.device.type for tensor in tensors} == {"cpu"}
        assert all(tensor.isfinite().all() for tensor in tensors if tensor.is_floating_point())


def test_both_formats_hold_the_same_centres():
    whole = build_classifier(case(backend="streamed"), CPU)
    halves = build_classifier(case(backend="streamed", state="split"), CPU)
    assert len(own_tensors(whole)) == 1
    assert len(own_tensors(halves)) == 2
    everything = slice(0, 50)
    assert torch.equal(halves.table.read(everything), whole.table.read(everything))
    assert 0.009 < float(whole.centers.detach().std()) < 0.011


def test_no_momentum_is_not_allocated():
    step = OurStep(case(backend="streamed", state="split_no_momentum"), CPU)
    step()
    assert "momentum" not in step.optimizer.state[step.classifier.centers]


@pytest.mark.parametrize(
    ("subject", "backend", "device", "words"),
    [("insightface", "-", "cuda", "--peer"), ("frcore", "triton", "cpu", "needs a GPU"),
     ("cce", "-", "cuda", "not installed")],
)  # fmt: skip
def test_what_cannot_run_here_says_why(subject, backend, device, words):
    import importlib.util

    if subject == "cce" and importlib.util.find_spec("cut_cross_entropy"):
        pytest.skip("cut_cross_entropy is installed")
    assert words in (unavailable(case(subject, backend), device, None) or "")


def test_insightface_needs_cuda(tmp_path):
    assert "CUDA" in (unavailable(case("insightface"), "cpu", tmp_path) or "")
    assert unavailable(case("insightface"), "cuda", tmp_path) is None
