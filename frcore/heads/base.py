"""The contract of a head: an elementwise rule on cosines, with at most a little state.

Shape suffixes used throughout the core: N rows of the batch, M rows of batch and queue, C classes
(or the active ones), D embedding dimension. `x_NC` has shape (N, C). Angles are in radians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

Scale = Annotated[float, Field(gt=0)]
"""Type of a fixed scale s in a head's constructor."""


@dataclass(frozen=True)
class Source:
    """Where a formula comes from; shown by `frcore heads` and in docs/heads.md.

    Attributes:
        authors: first author "et al.", as one cites.
        year: of the publication.
        arxiv: identifier, for example "1801.07698".
        equation: number(s) in that paper, for example "Eq. 3"; "" where the formula has none.
        code: the authors' code where it decides what the text leaves open, as "owner/name:file".
    """

    authors: str
    year: int
    arxiv: str
    equation: str = ""
    code: str = ""


@dataclass(frozen=True)
class HeadBatch:
    """What is known about each row before any other column is read.

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


@dataclass(frozen=True)
class NegativeRule:
    """`Head.negative` in the form that a kernel knows: cos θ_k where it is below the row's
    threshold, a polynomial of it, q₂ c² + q₁ c + q₀, above.

    The threshold and the coefficients are constants to the gradient.

    Attributes:
        threshold_N: above which the polynomial acts; None where it never does.
        coefficients: (q₂, q₁, q₀); tensors without dimension are read on their device.
    """

    threshold_N: Tensor | None = None
    coefficients: tuple[Tensor | float, Tensor | float, Tensor | float] = (0.0, 1.0, 0.0)

    def __call__(self, cosine_NC: Tensor) -> Tensor:
        """The transformed other cosines; equals `Head.negative`."""
        if self.threshold_N is None:
            return cosine_NC
        square, linear, constant = (
            q.to(cosine_NC.dtype) if isinstance(q, Tensor) else q for q in self.coefficients
        )
        raised_NC = (square * cosine_NC + linear) * cosine_NC + constant
        return torch.where(cosine_NC > self.threshold_N[:, None], raised_NC, cosine_NC)

    def bounds(self) -> tuple[float, float] | None:
        """Least and greatest value for |c| ≤ 1; None if that is known on the device only."""
        if self.threshold_N is None:
            return -1.0, 1.0
        if any(isinstance(q, Tensor) for q in self.coefficients):
            return None
        square, linear, constant = (float(q) for q in self.coefficients)
        corners = [-1.0, 1.0]
        if square and abs(linear) < 2 * abs(square):
            corners.append(-linear / (2 * square))
        values = [(square * c + linear) * c + constant for c in corners]
        return min(-1.0, *values), max(1.0, *values)


class Head(nn.Module):
    """Base of all heads; by itself the plain cosine with scale 1.

    A head acts in three places: the target entry (`target`), the other entries (`negative`) and the
    scale (`scale`). With z = scale · entry, a row's loss is `row_loss(z_y, R)`, where `reduction`
    names how R sums over the other columns. Each is called once per forward for the rows of batch
    and queue together, `negative` once per tile of columns.

    State lives in buffers, so that it is in `state_dict`; `update` changes it, is called in
    training mode only, without gradient, before the logits, and sees the rows of the batch but
    never those of a queue. What `target`, `negative` and `scale` return from a buffer is a copy
    (`.clone()`), because the next update would change it inside an earlier graph.
    """

    normalizes_centers: ClassVar[bool] = True
    """False: the "cosines" are x̂ · w with centres as they are (plain softmax)."""

    statistics: ClassVar[frozenset[Literal["negative_logsumexp"]]] = frozenset()
    """Reductions over all columns that `update` needs; a backend streams them."""

    reduction: ClassVar[Literal["logsumexp", "softplus_sum"]] = "logsumexp"
    """R of a row: log Σ_{k≠y} exp z_k (one softmax over the classes), or Σ_{k≠y} log(1 + exp z_k)
    (a binary loss per class). Where there is no other column it is −∞ or 0."""

    source: ClassVar[Source | None] = None
    """The paper."""

    formula: ClassVar[tuple[str, str]] = ("c_y", "c_k")
    """What the target's and the others' cosines become, scale included, for tables; c = cos θ."""

    dialects: ClassVar[tuple[str, ...]] = ()
    """Constructor parameters by which published codes of one name differ."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def attach(self, *, seed: int) -> None:
        """Called once by the classifier; a head that draws does so from `seed` on."""

    def update(self, batch: HeadBatch) -> None:
        """Update the state from the batch's rows."""

    def observe(self, reduced_N: Tensor) -> None:
        """Receive R of the batch's rows after the loss; in training only, without gradient."""

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """The transformed target cosines, (N,)."""
        return cosine_N

    def negative(self, cosine_NC: Tensor, target_N1: Tensor, batch: HeadBatch) -> Tensor:
        """The transformed other cosines, (N, C); `target_N1` is the result of `target`."""
        return cosine_NC

    def negative_rule(self, batch: HeadBatch) -> NegativeRule:
        """`negative` in the form that a fused kernel knows; see `has_rule`."""
        return NegativeRule()

    def scale(self, batch: HeadBatch) -> Tensor | float:
        """The scale s of the logits: one for all rows, or (N,)."""
        return 1.0

    def row_loss(self, target_N: Tensor, reduced_N: Tensor) -> Tensor:
        """Loss of each row from the target's z and the reduction R, (N,).

        The softmax's −log p_y = softplus(R − z_y). With R without the target, 1 − p_y keeps its
        precision where p_y is close to 1.
        """
        # Not F.softplus, which is the identity above 20.
        return -F.logsigmoid(target_N - reduced_N)

    def penalty(self, batch: HeadBatch) -> Tensor | float:
        """The term added to each row's loss, (N,), or 0."""
        return 0.0

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars of the state that a plot over training should show, by name; may be empty."""
        return {}


def has_rule(head: Head) -> bool:
    """Whether `negative_rule` is what `negative` does: false for a class that overrides `negative`
    and says no rule for it."""
    order = type(head).__mro__
    negative, rule = (
        next(i for i, owner in enumerate(order) if name in vars(owner))
        for name in ("negative", "negative_rule")
    )
    return rule <= negative


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
