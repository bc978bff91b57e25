"""Whether a training's settings take effect on a data set of this size.

Checked before any job for a study of synthetic faces, else in `frcore train` with the actual data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frcore.data.prepared.folder import Prepared
from frcore.samplers.base import RunSize, Sampler
from frcore.study.parts import Training


@dataclass(frozen=True)
class TrainingSize:
    """Size of a training set.

    Attributes:
        classes: number of labels.
        images: number of images.
        largest: images of the largest class, or an upper bound.
    """

    classes: int
    images: int
    largest: int

    @classmethod
    def of(cls, data: Prepared) -> TrainingSize:
        """The size of a prepared training set."""
        return cls(data.num_classes, len(data.labels), int(np.bincount(data.labels).max()))


def problems(training: Training, sampler: Sampler, size: TrainingSize) -> dict[str, str]:
    """Settings of `training` and `sampler` that would have no effect or fail, and what to do.

    Returns:
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
