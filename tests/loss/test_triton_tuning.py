"""Choosing tiles: every candidate's numbers, that timing has no effect, and what is kept."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch

from frcore.errors import UserError

pytest.importorskip("triton", minversion="3.4", reason="no triton: pip install 'frcore[gpu]'")
from triton import knobs
from triton.runtime.errors import OutOfResources

from frcore.loss.triton import launch, tuning
from frcore.loss.triton.tiles import A100, CONSUMER, HOPPER, Tiles, candidates, static_tiles
from frcore.loss.triton.tuning import Tuner
from tests.loss.test_triton import assert_near, make, run, steps

A, B, C = Tiles(64, 32, 8, 3), Tiles(32, 32, 4, 2), Tiles(16, 16, 4, 1)
OPTIONS = (A, B, C)
KERNELS = ("reduce", "score", "center")
SHARED = (HOPPER, A100, CONSUMER)


@pytest.fixture(autouse=True)
def cache_dir(monkeypatch, tmp_path):
    """Triton's cache, empty."""
    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache_dir):
    """What is kept."""
    return sorted(cache_dir.rglob(tuning.FILE))


def shapes(kernel):
    """All tiles that any width and precision may get, one of each shape: the rest is speed."""
    kinds = product((128, 256, 512), ("bf16", "tf32", "fp32"), SHARED)
    every = [t for kind in kinds for t in candidates(kernel, *kind)]
    return list({(t.rows, t.columns): t for t in every}.values())


class Stopwatch:
    """A clock whose times are given; it does run what it times, twice, as the real one does."""

    def __init__(self, *times):
        self.times, self.calls = times, 0

    def __call__(self, run):
        run(), run()
        taken = self.times[self.calls % len(self.times)]
        self.calls += 1
        if isinstance(taken, Exception):
            raise taken
        return taken


def choose(*times, options=OPTIONS, tuner=None):
    """The choice by given times, and the tiles that were run."""
    ran = []
    tuner = tuner or Tuner("here", Stopwatch(*times))
    return tuner.tuned("kind", options, lambda: ran.append), ran


@pytest.mark.slow
@pytest.mark.parametrize("index", range(max(len(shapes(kernel)) for kernel in KERNELS)))
def test_every_shape_gives_the_numbers_of_dense(index, monkeypatch):
    """A learned scale and a queue: both kinds of pass 1, all their sums, and pass 2."""

    def one(kernel, width, precision, shared):
        found = shapes(kernel)
        return (found[index % len(found)],)

    monkeypatch.setattr(launch, "candidates", one)
    batches = list(steps(2))
    expected = run(*make("learned", "queue", "dense"), batches)
    assert_near(run(*make("learned", "queue", "triton"), batches), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "sampler", "momentum"),
    [("mv-adaptive", "sampled-sparse", 0.9), ("arcface", "queue", 0.0)],
)
def test_timing_changes_no_bit(head, sampler, momentum, monkeypatch):
    """Every candidate is run, on all columns or some; then the step is what it is without that."""
    untuned = run(*make(head, sampler, "triton", momentum=momentum), steps(2))
    for most in (16, 2**15):
        clock = Stopwatch(1.0, 2.0, 2.0)
        tuner = Tuner(f"at most {most}", clock)
        monkeypatch.setattr(launch, "tuner_for", lambda device, tuner=tuner: tuner)
        monkeypatch.setattr(launch, "may_time", lambda device: True)
        monkeypatch.setattr(launch, "REHEARSED_COLUMNS", dict.fromkeys(KERNELS, most))
        tuned = run(*make(head, sampler, "triton", momentum=momentum), steps(2))
        kinds = len(tuner._chosen)
        assert kinds >= (3 if sampler == "queue" else 2)
        assert clock.calls == 3 * kinds
        for ours, theirs in zip(tuned, untuned, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_timing_a_gradient_changes_no_bit(monkeypatch):
    (batch,) = steps(1)
    gradients = []
    for tuner in (None, Tuner("here", Stopwatch(1.0, 2.0, 2.0))):
        monkeypatch.setattr(launch, "tuner_for", lambda device, tuner=tuner: tuner)
        monkeypatch.setattr(launch, "may_time", lambda device: True)
        classifier, _ = make("arcface", "sampled-sparse", "triton", fused=False)
        x, labels = (part.to(classifier.centers.device) for part in batch)
        classifier(x, labels).loss.backward()
        gradients.append(classifier.centers.grad)
    assert any("move=False" in key for key in tuner._chosen)
    assert torch.equal(*gradients)


def test_the_fastest_is_chosen_and_timed_once():
    clock = Stopwatch(3.0, 1.0, 2.0)
    tuner = Tuner("here", clock)
    chosen, ran = choose(tuner=tuner)
    assert (chosen, ran) == (B, [A, A, B, B, C, C])
    assert choose(tuner=tuner) == (B, [])
    assert clock.calls == 3


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((1.0, 0.99, 0.985), A),  # no gain that is more than noise
        ((1.0, 0.99, 0.97), C),
        ((1.0, OutOfResources(262_144, 232_448, "shared memory"), 0.5), C),
        ((OutOfResources(262_144, 166_912, "shared memory"), 2.0, 1.9), C),
        ((1.0, torch.OutOfMemoryError("no memory"), 2.0), A),
        ((RuntimeError("PassManager::run failed"),), A),
    ],
)
def test_noise_and_tiles_that_cannot_run(times, expected):
    assert choose(*times)[0] == expected


