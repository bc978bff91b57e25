"""What the kernels take of a GPU, by compiling them for it: no GPU is needed.

    python -m tests.loss.triton_resources > tests/loss/triton_resources.csv
    python -m tests.loss.triton_resources --others arcface-full    tiles that tuning may choose

The launches themselves are run, on tensors without memory ("meta"), with a recorder in the kernels'
place; what it saw is compiled for sm_90a, sm_80 or sm_89 by triton and assembled by its ptxas.
sm_86 and sm_89 have the same shared memory and the same instructions for these kernels.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from frcore.centers.sgd import Rates
from frcore.centers.storage import stream_key
from frcore.loss.inputs import EntryFilter, Precision
from frcore.loss.triton import kernels, launch
from frcore.loss.triton.problem import OPERANDS, Move, Problem, Slopes
from frcore.loss.triton.tiles import A100, CONSUMER, HOPPER, Tiles, candidates

FIGURES = Path(__file__).with_suffix(".csv")
SHARED_LIMIT = {90: HOPPER, 80: A100, 89: CONSUMER}
"""Bytes of shared memory that a program can have, by compute capability."""

ROWS, CLASSES = 1024, 1_000_000


@dataclass(frozen=True)
class Case:
    """A kind of step.

    Attributes:
        name: in the file of figures.
        dim: D.
        precision: of the operands.
        sampled: Partial FC's columns.
        hard: a head whose rule has a threshold.
        filtered: with the inter-class filter.
        shift: whether the exponent's shift is constant.
        split: centres in two halves, rounded momentum.
        arch: compute capability.
        is_timely: whether tests compile it every time; the figures of all are committed.
    """

    name: str
    dim: int = 512
    precision: Precision = "bf16"
    sampled: bool = True
    hard: bool = False
    filtered: bool = False
    shift: bool = True
    split: bool = False
    arch: int = 90
    is_timely: bool = True


CASES = (
    Case("arcface-sampled"),
    Case("arcface-full", sampled=False),
    Case("curricularface-filter", hard=True, filtered=True, shift=False),
    Case("arcface-128", dim=128),
    Case("arcface-tf32", precision="tf32"),
    Case("arcface-split", split=True),
    Case("arcface-fp32", precision="fp32", sampled=False),
    Case("arcface-256", dim=256, sampled=False, is_timely=False),
    Case("a100-full", sampled=False, arch=80),
    Case("a100-tf32", precision="tf32", sampled=False, arch=80, is_timely=False),
    Case("a100-256", dim=256, sampled=False, arch=80, is_timely=False),
    Case("ada-full", sampled=False, arch=89),
    Case("ada-tf32", precision="tf32", sampled=False, arch=89, is_timely=False),
    Case("ada-fp32", precision="fp32", sampled=False, arch=89, is_timely=False),
    Case("ada-256", dim=256, sampled=False, arch=89, is_timely=False),
    Case("ada-128", dim=128, sampled=False, arch=89, is_timely=False),
    Case("ada-split", split=True, sampled=False, arch=89, is_timely=False),
)


@dataclass(frozen=True)
class Resources:
    """One compiled kernel."""

    case: str
    kernel: str
    tile: str
    registers: int
    spill_stores: int
    spill_loads: int
    shared: int


class _Recorder:
    """Stands where a kernel does, and keeps how it was launched."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.calls = kernel, []

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **options: self.calls.append((args, options))


