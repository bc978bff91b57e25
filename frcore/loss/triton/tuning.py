"""Which tiles a kernel runs with: the static ones, or the fastest that were timed on this GPU.

FRCORE_TUNE says which: `off` (as without it) is the static table of `tiles`, `on` times the
candidates of each new kind of launch and keeps the fastest in a file, `cached` takes what the file
has and times nothing. Tiles decide the order of sums, and with it the last digits of a result: a
run must not depend on a race or on a file that another run writes, so nothing is tuned unless
asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from frcore.errors import UserError
from frcore.files import read_json, write_json
from frcore.loss.inputs import Precision
from frcore.loss.triton.tiles import HOPPER, Kernel, Tiles, interpreted, static_tiles
from frcore.machine.faults import RefusedError

log = logging.getLogger(__name__)

Mode = Literal["off", "cached", "on"]
Run = Callable[[Tiles], object]
"""Launches a kernel with given tiles, and may be called any number of times."""
Clock = Callable[[Callable[[], object]], float]
"""Time that a call takes, in any unit."""

FORMAT = 1
"""Of the file; another number is another file."""
GAIN = 0.02
"""Share of the static tiles' time that others must save: less is noise."""
REPEATS = 5

_OFF: dict[str, Mode] = {"": "off", "0": "off", "off": "off"}
_MODES: dict[str, Mode] = _OFF | {"cached": "cached", "1": "on", "on": "on"}

_OTHERS: dict[tuple[Kernel, bool, bool], tuple[Tiles, ...]] = {
    ("reduce", True, True): (Tiles(64, 32, 8, 2), Tiles(32, 64, 8, 2), Tiles(32, 32, 4, 2)),
    ("score", True, True): (Tiles(64, 32, 8, 2), Tiles(128, 32, 8, 2), Tiles(32, 64, 4, 2)),
    ("center", True, True): (Tiles(32, 64, 8, 2), Tiles(32, 32, 4, 3), Tiles(64, 32, 4, 2)),
    ("reduce", True, False): (Tiles(128, 64, 8, 3), Tiles(64, 128, 8, 2), Tiles(64, 64, 4, 3)),
    ("score", True, False): (Tiles(128, 128, 8, 2), Tiles(64, 128, 4, 3), Tiles(128, 64, 4, 3)),
    ("center", True, False): (Tiles(64, 128, 8, 2), Tiles(64, 64, 8, 2), Tiles(32, 64, 4, 3)),
    ("reduce", False, True): (Tiles(32, 16, 8, 2), Tiles(32, 16, 4, 1)),
    ("score", False, True): (Tiles(32, 32, 4, 2), Tiles(64, 16, 4, 2)),
    ("center", False, True): (Tiles(32, 32, 8, 2), Tiles(16, 32, 8, 2)),
    ("reduce", False, False): (Tiles(64, 32, 8, 2), Tiles(32, 64, 8, 2)),
    ("score", False, False): (Tiles(64, 32, 8, 2), Tiles(64, 64, 8, 2)),
    ("center", False, False): (Tiles(32, 32, 8, 2), Tiles(32, 64, 8, 2)),
}
"""Besides the static ones, by (kernel, whether bf16, whether wide).

Few, as each takes seconds to compile. For sm_90a all assemble at D = 512 and 128 in bf16 and 512 in
tf32, within 227 KiB of shared memory and with no more spills than the static ones may have
(tests/loss/test_triton_resources.py); those with fewer stages or columns are for GPUs with less.
"""


def tuning_mode() -> Mode:
    """What FRCORE_TUNE asks for.

    Raises:
        UserError: it is something else.
    """
    given = os.environ.get("FRCORE_TUNE", "")
    if given.lower() not in _MODES:
        raise UserError(
            f"FRCORE_TUNE is '{given}'; allowed are 'off', 'cached' and 'on': "
            "set one of those, or unset it for the static tiles"
        )
    return _MODES[given.lower()]


@cache
def candidates(
    kernel: Kernel, width: int, precision: Precision, shared: int = HOPPER
) -> tuple[Tiles, ...]:
    """Tiles worth trying, the static ones first.

    Args:
        kernel: pass 1 with ("reduce") or without ("score") its second product; pass 2 ("center").
        width: D, padded.
        precision: of the operands.
        shared: bytes of shared memory that a program may have; others are tried on any GPU.
    """
    static = static_tiles(kernel, width, precision, shared)
    wide = width > (256 if precision == "bf16" else 128)
    others = _OTHERS[kernel, precision == "bf16", wide]
    return (static, *(tiles for tiles in others if tiles != static))


