"""The fused kernels against `dense` in float64: in Triton's interpreter, or on a GPU if there is.

In float32 only: the interpreter's products of bfloat16 are wrong. The products on a GPU are in
test_triton_gpu.py.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import contextmanager
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import HEADS, build_head
from frcore.heads.base import Head, HeadBatch, has_rule
from frcore.loss import triton as backend
from frcore.loss.dense import dense_loss
from frcore.loss.inputs import EntryFilter
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler
from tests.contract_cases import HEAD_CASES

pytest.importorskip("triton", reason="no triton: pip install 'frcore[gpu]'")
from frcore.loss.triton import kernels
from frcore.loss.triton.problem import shift_is_safe
from frcore.loss.triton.step import TritonCenterGradient

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLASSES, DIM, ROWS = 77, 24, 20
"""No multiple of a tile, no power of two; more rows than half a tile."""


class LearnedScale(Head):
    """A scale for each row, which is learned: the kernels give R's slope by it."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.temperature = torch.nn.Parameter(torch.tensor(12.0))

    def scale(self, batch):
        return self.temperature + 0.5 * batch.norm_N


HEADS_HERE = {
    "arcface": ("arcface", {}),
    "cosface-s128": ("cosface", {"scale": 128.0}),  # too large for a constant shift
    "curricularface": ("curricularface", {"ema": 0.5}),
    "mv-adaptive": ("mv_softmax", {}),
    "mv-fixed": ("mv_softmax", {"weighting": "fixed", "margin_type": "arc"}),
    "softmax": ("softmax", {}),
    "adacos": ("adacos", {}),
    "learned": (LearnedScale, {}),
}
BROADFACE = {"size": 17, "over": {"name": "partial_fc", "rate": 0.4}}
SAMPLERS = {
    "full": ("full", {}),
    **{
        f"sampled-{update}": ("partial_fc", {"rate": 0.4, "update": update})
        for update in ("sparse", "lazy", "dense")
    },
    "zero": ("interclass_filter", {"threshold": 0.2}),
    "drop": ("interclass_filter", {"threshold": 0.2, "mode": "drop"}),
    "drop-all": ("interclass_filter", {"threshold": -1.0, "mode": "drop"}),
    "queue": ("broadface", {"size": 33}),
    "queue-filter-sampled": (
        "broadface",
        {
            "size": 17,
            "over": {"name": "interclass_filter", "threshold": 0.2, "over": BROADFACE["over"]},
        },
    ),
}
FAST = {("curricularface", "queue-filter-sampled"), ("learned", "queue")}
SLOW = {
    ("arcface", "full"),
    ("arcface", "drop-all"),
    ("mv-adaptive", "zero"),
    ("mv-fixed", "sampled-lazy"),
    ("softmax", "drop"),
    ("adacos", "sampled-sparse"),
}


def make(head, sampler, backend, *, dim=DIM, classes=CLASSES, fused=True, momentum=0.9):
    """A classifier and its optimiser; the reference is float64 on the CPU."""
    kind, parameters = HEADS_HERE[head]
    name, options = SAMPLERS[sampler]
    build = build_head if isinstance(kind, str) else lambda cls, **given: cls(**given)
    classifier = Classifier(
        classes,
        dim,
        head=build(kind, num_classes=classes, **parameters),
        sampler=build_sampler(name, **options),
        backend=backend,
        center_std=1.0,
    )
    classifier = classifier.double() if backend == "dense" else classifier.to(DEVICE)
    sgd = CentersSGD(classifier, lr=0.2, momentum=momentum, weight_decay=5e-3, fused=fused)
    return classifier, sgd


def steps(count, *, dim=DIM, classes=CLASSES, rows=ROWS):
    """Batches with cosines of every size, repeated labels, and an embedding of norm 0."""
    generator = torch.Generator().manual_seed(3)
    centers = Classifier(classes, dim, head="arcface", center_std=1.0).centers.detach()
    for _ in range(count):
        labels = torch.randint(classes, (rows,), generator=generator)
        labels[-3:] = labels[0]
        x = torch.randn(rows, dim, generator=generator)
        x += torch.linspace(-2, 3, rows)[:, None] * centers[labels]
        x += torch.linspace(0, 1, rows)[:, None] * centers[(labels + 1) % classes]
        x[1] = 0.0
        yield x, labels


