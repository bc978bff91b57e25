"""Backward passes that have no derivative."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from frcore.errors import UserError

T = TypeVar("T")


def once(backward: Callable[..., T]) -> Callable[..., T]:
    """A backward pass that has no derivative, and says so before it is asked for one.

    Raises:
        UserError: it is run with `create_graph=True`.
    """

    @wraps(backward)
    def wrapped(*given: Any) -> T:
        if torch.is_grad_enabled():
            raise UserError(
                "a backward pass with create_graph=True; gradients of gradients need the whole "
                "matrix: build the classifier with backend='dense', without CentersSGD"
            )
        return backward(*given)

    return wrapped
