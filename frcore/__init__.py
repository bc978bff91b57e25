"""Benchmarks and reproductions of the last layer of a face-recognition trainer.

The classifier and what builds its parts can be imported from here; each is loaded when it is used,
so that the command line does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frcore.classifier import Classifier
    from frcore.heads import build_head
    from frcore.optimizer import CentersSGD
    from frcore.samplers import build_sampler

__version__ = "0.1.0"
__all__ = ["CentersSGD", "Classifier", "build_head", "build_sampler"]

_PLACES = {
    "CentersSGD": "frcore.optimizer",
    "Classifier": "frcore.classifier",
    "build_head": "frcore.heads",
    "build_sampler": "frcore.samplers",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