def run(classifier, sgd, batches):
    """Row losses and embeddings' gradients of all steps, then centres, momentum, parameters."""
    results = []
    dtype = classifier.centers.dtype
    for x, labels in batches:
        x = x.to(classifier.centers.device, dtype).requires_grad_()
        sgd.zero_grad()
        classifier.head.zero_grad()
        output = classifier(x, labels.to(x.device))
        output.loss.backward()
        sgd.step()
        results += [output.row_loss_N, x.grad, *(p.grad for p in classifier.head.parameters())]
    classifier.synchronize()
    momentum = sgd.state[classifier.centers].get("momentum")
    results += [classifier.centers.detach()] + ([] if momentum is None else [momentum])
    return [result.cpu().double() for result in results]


def assert_near(ours, expected, tolerance=3e-5):
    """Relative to the largest number of each tensor."""
    for our, theirs in zip(ours, expected, strict=True):
        assert our.isfinite().all()
        assert (our - theirs).abs().max() <= tolerance * theirs.abs().max().clamp_min(1e-3)


def tier(pair):
    if pair in FAST:
        return ()
    return pytest.mark.slow if pair in SLOW else pytest.mark.grid


PAIRS = [pytest.param(*pair, marks=tier(pair)) for pair in product(HEADS_HERE, SAMPLERS)]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("head", "sampler"), PAIRS)
def test_three_steps_are_those_of_dense(head, sampler, monkeypatch):
    """Losses, embeddings' gradients, centres and momentum; never tile by tile."""
    monkeypatch.setattr(TritonCenterGradient, "tiles", None)
    batches = list(steps(3))
    expected = run(*make(head, sampler, "dense"), batches)
    assert_near(run(*make(head, sampler, "triton"), batches), expected)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("dim", [16, pytest.param(300, marks=pytest.mark.slow)])
def test_other_dimensions_and_no_momentum(dim, momentum):
    batches = list(steps(2, dim=dim, classes=19, rows=5))
    results = [
        run(*make("arcface", "full", b, dim=dim, classes=19, momentum=momentum), batches)
        for b in ("dense", "triton")
    ]
    assert_near(results[1], results[0])


@pytest.mark.parametrize("sampler", ["full", "sampled-sparse"])
def test_gradient_as_a_tensor(sampler):
    """Without the fused optimiser the centres' gradient is (C, D), 0 where they are no columns."""
    (batch,) = steps(1)
    gradients = []
    for name in ("dense", "triton"):
        classifier, _ = make("mv-adaptive", sampler, name, fused=False)
        x, labels = (part.to(classifier.centers.device) for part in batch)
        classifier(x.to(classifier.centers.dtype), labels).loss.backward()
        gradients.append(classifier.centers.grad.cpu().double())
    assert_near(gradients[1:], gradients[:1])
    assert torch.equal(gradients[0] == 0, gradients[1] == 0)


@pytest.mark.parametrize("sampler", ["full", "sampled-sparse"])
def test_accumulated_batches(sampler):
    """Gradients of two batches add up, although a kernel moves for one only."""
    batches = list(steps(2))
    moved = []
    for name in ("dense", "triton"):
        classifier, sgd = make("curricularface", sampler, name)
        sgd.zero_grad()
        for x, labels in batches:
            x = x.to(classifier.centers.device, classifier.centers.dtype)
            classifier(x, labels.to(x.device)).loss.backward()
        sgd.step()
        moved.append(classifier.centers.detach().cpu().double())
    assert_near(moved[1:], moved[:1])


