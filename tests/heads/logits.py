"""What a head makes of a matrix of cosines, without the rest of a classifier."""

from __future__ import annotations

import torch
from torch import Tensor

from frcore.heads.base import Head, HeadBatch


def head_batch(cosine_N: Tensor, norm_N: Tensor | None = None) -> HeadBatch:
    """Target cosines, of class 0, in the form that a head gets them."""
    norm_N = torch.ones_like(cosine_N) if norm_N is None else norm_N
    return HeadBatch(cosine_N, norm_N, torch.zeros(len(cosine_N)).long(), 10)


def logits(head: Head, cosine_NC: Tensor, label_N: Tensor, norm_N: Tensor | None = None) -> Tensor:
    """The scaled logit matrix; differentiable."""
    own = torch.arange(cosine_NC.shape[1]) == label_N[:, None]
    batch = head_batch(cosine_NC[own], norm_N)
    target_N = head.target(batch.cosine_N, batch)
    scale = torch.as_tensor(head.scale(batch)).reshape(-1, 1)
    negative_NC = head.negative(cosine_NC, target_N[:, None], batch)
    return scale * torch.where(own, target_N[:, None], negative_NC)


def target_and_slope(head: Head, theta: float) -> tuple[float, float]:
    """The target at the angle θ_y, unscaled, and its derivative with respect to cos θ_y."""
    cosine = torch.tensor([theta], dtype=torch.float64).cos().requires_grad_()
    value = head.target(cosine, head_batch(cosine))
    value.sum().backward()
    return value.item(), cosine.grad.item()


def targets(head: Head, theta_N: Tensor) -> list[float]:
    """The targets at many angles, unscaled."""
    cosine_N = theta_N.double().cos()
    return head.target(cosine_N, head_batch(cosine_N)).tolist()


def random_cosines(rows: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines over the whole of (−1, 1), float64 and with gradient, and labels."""
    generator = torch.Generator().manual_seed(seed)
    cosine = 1.98 * torch.rand(rows, classes, generator=generator, dtype=torch.float64) - 0.99
    return cosine.requires_grad_(), torch.randint(classes, (rows,), generator=generator)
