"""The backbones: what turns an aligned face into an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frcore.components.catalogue import Catalogue

if TYPE_CHECKING:
    from torch import nn

BACKBONES: Catalogue[nn.Module] = Catalogue(
    "backbone",
    {
        "tiny": "frcore.backbones.tiny:Tiny",
        "mlp": "frcore.backbones.mlp:MLP",
        "mobilefacenet": "frcore.backbones.mobilefacenet:MobileFaceNet",
        "iresnet18": "frcore.backbones.iresnet:IResNet18",
        "iresnet34": "frcore.backbones.iresnet:IResNet34",
        "iresnet50": "frcore.backbones.iresnet:IResNet50",
        "iresnet100": "frcore.backbones.iresnet:IResNet100",
        "vit": "frcore.backbones.vit:ViT",
    },
    context=("image_size",),
)


def build_backbone(name: str, *, image_size: int, **parameters: Any) -> nn.Module:
    """Build the backbone `name` for `image_size` × `image_size` RGB faces.

    The module maps (N, 3, size, size) floats in [-1, 1] to (N, dim) un-normalised embeddings and
    has an attribute `dim`.

    Raises:
        UserError: unknown backbone or parameter, or a value that is not allowed.
    """
    return BACKBONES.build(name, image_size=image_size, **parameters)
