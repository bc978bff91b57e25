"""Split centres in the fused kernels: `frcore.centers.storage` bit for bit, `streamed` in the sums.

In Triton's interpreter, or on a GPU if there is one.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from frcore.centers import storage
from frcore.centers.sgd import Rates
from frcore.centers.storage import RoundedRows, SplitRows
from frcore.classifier import Classifier
from frcore.loss.auto import pick
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler

triton = pytest.importorskip(
    "triton", minversion="3.4", reason="no triton: pip install 'frcore[gpu]'"
)
import triton.language as tl  # noqa: E402

from frcore.loss.triton import state  # noqa: E402
from frcore.loss.triton.launch import move_centers  # noqa: E402
from frcore.loss.triton.problem import Move  # noqa: E402
from frcore.loss.triton.step import TritonCenterGradient  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLASSES, DIM, ROWS = 77, 22, 20
"""A dimension that is no multiple of the four numbers in a random word."""
UPDATES = ["full", "sparse", "lazy", "dense"]


@triton.jit
def halves_kernel(x, high, low, joined, rounded, noise, SIZE: tl.constexpr):
    """`split`, `join` of that, and `round_with`."""
    at = tl.arange(0, SIZE)
    upper, lower = state.split(tl.load(x + at))
    tl.store(high + at, upper)
    tl.store(low + at, lower)
    tl.store(joined + at, state.join(upper, lower).to(tl.int32, bitcast=True))
    tl.store(rounded + at, state.round_with(tl.load(x + at), tl.load(noise + at)))


@triton.jit(do_not_specialize=["key"])
def noise_kernel(row, out, key, D: tl.constexpr, WIDE: tl.constexpr, SIZE: tl.constexpr):
    """`random_bits` of some rows."""
    place, dim = tl.arange(0, SIZE), tl.arange(0, WIDE)
    noise = state.random_bits(tl.load(row + place), dim, key, D)
    tl.store(out + place[:, None] * D + dim[None, :], noise, mask=dim[None, :] < D)


def patterns():
    """Bits of float32: all kinds of edges with both signs, ties of the rounding, and at random."""
    edges = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x10000, 0x18000, 0x7FFFFF, 0x800000]
    edges += [0x3F800000 + low for low in (0, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    edges += [0x3F810000 + low for low in (0x7FFF, 0x8000, 0x8001)]
    edges += [0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFF, 0x7F800000]  # the largest, infinity
    edges += [0x7F800001, 0x7FC00000, 0x7FFF8000, 0x7FFFFFFF]  # no numbers
    both = [*edges, *(edge - 2**31 for edge in edges)]
    generator = torch.Generator().manual_seed(0)
    random = torch.randint(-(2**31), 2**31, (4096 - len(both),), generator=generator)
    return torch.cat([torch.tensor(both), random]).int()


@pytest.mark.parametrize("kind", ["none", "all", "random"])
def test_halves_and_rounding_are_those_of_center_state(kind):
    bits = patterns().to(DEVICE)
    x, size = bits.view(torch.float32), len(bits)
    noise = {
        "none": torch.zeros_like(bits),
        "all": torch.full_like(bits, 0xFFFF),
        "random": torch.randint_like(bits, 2**16),
    }[kind]
    high, low, rounded = (torch.empty(size, dtype=torch.int16, device=DEVICE) for _ in range(3))
    joined = torch.empty_like(bits)
    halves_kernel[(1,)](x, high, low, joined, rounded, noise, SIZE=size)
    expected_high, expected_low = storage.split(x)
    assert torch.equal(high, expected_high.view(torch.int16))
    assert torch.equal(low, expected_low)
    assert torch.equal(joined, bits.where(~x.isnan(), 0x7FC00000))
    expected = storage.round_with(x, noise)
    number = ~x.isnan()
    assert torch.equal(rounded[number], expected.view(torch.int16)[number])
    # torch's conversion of NaN to bfloat16 gives one of several; the kernel always the same.
    assert expected[~number].isnan().all()
    assert (rounded[~number] == 0x7FC0).all()


@pytest.mark.parametrize("dim", [1, 22, 64])
@pytest.mark.parametrize(("seed", "time"), [(0, 0), (7, 1), (2**63 + 5, 10**9)])
def test_random_bits_are_those_of_center_state(dim, seed, time):
    row = torch.tensor([0, 1, 2, 9, 76, 10**6, 2**32 + 3, 2**40], device=DEVICE)
    noise = torch.empty(len(row), dim, dtype=torch.int32, device=DEVICE)
    key = storage.stream_key(seed, time)
    noise_kernel[(1,)](row, noise, key, D=dim, WIDE=64, SIZE=len(row))
    assert torch.equal(noise, storage.random_bits(row, dim, seed=seed, time=time))


def make(backend, update="full", *, momentum=0.9, seed=0, center_format="split", head="arcface"):
    sampler = "full" if update == "full" else build_sampler("partial_fc", rate=0.4, update=update)
    classifier = Classifier(
        CLASSES,
        DIM,
        head=head,
        sampler=sampler,
        backend=backend,
        precision="fp32",
        center_std=1.0,
        center_format=center_format,
    ).to(DEVICE)
    sgd = CentersSGD(classifier, lr=0.2, momentum=momentum, weight_decay=5e-3, seed=seed)
    return classifier, sgd


def batch(step=0):
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(CLASSES, (ROWS,), generator=generator)
    labels[-3:] = labels[0]
    return torch.randn(ROWS, DIM, generator=generator).to(DEVICE), labels.to(DEVICE)


def backward(classifier, sgd, step=0):
    x, labels = batch(step)
    x.requires_grad_()
    sgd.zero_grad()
    output = classifier(x, labels)
    output.loss.backward()
    return output.row_loss_N.detach(), x.grad


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("update", ["full", "sparse"])
def test_the_kernel_moves_split_centres_as_it_moves_float32_ones(update, momentum):
    """Of one gradient, and of any centres and momentum: every bit of both halves, and the momentum
    as `RoundedRows` writes it. Rows that are no columns keep theirs."""
    classifier, sgd = make("triton", update, momentum=momentum)
    backward(classifier, sgd)
    (deferred,) = classifier.centers.grad.parts
    values, velocities = sgd._values, sgd._velocities
    if momentum:
        velocities.tensor_CD.normal_()
        velocities.time = 3
    ours = Move.of(values, velocities, Rates(0.2, momentum, 5e-3))
    whole_CD = values.read(slice(None))
    velocity_CD = velocities.read(slice(None)) if momentum else None
    plain = replace(ours, center_CD=whole_CD, low_CD=None, velocity_CD=velocity_CD)
    before = whole_CD.clone()
    # The same gradient for both: of operands that neither moves.
    problem = replace(deferred.problem, center_CD=deferred.problem.center_CD.clone())
    for move in (plain, ours):
        move_centers(problem, deferred.slopes, move)
    assert torch.equal(values.read(slice(None)), whole_CD)
    moved = (whole_CD != before).any(1)
    active = classifier.active
    assert moved.sum() == (CLASSES if active is None else len(active))
    if momentum:
        index = moved.nonzero().flatten()
        expected = RoundedRows(torch.empty_like(velocities.tensor_CD), velocities.seed, time=3)
        expected.write(index, velocity_CD[index])
        assert torch.equal(velocities.tensor_CD[index], expected.tensor_CD[index])
        assert not torch.equal(velocities.tensor_CD[index], velocity_CD[index].bfloat16())


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("update", UPDATES)
def test_steps_are_those_of_streamed(update, momentum, monkeypatch):
    """Four steps, the same random bits: but for numbers that a last bit of the gradient rounds
    the other way. Never tile by tile."""
    monkeypatch.setattr(TritonCenterGradient, "tiles", None)
    results = []
    for backend in ("streamed", "triton"):
        classifier, sgd = make(backend, update, momentum=momentum)
        seen = [part for step in range(4) for part in take(classifier, sgd, step)]
        seen.append(classifier.read_centers())
        if momentum:
            seen.append(sgd._velocities.read(slice(None)))
        results.append(seen)
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()
    same = results[1][8] == results[0][8]
    # Rows at rest are the same bits in any case; others in most.
    assert same.float().mean() > 0.3
    if momentum:
        # Unless both draw the same bits, one number in a few hundred would agree.
        assert (results[1][9] == results[0][9]).float().mean() > 0.99


def take(classifier, sgd, step):
    seen = backward(classifier, sgd, step)
    sgd.step()
    return seen


@pytest.mark.slow
def test_the_momentum_has_no_bias():
    """One step from 0 momentum over many seeds: the mean is the float32 momentum."""
    moments = []
    for seed in range(8):
        classifier, sgd = make("triton", seed=seed)
        take(classifier, sgd, 0)
        moments.append(sgd._velocities.read(slice(None)))
    # A gradient of the same high halves, in float32.
    plain, plain_sgd = make("streamed", momentum=0.9)
    plain_sgd._velocities = storage.PlainRows(torch.zeros(CLASSES, DIM, device=DEVICE))
    take(plain, plain_sgd, 0)
    exact = plain_sgd._velocities.read(slice(None))
    errors = torch.stack(moments) - exact
    each = errors.norm(dim=(1, 2)).mean()
    assert each > 1e-3 * exact.norm()
    assert errors.mean(0).norm() < 1.15 * each / 8**0.5


def test_what_the_kernel_does_not_move_goes_tile_by_tile():
    """A table that is not contiguous, and one other than the loss read."""
    classifier, sgd = make("triton")
    backward(classifier, sgd)
    (deferred,) = classifier.centers.grad.parts
    values = sgd._values
    rates = Rates(0.2, 0.9, 0.0)
    assert Move.of(values, None, Rates(0.2, 0.0, 0.0)) is not None
    other = SplitRows(values.high_CD.detach().T.contiguous().T, values.low_CD)
    copy = SplitRows(values.high_CD.detach().clone(), values.low_CD)
    plain = storage.PlainRows(torch.zeros(CLASSES, DIM, device=DEVICE))
    before = values.read(slice(None))
    assert not deferred.apply_sgd(other, sgd._velocities, rates)
    assert not deferred.apply_sgd(copy, sgd._velocities, rates)
    assert not deferred.apply_sgd(values, plain, rates)
    assert torch.equal(values.read(slice(None)), before)


def test_accumulated_batches():
    """Gradients of two batches add up, although the kernel moves for one only."""
    moved = []
    for backend in ("streamed", "triton"):
        classifier, sgd = make(backend, "sparse", momentum=0.0)
        for step in range(2):
            x, labels = batch(step)
            classifier(x, labels).loss.backward()
        sgd.step()
        moved.append(classifier.read_centers())
    assert_close(moved[1], moved[0], rtol=1e-4, atol=1e-6)


def test_a_head_without_kernels_goes_through_streamed():
    results = []
    for backend in ("streamed", "triton"):
        classifier, sgd = make(backend, head="sphereface2")
        take(classifier, sgd, 0)
        results.append(classifier.read_centers())
    assert torch.equal(*results)


def test_auto_never_takes_dense_for_split_centres():
    classifier, sgd = make("auto")
    take(classifier, sgd, 0)
    on_cpu = pick(classifier.head, CLASSES, "cpu", is_split=True)
    on_gpu = pick(classifier.head, CLASSES, "cuda", is_split=True)
    assert (on_cpu, on_gpu) == ("streamed", "triton")
    assert classifier.backend_name == (on_gpu if DEVICE == "cuda" else on_cpu)
