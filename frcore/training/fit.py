"""Whether a training does what its settings say on a data set of this size.

A study of synthetic faces is asked before any job, `frcore train` once the data are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frcore.data.prepared.folder import Prepared
from frcore.samplers.base import RunSize, Sampler
from frcore.study.parts import Training


@dataclass(frozen=True)
class TrainingSize:
    """How large a training set is.

    Attributes:
        classes: labels.
        images: of all.
        largest: of the label with the most, or a bound of it.
    """

    classes: int
    images: int
    largest: int

    @classmethod
    def of(cls, data: Prepared) -> TrainingSize:
        """Of a prepared training set."""
        return cls(data.num_classes, len(data.labels), int(np.bincount(data.labels).max()))


def problems(training: Training, sampler: Sampler, size: TrainingSize) -> dict[str, str]:
    """What of `training` and `sampler` would not be as the study says, and what to do.

    Gives:
        Part of the study, `training` or `sampler` -> what is wrong with it.
    """
    if training.batch_size > size.images:
        return {
            "training": f"batch_size = {training.batch_size}, but the training set has "
            f"{size.images} images; give at most {size.images}"
        }
    steps = training.epochs * (size.images // training.batch_size)
    run = RunSize(size.classes, training.batch_size, steps, size.largest)
    problem = sampler.no_effect(run)
    return {"sampler": problem} if problem else {}
