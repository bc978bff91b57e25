"""Writes to one half of split centres."""

from __future__ import annotations

from torch import Tensor

from frcore.errors import UserError


class Halves:
    """Notices high halves that somebody else has moved, by torch's counts of writes to a tensor.

    Whoever moves split centres writes to both halves. An optimiser of torch's, which knows of the
    parameter alone, writes to the high ones, and the centres are then neither the old nor the new
    ones. Not noticed is what torch does not count, such as a write through `.data`.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int, int, int] | None = None

    def __reduce__(self) -> tuple[type[Halves], tuple[()]]:
        return Halves, ()  # a copy's tensors are others, whose writes are counted anew

    def check(self, high_CD: Tensor, low_CD: Tensor) -> None:
        """Compare with the last time that this was called.

        Raises:
            UserError: the high halves have been written to and the low ones have not.
        """
        if high_CD.is_inference():
            return  # made in inference mode, where torch counts nothing and nobody trains
        now = (id(high_CD), id(low_CD), high_CD._version, low_CD._version)
        if self._seen is not None:
            *tensors, high, low = self._seen
            if tensors == [*now[:2]] and low == now[3] and high != now[2]:
                raise UserError(
                    "class centres in format 'split' of which the high halves alone were written "
                    "to, by another optimiser or by hand; only frcore.optimizer.CentersSGD moves "
                    "both halves: leave the centres out of other optimisers, or use "
                    "center_format='fp32'; load a checkpoint to have the old ones back"
                )
        self._seen = now
