"""NormFace: softmax on scaled cosines."""

from __future__ import annotations

from typing import ClassVar

from frcore.heads.base import FixedScaleHead, Scale, Source


class NormFace(FixedScaleHead):
    """Cosine softmax, logit_ij = s cos θ_ij, no margin (Wang et al. 2017, arXiv 1704.06369).

    The default scale is the better of the two that the ArcFace paper reports for "Norm-softmax" on
    CASIA (TPAMI version, Table 2: s = 20 gives 99.20 on LFW, s = 64 gives 98.56).

    Args:
        num_classes: number of classes.
        scale: s, a constant; the paper's code also learns it.
    """

    source: ClassVar[Source | None] = Source(
        "Wang et al.",
        2017,
        "1704.06369",
        code="happynear/NormFace:prototxt/scaled_cosine_softmax.prototxt",
    )
    formula: ClassVar[tuple[str, str]] = ("s c_y", "s c_k")

    def __init__(self, num_classes: int, *, scale: Scale = 20.0) -> None:
        super().__init__(num_classes, scale=scale)