def measure(case: Case, rank: int = 0) -> Iterator[Resources]:
    """Compile the kernels of a step: pass 1 of batch and queue, pass 2 with the step of SGD.

    Args:
        case: of step.
        rank: of the tiles among the candidates; 0 = the static ones. None is left out: after the
            last of a kernel comes its first.
    """

    def ranked(*given: Any) -> tuple[Tiles, ...]:
        options = candidates(*given)
        return (options[rank % len(options)],)

    problem, slopes = _problem(case)
    reduce, center = _Recorder(kernels.reduce_kernel), _Recorder(kernels.center_kernel)
    with (
        mock.patch.object(launch, "candidates", ranked),
        mock.patch.object(launch, "shared_memory", return_value=SHARED_LIMIT[case.arch]),
        mock.patch.object(kernels, "reduce_kernel", reduce),
        mock.patch.object(kernels, "center_kernel", center),
    ):
        launch.reduce(problem, ROWS, attend=True, moment=False)
        launch.reduce(problem, ROWS, attend=False, moment=False)
        table = problem.center_CD
        low = torch.empty_like(table, dtype=torch.int16) if case.split else None
        key = stream_key(0, 1) if case.split else 0
        move = Move(table, low, torch.empty_like(table), Rates(0.1, 0.9, 5e-4), key)
        launch.move_centers(problem, slopes, move)
    names = ("reduce", "reduce-queue", "move-centers")
    for name, (recorder, call) in zip(
        names, [(r, call) for r in (reduce, center) for call in r.calls], strict=True
    ):
        yield Resources(case.name, name, *_compile(recorder.kernel, *call, case.arch))


def _problem(case: Case) -> tuple[Problem, Slopes]:
    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    columns = CLASSES // 10 if case.sampled else CLASSES
    problem = Problem(
        unit_MD=empty(ROWS, case.dim, dtype=OPERANDS[case.precision]),
        center_CD=empty(CLASSES, case.dim, dtype=torch.bfloat16 if case.split else torch.float32),
        norm_A=empty(columns),
        active=empty(columns, dtype=torch.int64) if case.sampled else None,
        column_M=empty(ROWS, dtype=torch.int32),
        scale_M=empty(ROWS),
        threshold_M=empty(ROWS) if case.hard else None,
        coefficients=empty(3),
        shift=case.shift,
        entry_filter=EntryFilter(0.4, "zero") if case.filtered else None,
        normalizes=True,
        precision=case.precision,
    )
    return problem, Slopes(empty(ROWS), empty(ROWS), empty(ROWS))


def _compile(kernel: Any, args: tuple, options: dict[str, Any], arch: int) -> tuple:
    names = kernel.arg_names
    values = dict(zip(names, args, strict=False)) | options
    constants = {(i,): values[n] for i, n in enumerate(names) if kernel.params[i].is_constexpr}
    signature = {
        n: "constexpr" if (i,) in constants else _type(values[n]) for i, n in enumerate(names)
    }
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n][0] == "*"
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    running = {key: values[key] for key in ("num_warps", "num_stages")}
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=running)
    report = _assemble(compiled.asm["ptx"], "sm_90a" if arch == 90 else f"sm_{arch}")
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    registers = re.search(r"Used (\d+) registers", report)
    assert spills, report
    assert registers, report
    tile = f"{values['TILE_M']}x{values['TILE_A']}"
    return (
        f"{tile} {running['num_warps']} warps {running['num_stages']} stages",
        int(registers[1]),
        int(spills[1]),
        int(spills[2]),
        compiled.metadata.shared,
    )


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.int64: "i64"}
        return "*" + (names | {torch.int16: "i16"}).get(value.dtype, "i32")
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def find_ptxas() -> Path | None:
    """The assembler in triton's wheel. That for Blackwell knows the newest PTX, and Hopper."""
    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    found = [folder / name for name in ("ptxas-blackwell", "ptxas") if (folder / name).is_file()]
    return found[0] if found else None


def _assemble(ptx: str, gpu: str) -> str:
    ptxas = find_ptxas()
    assert ptxas is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas, "-v", f"--gpu-name={gpu}", source, "-o", source.with_suffix(".cubin")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def main(names: list[str]) -> None:
    """Write the figures of the cases named, or all, as CSV; with --others, of other tiles."""
    ranks = range(1, 4) if "--others" in names else range(1)
    names = [name for name in names if name != "--others"]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*Resources.__dataclass_fields__, "triton"])
    for case in CASES:
        if not names or case.name in names:
            for row in (row for rank in ranks for row in measure(case, rank)):
                out.writerow([*asdict(row).values(), triton.__version__])
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
