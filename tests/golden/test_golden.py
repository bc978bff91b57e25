"""The training of three heads goes as it went when their golden files were made.

The other tests say that a head is right; these notice when a training changes, optimiser, sampler
and random streams included. A change that is wanted is written with `python -m tests.golden.make`.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from functools import cache
from itertools import combinations

import pytest
import torch

from tests.contract_cases import HEAD_CASES
from tests.golden.files import (
    AGAIN,
    FOLDER,
    HEADS,
    SAMPLERS,
    Golden,
    Spread,
    cases_of,
    deviation,
    largest_deviation,
    read,
    write,
)
from tests.golden.problem import (
    BATCH,
    CLASSES,
    FIGURES,
    INPUTS,
    ON_A_CPU,
    STEPS,
    Row,
    make_problem,
    replay,
)

golden = cache(read)


def tier(head, case, sampler, backend, dtype):
    """Of `dense` in float64 the sampler with most state is fast, the others are slow."""
    if (case, sampler, backend, dtype) == (head, SAMPLERS[-1], "dense", torch.float64):
        return ()
    return pytest.mark.slow if (backend, dtype) == ("dense", torch.float64) else pytest.mark.grid


CASES = [
    pytest.param(
        head,
        case,
        sampler,
        backend,
        dtype,
        id=f"{case}-{sampler}-{backend}-{str(dtype).removeprefix('torch.')}",
        marks=tier(head, case, sampler, backend, dtype),
    )
    for head in HEADS
    for case, sampler in cases_of(head)
    for backend in ON_A_CPU
    for dtype in (torch.float64, torch.float32)
]


@pytest.mark.parametrize(("head", "case", "sampler", "backend", "dtype"), CASES)
def test_training_goes_as_it_went(head, case, sampler, backend, dtype):
    rows, tolerance = golden(head).cases[case, sampler], golden(head).spread.tolerance(dtype)
    for ours, then in zip(replay(case, sampler, backend=backend, dtype=dtype), rows, strict=True):
        assert (ours.step, ours.columns) == (then.step, then.columns)
        assert ours.column_sum == then.column_sum, (
            f"step {ours.step}: other columns than in the file; if torch {torch.__version__} draws "
            f"other numbers than the torch in its header, run `{AGAIN} {head}`"
        )
        for name in FIGURES:
            off = deviation(getattr(ours, name), getattr(then, name))
            assert off <= tolerance, (
                f"step {ours.step}: {name} is {getattr(ours, name):.9g}, the file has "
                f"{getattr(then, name):.9g}; off by {off:.1e}, allowed is {tolerance:.1e}. If the "
                f"change is wanted, run `{AGAIN} {head}` and read the diff"
            )


def test_the_files_are_those_of_the_heads():
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(HEADS), f"run `{AGAIN}`"
    for head in HEADS:
        assert list(golden(head).cases) == cases_of(head), f"run `{AGAIN} {head}`"


def test_the_files_can_tell_one_dialect_from_another():
    """A head's trajectories under one sampler differ by far more than a replay may deviate."""
    for head in HEADS:
        assert golden(head).spread.tolerance(torch.float32) < 0.01
        tolerance = golden(head).spread.tolerance(torch.float64)
        cases = golden(head).cases.items()
        for ((one, sampler), rows), ((other, its), others) in combinations(cases, 2):
            if sampler == its:
                assert largest_deviation(rows, others) > 1000 * tolerance, (one, other)


def test_the_problem_is_as_told():
    problem = make_problem()
    norm_I = (problem.input_IF @ problem.encoder_DF.T).norm(dim=1)
    assert len(norm_I) == INPUTS
    assert 5 < norm_I.min() < norm_I.max() < 50
    counts = problem.label_I.bincount(minlength=CLASSES)
    assert counts.min() == 0
    assert counts.max() > 2
    # The bits of PCG64, which numpy never changes: the first input, written down once.
    first = problem.input_IF[0, :3].tolist()
    assert first == pytest.approx(
        [-0.15374541139098397, -0.07915588733384316, -0.306505685405692], abs=1e-12
    )
    theta = torch.cosine_similarity(
        problem.input_IF[0] @ problem.encoder_DF.T, problem.center_CD[problem.label_I[0]], dim=0
    ).arccos()
    assert theta > torch.pi - 0.3  # beyond θ + m = π for the angular margins
    assert STEPS * BATCH // INPUTS == 10


def test_a_file_is_read_as_it_was_written(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.golden.files.FOLDER", tmp_path)
    row = Row(5, 1.25, 64.0, -0.123456789, 1e-12, 3.0, 7, 21)
    written = Golden(Spread(0.0, 1.2e-5), {("head", "full"): [row, replace(row, step=10)]})
    write("head", written)
    assert read("head") == written
    assert astuple(read("head").cases["head", "full"][1])[0] == 10


def test_a_change_of_a_thousandth_is_noticed(monkeypatch):
    """The tolerance is no blank cheque: a margin of 0.501 in the place of 0.5 is seen."""
    rows = golden("elasticface").cases["elasticface", "full"]
    tolerance = golden("elasticface").spread.tolerance(torch.float64)
    assert largest_deviation(replay("elasticface", "full"), rows) <= tolerance
    monkeypatch.setitem(HEAD_CASES, "elasticface", ("elasticface", {"margin": 0.501}))
    moved = largest_deviation(replay("elasticface", "full"), rows)
    assert moved > 1000 * tolerance
