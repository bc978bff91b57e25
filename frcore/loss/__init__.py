"""The loss backends: the same numbers at different cost."""

from __future__ import annotations

from frcore.errors import unknown_name
from frcore.loss.auto import AutoBackend
from frcore.loss.base import EntryFilter, ExtraRows, LossBackend, LossOutput
from frcore.loss.dense import dense_loss
from frcore.loss.streamed import streamed_loss
from frcore.loss.triton import triton_loss

BACKENDS: dict[str, LossBackend] = {
    "dense": dense_loss,
    "streamed": streamed_loss,
    "triton": triton_loss,
}

__all__ = ["BACKENDS", "EntryFilter", "ExtraRows", "LossBackend", "LossOutput", "get_backend"]


def get_backend(name: str) -> LossBackend:
    """The backend called `name`, or one that picks at its first call for "auto".

    Raises:
        UserError: there is none.
    """
    if name == "auto":
        return AutoBackend(BACKENDS)
    if name not in BACKENDS:
        raise unknown_name("loss backend", name, [*BACKENDS, "auto"])
    return BACKENDS[name]