def test_what_could_not_be_timed_is_not_kept(cache_dir):
    """A full GPU is no property of the tiles: the step goes on, and the next process times."""

    def no_room():
        raise torch.OutOfMemoryError("no memory for a copy")

    assert Tuner("here", never).tuned("kind", OPTIONS, no_room) == A
    assert choose(tuner=Tuner("here", Stopwatch(RuntimeError("none runs"))))[0] == A
    assert not files(cache_dir)


def test_an_error_of_ours_is_not_taken_for_tiles_that_do_not_fit():
    with pytest.raises(TypeError):
        choose(TypeError("a mistake"))


def test_without_leave_to_time_nothing_is_timed_or_remembered():
    tuner = Tuner("here", Stopwatch(3.0, 1.0, 2.0))
    for may_time, expected in ((False, A), (True, B), (False, B)):
        assert tuner.tuned("kind", OPTIONS, lambda: id, may_time=may_time) == expected


def never(run):
    raise AssertionError("timed although it was kept")


def test_what_is_kept_spares_the_next_process_its_timing(cache_dir):
    assert choose(tuner=Tuner("here", Stopwatch(3.0, 1.0, 2.0)))[0] == B
    assert choose(tuner=Tuner("here", never)) == (B, [])
    (path,) = files(cache_dir)
    assert json.loads(path.read_text()) == [32, 32, 4, 2, 128]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[32, 32",
        b"[" * 5_000,
        b"\xff\xfe\x00",
        b"null",
        b"[999, 32, 4, 2, 128]",
        b'{"rows": 32}',
    ],
)
def test_what_is_broken_or_stale_is_timed_again_and_replaced(content, cache_dir):
    choose(tuner=Tuner("here", Stopwatch(3.0, 1.0, 2.0)))
    (path,) = files(cache_dir)
    path.write_bytes(content)
    assert choose(tuner=Tuner("here", Stopwatch(3.0, 2.0, 1.0)))[0] == C
    assert choose(tuner=Tuner("here", never))[0] == C


def test_other_machines_choices_stay():
    for context, times in (("one", (3.0, 1.0, 2.0)), ("two", (3.0, 2.0, 1.0))):
        choose(tuner=Tuner(context, Stopwatch(*times)))
    assert choose(tuner=Tuner("one", never))[0] == B
    assert choose(tuner=Tuner("two", never))[0] == C


def test_a_cache_that_cannot_be_written_costs_only_the_keeping(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path / "file" / "cache"))
    assert choose(tuner=Tuner("here", Stopwatch(3.0, 1.0, 2.0)))[0] == B


def test_tuning_is_asked_for_by_name(monkeypatch):
    monkeypatch.delenv("FRCORE_TUNE", raising=False)
    assert tuning.tuning_mode() == "off"
    for given, mode in (("0", "off"), ("OFF", "off"), ("cached", "cached"), ("on", "on")):
        monkeypatch.setenv("FRCORE_TUNE", given)
        assert tuning.tuning_mode() == mode
        assert tuning.may_time(torch.device("cpu")) == (mode == "on")
    monkeypatch.setenv("FRCORE_TUNE", "fast")
    with pytest.raises(UserError, match="'off', 'cached' and 'on'"):
        tuning.tuning_mode()


def test_tiles_are_static_when_off_and_where_there_is_no_gpu(monkeypatch):
    made = []
    monkeypatch.setattr(tuning, "_tuner", lambda *given: made.append(given) or "a tuner")
    for mode, device, interpreted, tuned in (
        ("off", "cuda:0", False, False),
        ("on", "cpu", False, False),
        ("on", "meta", False, False),  # compiled offline
        ("on", "cuda:0", True, False),
        ("on", "cuda:0", False, True),
        ("cached", "cuda:0", False, True),
    ):
        monkeypatch.setenv("FRCORE_TUNE", mode)
        monkeypatch.setattr(tuning, "interpreted", lambda interpreted=interpreted: interpreted)
        assert (tuning.tuner_for(torch.device(device)) is not None) == tuned
    assert len(made) == 2


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("precision", ["bf16", "tf32", "fp32"])
def test_the_static_tiles_come_first_and_none_twice(kernel, precision):
    for width, shared in product((16, 128, 256, 512), SHARED):
        options = candidates(kernel, width, precision, shared)
        assert options[0] == static_tiles(kernel, width, precision, shared)
        assert 2 <= len(options) == len(set(options)) <= 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_what_is_kept_makes_the_next_run_the_same(monkeypatch, cache_dir):
    from tests.loss.test_triton_gpu import TOLERANCE, step

    results = []
    for mode in ("on", "cached"):
        monkeypatch.setenv("FRCORE_TUNE", mode)
        tuning._tuner.cache_clear()
        results.append(step("triton", "arcface", 0.1, 100_003))
    assert len(files(cache_dir)) == 2
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
    for ours, theirs in zip(results[0], step("dense", "arcface", 0.1, 100_003), strict=True):
        assert (ours - theirs).abs().max() <= TOLERANCE["bf16"] * theirs.abs().max()
