"""What the session times: peers take the same step as ours, and large tables are built in place."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from benchmarks.session import peers
from benchmarks.session.cases import Case
from benchmarks.session.peers import SCALE, InsightfaceStep, PeerStep, liger_loss, unavailable
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
    [("insightface", "-", "cuda", "--peer"), ("cce", "-", "cuda", "not installed")],
)  # fmt: skip
def test_what_cannot_run_here_says_why(subject, backend, device, words):
    import importlib.util

    if subject == "cce" and importlib.util.find_spec("cut_cross_entropy"):
        pytest.skip("cut_cross_entropy is installed")
    assert words in (unavailable(case(subject, backend), device, None) or "")


def test_the_kernels_need_a_gpu_or_the_interpreter(monkeypatch):
    for on, words in ((False, "needs a GPU"), (True, "")):
        monkeypatch.setattr(peers, "interpreted", lambda on=on: on)
        monkeypatch.setattr(peers, "installed", lambda: True)
        assert words in (unavailable(case(backend="triton"), "cpu", None) or "")


def test_insightface_needs_cuda(tmp_path):
    assert "CUDA" in (unavailable(case("insightface"), "cpu", tmp_path) or "")
    assert unavailable(case("insightface"), "cuda", tmp_path) is None


INSIGHTFACE = {
    "losses.py": "class CombinedMarginLoss:\n    def __init__(self, *given): self.given = given\n",
    "partial_fc_v2.py": """
import torch
class PartialFC_V2(torch.nn.Module):
    def __init__(self, margin, dim, classes, rate):
        super().__init__()
        self.given = margin.given
        self.weight = torch.nn.Parameter(torch.normal(0, 0.01, (classes, dim)))
    def forward(self, x, labels):
        return torch.nn.functional.cross_entropy(x @ self.weight.T, labels)
""",
}


@pytest.mark.parametrize("inside", ["", "recognition/arcface_torch"])
def test_insightface_is_two_files_or_a_checkout(tmp_path, inside, monkeypatch):
    """Stand-ins of its files: what is asked of them, and that a step trains its centres."""
    folder = tmp_path / inside
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in INSIGHTFACE.items():
        (folder / name).write_text(text)
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        step = InsightfaceStep(case("insightface", head="cosface", rate=0.5), CPU, tmp_path)
        before = step.layer.weight.detach().clone()
        step()
    finally:
        torch.distributed.destroy_process_group()
        for name in INSIGHTFACE:
            sys.modules.pop(name.removesuffix(".py"), None)
    assert step.layer.given == (64.0, 1.0, 0.0, 0.4)
    assert not torch.equal(step.layer.weight, before)


@pytest.mark.parametrize(("wide", "rows"), [(False, 1), (True, 6)])
def test_liger_gets_its_default_and_all_rows_in_one_chunk(wide, rows, monkeypatch):
    """The chunk is computed as Liger 0.8.5 does in `fused_linear_cross_entropy_forward`."""
    taken = []

    def fused(row_ND, center_CD, label_N, *, chunk_mem_const):
        factor = -(-len(center_CD) // (chunk_mem_const * center_CD.shape[1]))
        taken.append(min(1 << (-(-len(row_ND) // factor) - 1).bit_length(), len(row_ND)))
        return torch.nn.functional.cross_entropy(row_ND @ center_CD.T, label_N)

    name = "liger_kernel.transformers.functional"
    for part in ("liger_kernel", "liger_kernel.transformers", name):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    sys.modules[name].liger_fused_linear_cross_entropy = fused
    liger_loss(torch.randn(6, 16), torch.randn(5000, 16), torch.randint(5000, (6,)), wide=wide)
    assert taken == [rows]
