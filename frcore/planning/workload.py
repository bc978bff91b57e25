"""What is planned: a training step of the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from frcore.errors import UserError, unknown_name
from frcore.planning.counted import COUNTED


class State(NamedTuple):
    """How a class centre and its momentum are stored; bytes per element of the centre.

    Attributes:
        stored: centre, momentum and copies.
        read: read by a pass that computes cosines.
        update: read and written by the pass that computes and applies the gradient.
        meaning: in words.
    """

    stored: int
    read: int
    update: int
    meaning: str


STATES: dict[str, State] = {
    "fp32": State(8, 4, 16, "centre and momentum in fp32"),
    "fp32_shadow": State(10, 2, 20, "centre and momentum in fp32, a bf16 copy for the products"),
    "fp32_no_momentum": State(4, 4, 8, "centre in fp32, no momentum"),
    "split": State(6, 2, 12, "centre in two 16-bit halves, exactly fp32; momentum in bf16"),
    "split_no_momentum": State(4, 2, 8, "centre in two 16-bit halves, no momentum"),
}

BACKENDS = ("fused", *COUNTED)

Update = Literal["sparse", "lazy", "dense"]


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        identities: class centres on all GPUs.
        gpus: number of GPUs over which the classes are distributed.
        batch: images on each GPU; each GPU's classes see those of all GPUs.
        dim: of the embeddings.
        rate: share of the centres in each step's softmax.
        state: one of `STATES`.
        update: how centres outside it are updated; "lazy" costs about as much as "sparse".
        queue: rows of a queue of past embeddings that update the centres (BroadFace).
        statistic: whether the head needs a sum over all cosines to set its scale (AdaCos).
        precision: of the matrix products' operands.
        backend: "fused", or one of `COUNTED`.
        backbone: parameters of a backbone trained with it, of which memory and network are planned,
            but neither activations nor time.
    """

    identities: int
    gpus: int = 1
    batch: int = 1024
    dim: int = 512
    rate: float = 1.0
    state: str = "fp32"
    update: Update = "sparse"
    queue: int = 0
    statistic: bool = False
    precision: str = "bf16"
    backend: str = "fused"
    backbone: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("state", STATES), ("backend", BACKENDS),
                              ("update", ("sparse", "lazy", "dense"))):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise unknown_name(name, getattr(self, name), allowed, where=f"--{name}")
        for name, least in (("identities", 2), ("gpus", 1), ("batch", 1), ("dim", 1), ("queue", 0),
                            ("backbone", 0)):  # fmt: skip
            if getattr(self, name) < least:
                raise UserError(
                    f"--{name} {getattr(self, name)}; allowed is {least} or more: give a count"
                )
        if not 0 < self.rate <= 1:
            raise UserError(
                f"--rate {self.rate}; allowed is above 0, up to 1 (the full softmax): give the "
                "share of all class centres sampled in a step"
            )
        if self.backend != "fused" and self.state != "fp32":
            raise UserError(
                f"state '{self.state}' with backend '{self.backend}'; its centres and momentum are "
                "fp32: omit --state, or plan --backend fused"
            )

    @property
    def rows(self) -> int:
        """Rows of each GPU's logit matrix: the batches of all GPUs."""
        return self.batch * self.gpus

    @property
    def classes(self) -> float:
        """Class centres on one GPU; the largest share if they do not divide evenly."""
        return float(-(-self.identities // self.gpus))

    @property
    def active(self) -> float:
        """Class centres on one GPU that are in a step's softmax."""
        return self.rate * self.classes
