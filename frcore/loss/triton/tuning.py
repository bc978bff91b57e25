"""Which tiles a kernel runs with: the static ones, or the fastest that were timed on this GPU.

FRCORE_TUNE says which: `off` (as without it) is the static table of `tiles`, `on` times the
candidates of each new kind of launch and stores the fastest in Triton's cache ($TRITON_CACHE_DIR),
`cached` uses that cache and times nothing. Tiles decide the order of sums, and with it the
last digits of a result: a run must not depend on timing noise or on another run's cache, so nothing
is tuned by default. Triton's own autotuner is not an alternative: it would time pass 2, which
updates in place, on the actual centres or on a copy of them all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import astuple
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch

from frcore.errors import UserError
from frcore.loss.triton.tiles import Tiles, interpreted

log = logging.getLogger(__name__)

Mode = Literal["off", "cached", "on"]
Run = Callable[[Tiles], object]
"""Launches a kernel with given tiles, and may be called any number of times."""
Clock = Callable[[Callable[[], object]], float]
"""Time that a call takes, in any unit."""

FILE = "frcore_tiles.json"
"""In the folder that Triton's cache has for a kind of launch."""

GAIN = 0.02
"""Share of the static tiles' time that others must save: smaller gains are noise."""

_MODES: dict[str, Mode] = {
    "": "off", "0": "off", "off": "off", "cached": "cached", "1": "on", "on": "on",
}  # fmt: skip


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


class Tuner:
    """Tiles chosen for one kind of machine, in memory and in Triton's cache.

    Args:
        context: device and versions that the times belong to.
        clock: times a call.
    """

    def __init__(self, context: str, clock: Clock) -> None:
        self.context, self.clock = context, clock
        self._chosen: dict[str, Tiles] = {}

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
        kept = self._kept(key, options)
        if kept is None:
            if not may_time:
                return options[0]
            kept = self._fastest(key, options, rehearsal)
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()  # what rehearsals took is not the step's memory
            if kept is not None:
                self._keep(key, kept)
        self._chosen[key] = options[0] if kept is None else kept
        return self._chosen[key]

    def _fastest(
        self, key: str, options: tuple[Tiles, ...], rehearsal: Callable[[], Run]
    ) -> Tiles | None:
        """The fastest; None if none could be timed: the launch itself will say why."""
        from triton.errors import TritonError

        times: dict[Tiles, float] = {}
        try:
            run = rehearsal()
        except torch.OutOfMemoryError as error:
            log.debug("no memory to time %s in: %s", key, error)
            return None
        for tiles in options:
            try:
                times[tiles] = self.clock(partial(run, tiles))
            # Tiles that do not fit: the compiler's errors, and the driver's through torch.
            except (TritonError, RuntimeError) as error:
                log.debug("%s cannot run with %s: %s", key, tiles, error)
        if not times:
            return None
        best = min(times, key=times.__getitem__)
        if times[best] > (1 - GAIN) * times.get(options[0], torch.inf):
            best = options[0]
        log.info("%s: %s of %d tiles timed", key, best, len(times))
        return best

    def _store(self, key: str) -> Any:
        """Triton's store of files for a kind of launch on this kind of machine."""
        from triton.runtime.cache import get_cache_manager

        return get_cache_manager(hashlib.sha256(f"{self.context}: {key}".encode()).hexdigest())

    def _kept(self, key: str, options: tuple[Tiles, ...]) -> Tiles | None:
        """The candidate that was kept; None if there is none, or none such any more."""
        try:
            path = self._store(key).get_file(FILE)
            kept = None if path is None else json.loads(Path(path).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            log.warning("the tiles in Triton's cache are not readable: %s", error)
            return None
        return next((tiles for tiles in options if kept == list(astuple(tiles))), None)

    def _keep(self, key: str, tiles: Tiles) -> None:
        """Never fatal."""
        try:
            self._store(key).put(json.dumps(astuple(tiles)), FILE, binary=False)
        except OSError as error:
            log.warning("the timed tiles cannot be stored in Triton's cache: %s", error)


def tuner_for(device: torch.device) -> Tuner | None:
    """The tuner of a GPU; None where tiles are static: tuning is off, or this is no GPU."""
    if tuning_mode() == "off" or device.type != "cuda" or interpreted():
        return None
    return _tuner(device)


def may_time(device: torch.device) -> bool:
    """Whether candidates may be timed now: asked for, and no CUDA graph is being captured."""
    return tuning_mode() == "on" and not (
        device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    )


@cache
def _tuner(device: torch.device) -> Tuner:
    from triton.testing import do_bench

    return Tuner(context_of(device), partial(do_bench, return_mode="median"))


def context_of(device: torch.device) -> str:
    """What a time depends on besides the launch: the GPU, torch, triton, and the kernels' text."""
    import triton

    board = torch.cuda.get_device_properties(device)
    texts = (Path(__file__).with_name(name).read_bytes() for name in ("kernels.py", "state.py"))
    return (
        f"{board.name}, {board.multi_processor_count} SMs, sm_{board.major}{board.minor}, "
        f"torch {torch.__version__}, triton {triton.__version__}, "
        f"kernels {hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"
    )