def test_a_centre_of_norm_0():
    (x, labels), *_ = steps(1)
    results = []
    for name in ("dense", "triton"):
        classifier, sgd = make("arcface", "full", name)
        with torch.no_grad():
            classifier.centers[labels[0]] = 0.0
        results.append(run(classifier, sgd, [(x, labels)]))
    assert_near(results[1], results[0])


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("scale", [30.0, 64.0, 65.0, 100.0])
@pytest.mark.parametrize("cosine", [-1.0, 1.0])
def test_exponents_at_both_ends(scale, cosine):
    """All other columns opposite, or all alike: neither vanishes nor overflows."""
    centers = torch.zeros(CLASSES, DIM)
    centers[:, 0] = cosine
    x, labels = torch.eye(1, DIM).repeat(2, 1), torch.tensor([3, 5])
    head = build_head("normface", num_classes=CLASSES, scale=scale)
    ours = backend.triton_loss(x.to(DEVICE), centers.to(DEVICE), labels.to(DEVICE), head)
    dense = dense_loss(x.double(), centers.double(), labels, head)
    assert_close(ours.row_loss_N.cpu().double(), dense.row_loss_N, rtol=1e-5, atol=1e-5)


def test_the_shift_is_constant_only_where_that_is_proven():
    batch = HeadBatch(torch.zeros(1), torch.ones(1), torch.zeros(1, dtype=torch.long), CLASSES)
    for name, scale, safe in (
        ("arcface", 64.0, True),
        ("arcface", 66.0, False),
        ("mv_softmax", 32.0, True),
        ("mv_softmax", 64.0, False),
        ("curricularface", 64.0, False),  # t is known on the device only
    ):
        rule = build_head(name, num_classes=CLASSES, scale=scale).negative_rule(batch)
        assert shift_is_safe(rule, scale, normalizes=True) == safe, (name, scale)
    rule = Head(CLASSES).negative_rule(batch)
    assert not shift_is_safe(rule, None, normalizes=True)
    assert not shift_is_safe(rule, 1.0, normalizes=False)


def ruled(head):
    """`negative` and what `negative_rule` says, for cosines on both sides of every threshold."""
    cosine_N = torch.linspace(-1, 1, 9, dtype=torch.float64)
    batch = HeadBatch(cosine_N, torch.ones(9), torch.arange(9), 9)
    head.double().update(
        HeadBatch(cosine_N + 0.1, torch.ones(9), torch.arange(9), 9, lambda s: cosine_N)
    )
    cosine_NC = torch.linspace(-1, 1, 41, dtype=torch.float64).expand(9, 41)
    target_N1 = head.target(cosine_N, batch)[:, None]
    return head.negative(cosine_NC, target_N1, batch), head.negative_rule(batch)(cosine_NC)


@pytest.mark.fast_cases(33)
@pytest.mark.parametrize("case", HEAD_CASES)
def test_the_rule_is_the_heads_own(case):
    name, parameters = HEAD_CASES[case]
    head = build_head(name, num_classes=9, **parameters)
    if not has_rule(head):
        assert name in {"sphereface2", "uniface"}
        return
    assert_close(*ruled(head), rtol=0, atol=1e-15)


def test_bounds_of_a_rule_hold():
    for case, (name, parameters) in HEAD_CASES.items():
        head = build_head(name, num_classes=9, **parameters)
        if not has_rule(head):
            continue
        negative_NC, _ = ruled(head)
        batch = HeadBatch(torch.zeros(1), torch.ones(1), torch.zeros(1, dtype=torch.long), 9)
        bounds = head.negative_rule(batch).bounds()
        if bounds is None:
            assert name == "curricularface"
            continue
        assert bounds[0] <= negative_NC.min() + 1e-12, case
        assert bounds[1] >= negative_NC.max() - 1e-12, case


def test_who_overrides_negative_alone_has_no_rule():
    class Mine(type(build_head("curricularface", num_classes=9))):
        def negative(self, cosine_NC, target_N1, batch):
            return cosine_NC.square()

    assert not has_rule(Mine(9))
    assert has_rule(build_head("arcface", num_classes=9))


@pytest.mark.parametrize("head", [name for name in HEADS if name in ("sphereface2", "uniface")])
def test_other_heads_go_through_streamed_and_say_so_once(head, caplog):
    backend._say_once.cache_clear()
    classifier = Classifier(9, 4, head=head, backend="triton").to(DEVICE)
    with caplog.at_level(logging.INFO, logger="frcore.loss.triton"):
        for _ in range(2):
            x = torch.randn(3, 4, device=DEVICE)
            classifier(x, torch.tensor([0, 1, 8], device=DEVICE)).loss.backward()
    assert len(caplog.records) == 1
    assert type(classifier.head).__name__ in caplog.text
    assert classifier.centers.grad.abs().sum() > 0


