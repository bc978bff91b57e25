"""When a running training saves itself: by the clock, at the end of an epoch, and when stopped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from frcore.machine.lifetime import Grace, Stopped
from frcore.training.checkpoint import newest, save_checkpoint
from frcore.training.loop import Trainer
from frcore.training.metrics import MetricsFile
from frcore.training.run_lock import RunLock


class Saving(Grace):
    """Saves a training between its steps, and ends it there when it was asked to stop.

    A request to stop within the block thus loses nothing; a second one stops at once, and loses
    what came after the last checkpoint. Use as a context manager, around the steps; a `Pause` of
    `Trainer.train_epoch`.

    Args:
        path: of the checkpoint.
        trainer: what is saved.
        metrics: its lines so far.
        key: of the run.
        lock: of its folder, which is checked before anything is written; None in a process that
            writes nothing.
    """

    def __init__(
        self, path: Path, trainer: Trainer, metrics: MetricsFile, key: str, lock: RunLock | None
    ) -> None:
        super().__init__()
        self._team, self._parent = trainer.team, os.getppid()
        self._path, self._key, self._lock = path, key, lock
        self._trainer, self._metrics = trainer, metrics
        self._interval = 60 * trainer.spec.training.checkpoint_minutes
        self._saved_at = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, error: object = None, *_: object) -> None:
        """Say what is kept, where the training was stopped."""
        try:
            super().__exit__(kind)
        except Stopped as stop:
            self._note(stop)
            raise
        if isinstance(error, Stopped):
            self._note(error)

    def due(self) -> bool:
        """Whether to save after this step: the interval is over, or somebody asked to stop."""
        self._team.moving()
        is_late = time.monotonic() - self._saved_at >= self._interval
        return any(self._team.agree(self._asked_here(), is_late))

    def pause(self) -> None:
        """Save between two steps; all processes of the training do.

        Raises:
            Stopped: it was asked for.
        """
        (asked,) = self._team.agree(self._asked_here())
        if self._lock is not None:
            self._lock.check()
        save_checkpoint(self._path, self._trainer, self._metrics, self._key)
        self._saved_at = time.monotonic()
        if asked:
            self.ask(asked)
            self.end()

    def _asked_here(self) -> int:
        """The signal that asked this process to stop; 0 for none."""
        if not self.asked and self._team.size > 1 and os.getppid() != self._parent:
            return signal.SIGTERM  # who started the processes is dead, and would have ended them
        return self.asked

    def _note(self, stop: Stopped) -> None:
        trainer = self._trainer
        # Read from the file, as a second request may have come before or after it was written.
        found = newest(self._path, self._key)
        at, step = (found[0], found[1]["step"]) if found else (self._path, 0)
        stop.add_note(
            f"step {step} ({reached(trainer, step)}) is kept in {at}, and the same command "
            "resumes from there"
            if step
            else f"{trainer.spec.id} had not saved anything, so the same command starts over"
        )


def reached(trainer: Trainer, step: int) -> str:
    """Where a step is in the training: 'epoch 2 of 20', 'epoch 2.5 of 20'."""
    epochs = f"{step / len(trainer.batches):.2f}".rstrip("0").rstrip(".")
    return f"epoch {epochs} of {trainer.spec.training.epochs}"
