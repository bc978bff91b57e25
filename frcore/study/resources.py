"""What the jobs of a study take: threads, GPUs and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from frcore.study import expansion
from frcore.study.config import Study

MIB = 2**20
PROCESS_MIB = 1500
"""What Python with torch and its workers takes before any data."""

IJB_MIB = 4000
"""The lists of IJB-C, or 469,375 embeddings of 512 float32 with the scores of its pairs."""


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
        return int(settings is not None and settings.device == "cuda")

    @property
    def training_threads(self) -> int:
        """CPU threads of a training; one that decodes beside it keeps no core busy by itself."""
        training = self.study.training
        return training.threads + training.loader_threads - 1 if training else 1

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

    def training_mib(self) -> int:
        """Host memory of one training; a GPU's own memory is no resource of the scheduler."""
        return self.data_mib("train") + 2000 if self.study.trains else PROCESS_MIB

    def measurement_mib(self) -> int:
        """Host memory of one measurement: centres with gradient and momentum, and the logits."""
        measurement = self.study.measurement
        if measurement is None or measurement.device == "cuda":
            return 4 * PROCESS_MIB
        classes = max(measurement.identities)
        floats = classes * (4 * measurement.dim + 6 * measurement.batch_size)
        return 2 * PROCESS_MIB + 4 * floats // MIB
