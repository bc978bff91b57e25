"""What the jobs of a study take: threads, GPUs and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frcore.files import read_json
from frcore.study import expansion
from frcore.study.config import Study

MIB = 2**20
PROCESS_MIB = 1500
"""What Python with torch and its workers takes before any data."""

IJB_MIB = 4000
"""The lists of IJB-C, or 469,375 embeddings of 512 float32 with the scores of its pairs."""


TRAINED_COPIES = 3
"""Arrays of a training as large as its class centres: these, their momentum, and the gradient or
what is read from a checkpoint. On a GPU too: they are made on the host and go through it."""

DIM = 512
"""Of the embeddings of a user's own backbone that has no parameter `dim`."""


def center_mib(classes: int, dim: int, copies: int) -> int:
    """Memory of `copies` arrays of class centres, in float32."""
    return copies * 4 * classes * dim // MIB


@dataclass(frozen=True)
class Resources:
    """What the jobs of `study` take."""

    study: Study

    @property
    def all_cores(self) -> int:
        """All of this machine's; Snakemake takes `--cores` where those are fewer.

        Not `workflow.cores`, which is an error where no `--cores` is given: on a cluster, and for
        `snakemake --report`.
        """
        return os.cpu_count() or 1

    def gpus(self, part: Literal["training", "evaluation", "measurement"]) -> int:
        """GPUs of each job of a part of the study."""
        if part == "evaluation":
            return int(expansion.evaluation(self.study).device == "cuda")
        settings = getattr(self.study, part)
        if settings is None or settings.device != "cuda":
            return 0
        return self.processes if part == "training" else 1

    @property
    def processes(self) -> int:
        """Of one training, each with a GPU of its own where it has one."""
        return self.study.training.processes if self.study.training else 1

    @property
    def training_threads(self) -> int:
        """CPU threads of a training, of all its processes; one thread that decodes beside it keeps
        no core busy by itself."""
        training = self.study.training
        return self.processes * (training.threads + training.loader_threads - 1) if training else 1

    @property
    def evaluation_threads(self) -> int:
        """CPU threads of an evaluation."""
        return expansion.evaluation(self.study).threads

    def data_mib(self, name: str) -> int:
        """Host memory of a preparation or of what reads it: the images twice.

        Those that stay in place are held once, and no more than `expansion.HELD_IN_MEMORY` of them.
        """
        data = self.study.data[name if name == "train" else f"benchmarks.{name}"]
        if data.kind == "ijb":
            return PROCESS_MIB + IJB_MIB
        if expansion.stays_in_place(data):
            return PROCESS_MIB + expansion.HELD_IN_MEMORY // MIB
        identities, images = getattr(data, "identities", 6000), getattr(data, "images", 5)
        count = identities * images * getattr(data, "templates", 1)
        return PROCESS_MIB + 2 * count * 3 * self.study.image.size**2 // MIB

    def evaluation_mib(self) -> int:
        """Host memory of one evaluation, which takes the benchmarks one after the other."""
        return max(self.data_mib(name) for name in self.study.benchmarks)

    def training_mib(self, manifest: Path | str) -> int:
        """Host memory of one training: class centres, which its processes share, and images,
        backbone and batches (2 GB) of each.

        Args:
            manifest: of the prepared training set, which is asked where the study does not say how
                many identities there are.

        Raises:
            FileNotFoundError: it is asked and not there yet; Snakemake asks again later.
        """
        training = self.study.training
        if training is None or self.study.train is None:
            return PROCESS_MIB
        classes = getattr(self.study.train, "identities", None)
        if classes is None:
            classes = int(read_json(manifest)["identities"])
        dim = max(int(one.parameters.get("dim", DIM)) for one in self.study.backbones)
        centers = center_mib(classes, dim, TRAINED_COPIES)
        if training.device == "cpu" and training.backend == "dense":
            centers += 6 * 4 * classes * training.batch_size // MIB
        return self.processes * (self.data_mib("train") + 2000) + centers

    def measurement_mib(self) -> int:
        """Host memory of one measurement: centres with gradient and momentum, and the logits.

        On a GPU the centres alone, which are made on the host.
        """
        measurement = self.study.measurement
        if measurement is None:
            return 4 * PROCESS_MIB
        classes = max(measurement.identities)
        if measurement.device == "cuda":
            return 4 * PROCESS_MIB + center_mib(classes, measurement.dim, 1)
        logits = 6 * 4 * classes * measurement.batch_size // MIB
        return 2 * PROCESS_MIB + center_mib(classes, measurement.dim, 4) + logits