class Tuner:
    """Tiles chosen for one kind of machine, in memory and in a file.

    Args:
        path: the file; None keeps them in memory.
        context: device and versions that the times belong to; entries of others are left alone.
        clock: times a call.
    """

    def __init__(self, path: Path | None, context: str, clock: Clock) -> None:
        self.path, self.context, self.clock = path, context, clock
        self._chosen: dict[str, Tiles] = {}
        self._kept: Mapping[str, Any] = {} if path is None else _entries(path).get(context, {})

    def tuned(
        self,
        key: str,
        options: tuple[Tiles, ...],
        rehearsal: Callable[[], Run],
        *,
        may_time: bool = True,
    ) -> Tiles:
        """The tiles for a kind of launch.

        Args:
            key: of the kind of launch.
            options: candidates, the static ones first.
            rehearsal: makes what launches the kernel without an effect; called only to time.
            may_time: False takes the static tiles where none were timed.
        """
        if key in self._chosen:
            return self._chosen[key]
        kept = _known(self._kept.get(key), options)
        if kept is None:
            if not may_time:
                return options[0]
            kept = self._race(key, options, rehearsal)
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()  # what rehearsals took is not the step's memory
            if kept is not None and self.path is not None:
                _keep(self.path, self.context, key, kept)
        self._chosen[key] = options[0] if kept is None else kept
        return self._chosen[key]

    def _race(
        self, key: str, options: tuple[Tiles, ...], rehearsal: Callable[[], Run]
    ) -> Tiles | None:
        """The fastest; None if none could be timed: the launch itself will say why."""
        times: dict[Tiles, float] = {}
        try:
            run = rehearsal()
        except torch.OutOfMemoryError as error:
            log.debug("no memory to time %s in: %s", key, error)
            return None
        for tiles in options:
            try:
                times[tiles] = self.clock(lambda tiles=tiles: run(tiles))  # type: ignore[misc]
            except _failures() as error:
                log.debug("%s cannot run with %s: %s", key, tiles, error)
        if not times:
            return None
        best = min(times, key=times.__getitem__)
        static = times.get(options[0])
        if static is not None and times[best] > (1 - GAIN) * static:
            best = options[0]
        log.info("%s: %s of %d tiles timed", key, best, len(times))
        return best


def tuner_for(device: torch.device) -> Tuner | None:
    """The tuner of a GPU; None where tiles are static: tuning is off, or this is no GPU."""
    if tuning_mode() == "off" or device.type != "cuda" or interpreted():
        return None
    return _tuner(device, cache_path())


def may_time(device: torch.device) -> bool:
    """Whether candidates may be timed now: asked for, and no CUDA graph is being captured."""
    return tuning_mode() == "on" and not (
        device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    )


@cache
def _tuner(device: torch.device, path: Path) -> Tuner:
    return Tuner(path, context_of(device), device_milliseconds)


def context_of(device: torch.device) -> str:
    """What a time depends on besides the launch: the GPU, torch, triton, and the kernels' text."""
    import triton

    board = torch.cuda.get_device_properties(device)
    text = Path(__file__).with_name("kernels.py").read_bytes()
    return (
        f"{board.name}, {board.multi_processor_count} SMs, sm_{board.major}{board.minor}, "
        f"torch {torch.__version__}, triton {triton.__version__}, "
        f"kernels {hashlib.sha256(text).hexdigest()[:12]}"
    )


def device_milliseconds(run: Callable[[], object]) -> float:
    """Median time of a call on the current GPU, after one that compiles and warms up."""
    run()
    pairs = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        pairs.append((start, end))
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in pairs)


def cache_path() -> Path:
    """tiles.json in $FRCORE_CACHE, or in the folder `frcore` of the user's caches."""
    given = os.environ.get("FRCORE_CACHE")
    return (Path(given).expanduser() if given else _user_caches() / "frcore") / "tiles.json"


def _user_caches() -> Path:
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # a relative one is to be ignored, says the XDG specification
        return Path(given)
    if platform.system() == "Windows" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    """The file's entries by context; none if it is absent, broken or not ours."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is not readable and is ignored: %s", path, error)
        return {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return {}
    entries = content.get("entries")
    if not isinstance(entries, dict):
        return {}
    return {context: kept for context, kept in entries.items() if isinstance(kept, dict)}


def _known(kept: object, options: tuple[Tiles, ...]) -> Tiles | None:
    """The candidate that an entry of the file names; None if there is none such any more."""
    return next((tiles for tiles in options if kept == list(astuple(tiles))), None)


def _keep(path: Path, context: str, key: str, tiles: Tiles) -> None:
    """Add an entry to the file, with what others have added meanwhile; never fatal."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            entries = _entries(path)
            entries.setdefault(context, {})[key] = list(astuple(tiles))
            write_json(path, {"format": FORMAT, "entries": entries})
    except (OSError, RefusedError) as error:
        log.warning("the tiles timed are not kept in %s: %s", path, error)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file for the block: two that add an entry at a time keep both."""
    try:
        import fcntl
    except ImportError:  # Windows: the last one wins, and the other times again
        yield
        return
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@cache
def _failures() -> tuple[type[Exception], ...]:
    """What tiles that do not fit raise: the compiler's errors, and the driver's through torch."""
    from triton.errors import TritonError

    return (TritonError, RuntimeError)
