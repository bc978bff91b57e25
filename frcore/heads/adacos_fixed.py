"""Fixed AdaCos: cosine softmax with a scale derived from the number of classes."""

from __future__ import annotations

import math
from typing import ClassVar

from frcore.errors import UserError
from frcore.heads.base import FixedScaleHead, Source


class FixedAdaCos(FixedScaleHead):
    """Cosine softmax with s = √2 log(C − 1) (AdaCos, Zhang et al. 2019, arXiv 1905.00292, Eq. 12).

    C = 10,572 (CASIA) gives 13.10, C = 85,742 (MS1MV2) gives 16.06.

    Args:
        num_classes: number of classes; 3 or more.

    Raises:
        UserError: fewer than three classes, for which the formula gives a scale of 0 or less.
    """

    source: ClassVar[Source | None] = Source("Zhang et al.", 2019, "1905.00292", equation="Eq. 12")
    formula: ClassVar[tuple[str, str]] = ("√2 log(C − 1) c_y", "√2 log(C − 1) c_k")

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, scale=fixed_scale(num_classes))


def fixed_scale(num_classes: int) -> float:
    """√2 log(C − 1).

    >>> round(fixed_scale(10572), 2), round(fixed_scale(85742), 2), round(fixed_scale(93431), 2)
    (13.1, 16.06, 16.19)
    """
    if num_classes < 3:
        raise UserError(
            f"AdaCos needs at least 3 classes, got {num_classes}: its scale √2 log(C − 1) would be "
            "0 or undefined; use the head 'normface' with your own scale"
        )
    return math.sqrt(2) * math.log(num_classes - 1)
