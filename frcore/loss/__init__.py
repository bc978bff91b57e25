"""The loss backends: the same numbers at different cost."""

from __future__ import annotations

from typing import cast

from frcore.components.catalogue import at_place
from frcore.errors import unknown_name
from frcore.loss.base import LossBackend, LossOutput
from frcore.loss.inputs import EntryFilter, ExtraRows

BACKENDS = {
    "dense": "frcore.loss.dense:dense_loss",
    "streamed": "frcore.loss.streamed:streamed_loss",
    "triton": "frcore.loss.triton:triton_loss",
}
"""Name -> place of each backend."""

AUTO = {"auto": "frcore.loss.auto:AutoBackend"}
"""What picks among them at its first call."""

__all__ = ["BACKENDS", "EntryFilter", "ExtraRows", "LossBackend", "LossOutput", "get_backend"]


def get_backend(name: str) -> LossBackend:
    """The backend called `name`; for "auto" one that picks at its first call.

    Raises:
        UserError: there is none.
    """
    if name in AUTO:
        return cast("LossBackend", at_place(AUTO[name])(get_backend))
    if name not in BACKENDS:
        raise unknown_name("loss backend", name, [*BACKENDS, *AUTO])
    return cast("LossBackend", at_place(BACKENDS[name]))
