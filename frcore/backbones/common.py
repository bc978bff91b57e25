"""What the backbones share: the check of the image size, and a head kept out of autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from frcore.errors import UserError


def check_image_size(backbone: str, size: int, *, smallest: int, multiple: int = 1) -> None:
    """Refuse an image size that `backbone` cannot be built for.

    Raises:
        UserError: `size` is below `smallest` or not a multiple of `multiple`.
    """
    if size >= smallest and size % multiple == 0:
        return
    allowed = f"at least {smallest}" + (f" and a multiple of {multiple}" if multiple > 1 else "")
    nearest = max(smallest, round(size / multiple) * multiple)
    raise UserError(
        f"backbone '{backbone}' cannot take images of {size} px: the size must be {allowed}; "
        f"set image.size to {nearest}, or choose another backbone ('tiny' takes any size from 16)"
    )


def check_input(backbone: str, images_NCHW: torch.Tensor, size: int) -> None:
    """Refuse a batch that is not (N, 3, `size`, `size`).

    A fixed FC or positional embedding would fail deep inside torch, and a global pool would
    silently accept it.

    Raises:
        UserError: another shape.
    """
    if images_NCHW.dim() != 4 or tuple(images_NCHW.shape[1:]) != (3, size, size):
        raise UserError(
            f"backbone '{backbone}' was built for image_size={size} and takes (N, 3, {size}, "
            f"{size}), but got {tuple(images_NCHW.shape)}; resize the images or build it for them"
        )


def full_precision(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Autocast off on the tensor's device, if that has autocast ("meta" does not).

    As in arcface_torch, only the convolutions run in low precision: the embedding itself is
    float32, because its direction is what the margins (hundredths of a radian) act on.
    """
    device = tensor.device.type
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