def test_what_the_kernels_do_not_have():
    head = build_head("arcface", num_classes=9)
    assert backend.unsuited(head, torch.empty(9, 512)) == ""
    assert "float64" in backend.unsuited(head, torch.empty(9, 8, dtype=torch.float64))
    assert "513" in backend.unsuited(head, torch.empty(9, 513))


def test_without_triton_or_a_gpu_the_user_is_told(monkeypatch):
    x, centers, label = torch.randn(1, 4), torch.randn(9, 4), torch.tensor([0])
    head = build_head("arcface", num_classes=9)
    monkeypatch.setattr(backend, "interpreted", lambda: False)
    with pytest.raises(UserError, match="TRITON_INTERPRET=1"):
        backend.triton_loss(x, centers, label, head)
    monkeypatch.setattr(backend, "installed", lambda: False)
    with pytest.raises(UserError, match=r"frcore\[gpu\]"):
        backend.triton_loss(x, centers, label, head)
    assert not backend.supports(head)


def test_a_triton_without_what_the_kernels_need_counts_as_none(monkeypatch, repository):
    for found, usable in (("3.3.1", False), ("3.4.0", True), ("3.10.0", True)):
        monkeypatch.setattr(backend, "version", lambda name, found=found: found)
        assert backend.installed.__wrapped__() is usable
    pyproject = (repository / "pyproject.toml").read_text()
    assert pyproject.count("triton>=") == pyproject.count(f'"triton>={backend.OLDEST};') == 2


@pytest.mark.slow
def test_importing_the_core_does_not_import_triton():
    code = "import sys, frcore.classifier; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_evaluation_needs_no_gradient():
    classifier, _ = make("arcface", "zero", "triton")
    (x, labels), *_ = steps(1)
    with torch.no_grad():
        loss = classifier.eval()(x.to(DEVICE), labels.to(DEVICE)).loss
    reference, _ = make("arcface", "zero", "dense")
    assert_close(loss.cpu().double(), reference.eval()(x.double(), labels).loss.detach())


def test_the_filter_spares_the_own_column():
    """A row's own cosine of 1 is above any threshold, and stays."""
    centers = torch.eye(9, DIM)
    output = backend.triton_loss(
        centers[:3].clone().to(DEVICE),
        centers.to(DEVICE),
        torch.arange(3, device=DEVICE),
        build_head("cosface", num_classes=9, margin=0.0, scale=10.0),
        entry_filter=EntryFilter(0.5, "drop"),
    )
    expected = torch.tensor(8.0).log().sub(10.0).exp().log1p().expand(3)
    assert_close(output.row_loss_N.cpu(), expected)


def test_kernels_are_launched_on_the_device_of_the_centres(monkeypatch):
    """Triton launches on the current device, which need not be the tensors' (`cuda:1`)."""
    current: list[torch.Tensor] = []

    @contextmanager
    def device_of(tensor):
        current.append(tensor)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    launched = []
    for name in ("norm_kernel", "reduce_kernel", "center_kernel"):
        kernel = getattr(kernels, name)

        class Watched:
            def __getitem__(self, grid, kernel=kernel, name=name):
                launched.append((name, current[-1].data_ptr() if current else None))
                return kernel[grid]

        monkeypatch.setattr(kernels, name, Watched())
    classifier = Classifier(40, 16, head="arcface", backend="triton").to(DEVICE)
    optimizer = CentersSGD(classifier, lr=0.1)
    x_ND = torch.randn(4, 16, device=DEVICE)
    classifier(x_ND, torch.arange(4, device=DEVICE)).loss.backward()
    optimizer.step()
    assert {name for name, _ in launched} == {"norm_kernel", "reduce_kernel", "center_kernel"}
    assert {place for _, place in launched} == {classifier.centers.data_ptr()}
