"""P(θ): the probability a head assigns to the right class, against the angle to its centre.

The setting is that of the AdaCos paper (Zhang et al. 2019, arXiv 1905.00292, Fig. 2 and Eq. 8-9):
all other centres are at 90°, so that P depends on one angle.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from frcore.heads.base import Head, HeadBatch

NUM_CLASSES = 10_572
"""CASIA-WebFace, the training set of the AdaCos paper's analysis."""

NORM = 20.0
"""‖x‖ of the embeddings, for heads that use it; within MagFace's range, AdaFace's initial mean,
and as softmax's effective scale the default of `normface`."""


def head_curve(head: Head, degrees: np.ndarray, *, norm: float = NORM) -> np.ndarray:
    """Probability of the right class at each target angle, with all others at 90°; float64.

    A softmax over the classes gives P = exp(−loss) = e^z_y / (e^z_y + (C − 1) e^z_k). A binary loss
    per class gives σ(z_y), independent of the other classes.

    Args:
        head: in its present state.
        degrees: target angles, 0 to 180.
        norm: of the embeddings before they are normalised.
    """
    cosine_N = torch.from_numpy(np.cos(np.radians(degrees)))
    batch = HeadBatch(
        cosine_N=cosine_N,
        norm_N=torch.full_like(cosine_N, norm),
        label_N=torch.zeros(len(cosine_N), dtype=torch.long),
        num_classes=head.num_classes,
    )
    with torch.no_grad():
        scale = head.scale(batch)
        target_N = head.target(cosine_N, batch)
        z_y = scale * target_N
        if head.reduction == "softplus_sum":
            return torch.sigmoid(z_y).numpy()
        # A head is elementwise: one column at 90° represents all C − 1.
        other_N1 = head.negative(torch.zeros(len(cosine_N), 1).double(), target_N[:, None], batch)
        z_k = scale * other_N1[:, 0]
        reduced_N = z_k + math.log(head.num_classes - 1)
        return torch.exp(-head.row_loss(z_y, reduced_N)).numpy()


def scale_of(head: Head, *, norm: float = NORM) -> float:
    """The scale s that the head gives an embedding of this norm at 45°."""
    one = torch.ones(1, dtype=torch.float64)
    batch = HeadBatch(one * math.sqrt(0.5), one * norm, torch.zeros(1).long(), head.num_classes)
    return float(torch.as_tensor(head.scale(batch)).reshape(-1)[0])


def crossing(degrees: np.ndarray, probability: np.ndarray, level: float = 0.5) -> float | None:
    """The first angle at which the probability falls to `level`, interpolated; None = never.

    >>> crossing(np.array([0.0, 10.0, 20.0]), np.array([1.0, 0.75, 0.25]))
    15.0
    """
    below = np.flatnonzero(probability < level)
    if not len(below) or below[0] == 0:
        return None
    after = int(below[0])
    span = slice(after - 1, after + 1)
    # np.interp needs increasing positions.
    return float(np.interp(level, probability[span][::-1], degrees[span][::-1]))
