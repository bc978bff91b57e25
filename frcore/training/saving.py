"""When a running training saves itself: by the clock, at the end of an epoch, and when stopped."""

from __future__ import annotations

import time
from pathlib import Path

from frcore.machine.lifetime import Grace, Stopped
from frcore.training.checkpoint import read_checkpoint, save_checkpoint
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
        lock: of its folder, which is checked before anything is written.
    """

    def __init__(
        self, path: Path, trainer: Trainer, metrics: MetricsFile, key: str, lock: RunLock
    ) -> None:
        super().__init__()
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
        return bool(self.asked) or time.monotonic() - self._saved_at >= self._interval

    def pause(self) -> None:
        """Save between two steps.

        Raises:
            Stopped: it was asked for.
        """
        self._lock.check()
        save_checkpoint(self._path, self._trainer, self._metrics, self._key)
        self._saved_at = time.monotonic()
        self.end()

    def _note(self, stop: Stopped) -> None:
        trainer = self._trainer
        # Read from the file, as a second request may have come before or after it was written.
        state = read_checkpoint(self._path, self._key)
        step = state["step"] if state else 0
        stop.add_note(
            f"step {step} ({reached(trainer, step)}) is kept in {self._path}, and the same command "
            "resumes from there"
            if step
            else f"{trainer.spec.id} had not saved anything, so the same command starts over"
        )


def reached(trainer: Trainer, step: int) -> str:
    """Where a step is in the training: 'epoch 2 of 20', 'epoch 2.5 of 20'."""
    epochs = f"{step / len(trainer.batches):.2f}".rstrip("0").rstrip(".")
    return f"epoch {epochs} of {trainer.spec.training.epochs}"
