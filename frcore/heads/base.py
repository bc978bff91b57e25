"""The contract of a head: an elementwise rule on cosines, with at most a little state.

Shape suffixes used throughout the core: N rows of the batch, M rows of batch and queue, C classes
(or the active ones), D embedding dimension. `x_NC` has shape (N, C). Angles are in radians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

Scale = Annotated[float, Field(gt=0)]
"""Type of a fixed scale s in a head's constructor."""


@dataclass(frozen=True)
class HeadBatch:
    """What is known of each row before any other column is read.

    A head sees this and never the centres, a shard, a rank or a device.

    Attributes:
        cosine_N: cosine between each row and its own class centre; carries the gradient.
        norm_N: norm of each embedding before normalisation; carries the gradient.
        label_N: class of each row, 0-based.
        num_classes: number of classes in all, sampled or not.
        negative_logsumexp: s -> (N,) of log Σ_{k≠y} exp(s cos θ_k) over the other columns that the
            softmax has, without gradient. None unless the head declares it in `statistics`.
    """

    cosine_N: Tensor
    norm_N: Tensor
    label_N: Tensor
    num_classes: int
    negative_logsumexp: Callable[[Tensor | float], Tensor] | None = None


class Head(nn.Module):
    """Base of all heads; by itself the plain cosine with scale 1.

    A head acts in three places: the target entry (`target`), the other entries (`negative`) and the
    scale (`scale`). State lives in buffers, so that it is in `state_dict`; `update` changes it, is
    called in training mode only, without gradient, before the logits, and sees the rows of the
    batch but never those of a queue. What `target`, `negative` and `scale` hand out of a buffer is
    a copy (`.clone()`), because the next update would change it inside an earlier graph.
    """

    normalizes_centers: ClassVar[bool] = True
    """False: the "cosines" are x̂ · w with centres as they are (plain softmax)."""

    statistics: ClassVar[frozenset[Literal["negative_logsumexp"]]] = frozenset()
    """Reductions over all columns that `update` needs; a backend streams them."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def update(self, batch: HeadBatch) -> None:
        """Update the state from the batch's rows."""

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """What the target cosines become, (N,)."""
        return cosine_N

    def negative(self, cosine_NC: Tensor, target_N1: Tensor, batch: HeadBatch) -> Tensor:
        """What the other cosines become, (N, C); `target_N1` is the result of `target`."""
        return cosine_NC

    def scale(self, batch: HeadBatch) -> Tensor | float:
        """The scale s of the logits: one for all rows, or (N,)."""
        return 1.0

    def penalty(self, batch: HeadBatch) -> Tensor | float:
        """What is added to each row's loss, (N,), or 0."""
        return 0.0


class FixedScaleHead(Head):
    """A head whose scale is a constant that the user gives."""

    def __init__(self, num_classes: int, *, scale: Scale) -> None:
        super().__init__(num_classes)
        self.scale_value = float(scale)

    def scale(self, batch: HeadBatch) -> float:
        """The constant s."""
        return self.scale_value

    def extra_repr(self) -> str:
        """Shown by `print(head)`."""
        return f"num_classes={self.num_classes}, scale={self.scale_value:g}"


def sine(cosine: Tensor) -> Tensor:
    """sin θ ≥ 0 of cos θ, with a finite gradient at |cos θ| = 1.

    The true derivative −cos θ / sin θ is unbounded there, and √(1 − cos²) gives NaN at a rounded
    |cos| > 1; below the resolution of the type the sine is taken as constant.
    """
    eps = torch.finfo(cosine.dtype).eps
    return (1 - cosine.square()).clamp_min(eps).sqrt()
