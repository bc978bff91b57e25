"""A process of its own that builds a run's models, saves and restores them, and says what it took.

    python -m tests.training.checkpoint_memory PREPARED FORMAT CLASSES FILE

prints JSON: bytes of the centres' state by its formula, anonymous memory (not files') that building
took, and the peaks of it above that while saving and restoring.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
import time
from pathlib import Path

import torch

from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.study.expansion import RunSpec
from frcore.study.parts import Backbone
from frcore.training.checkpoint import read_checkpoint, restore, save_checkpoint
from frcore.training.loop import Trainer
from frcore.training.metrics import MetricsFile
from tests.training.conftest import run_spec

DIM = 128


def anonymous_bytes() -> int:
    """Memory that no file stands behind: the kernel can drop a mapped file's pages at any time."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("the kernel does not tell RssAnon")


def settle() -> int:
    """Anonymous memory once the allocator has given back what it could."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return anonymous_bytes()


class Peak:
    """The largest anonymous memory inside a `with` block, above its beginning."""

    def __enter__(self) -> Peak:
        self.start = self.peak = settle()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.stop.is_set():
            self.peak = max(self.peak, anonymous_bytes())
            time.sleep(0.0005)

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.thread.join()
        self.extra = max(self.peak, anonymous_bytes()) - self.start


def trained(spec: RunSpec, batches: Batches, classes: int) -> Trainer:
    """A trainer after some steps, with all of its state in memory."""
    trainer = Trainer(spec, batches, classes)
    for images, label_N in batches.epoch(0):
        trainer.train_step(images, label_N)
    momentum = trainer.centers_optimizer.state[trainer.classifier.centers]["momentum"]
    momentum += 1e-3  # zeros are not in memory before they are written to
    return trainer


def main(data: Path, center_format: str, classes: int, file: Path) -> dict[str, float]:
    """See the module."""
    torch.set_num_threads(1)
    sampler = {"name": "partial_fc", "rate": 0.01, "update": "lazy"}
    spec = run_spec("cosface", sampler, center_format=center_format, backend="streamed")
    backbone = Backbone.model_validate({"name": "tiny", "dim": DIM, "width": 8})
    spec = spec.model_copy(update={"backbone": backbone})
    batches = Batches(Prepared.open(data), 16, seed=0, device="cpu", flip=False)
    trained(spec, batches, 1000)  # what the libraries allocate at their first use
    before = settle()
    trainer = trained(spec, batches, classes)
    built = settle() - before
    with Peak() as saving:
        save_checkpoint(file, trainer, MetricsFile(file.with_suffix(".jsonl")), "key")
    with Peak() as loading:
        restore(read_checkpoint(file, "key"), trainer)
    return {
        "state": trainer.centers_optimizer.bytes_per_class * classes,
        "built": built,
        "saving": saving.extra,
        "loading": loading.extra,
        "file": file.stat().st_size,
    }


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(main(Path(given[0]), given[1], int(given[2]), Path(given[3]))))
