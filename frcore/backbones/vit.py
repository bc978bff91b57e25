"""Vision transformers for faces, after arcface_torch's ViT-T/S/B/L; the blocks are timm's.

Like arcface_torch: patches of 9 pixels make 12 × 12 tokens of a 112-pixel face (the last 4 pixels
are cut off), no class token, and all tokens, flattened, go through two linear layers with BN.
Unlike arcface_torch: timm's blocks have GELU and biased queries, keys and values where that code
has ReLU6 and none, and there is no masking of tokens during training.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from frcore.backbones.common import check_image_size, check_input, full_precision
from frcore.errors import UserError

TOKENS_PER_SIDE = 12
"""112 px in patches of 9, as in arcface_torch; other image sizes keep the number of tokens."""


class Size(NamedTuple):
    """The size of a transformer."""

    width: int
    depth: int


SIZES = {
    "tiny": Size(256, 12),
    "small": Size(512, 12),
    "base": Size(512, 24),
    "large": Size(768, 24),
}
HEADS = 8

_NMS_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _import_timm() -> Any:
    """Import timm's vision transformer, also where torchvision's operators cannot load.

    timm imports torchvision, and torchvision's compiled operators need the very build of torch that
    they were linked to: with a CPU-only wheel they are silently absent, and torchvision then
    fails because it registers `nms` with torch.compile without having it. A vision transformer uses
    none of these operators, so it is enough to declare that they exist.

    Raises:
        UserError: timm or torchvision is missing or broken in another way.
    """
    try:
        try:
            return importlib.import_module("timm.models.vision_transformer")
        except RuntimeError as error:
            if "operator torchvision::nms does not exist" not in str(error):
                raise
        for name in ("nms", "qnms"):  # qnms: torchvision from 0.22 on
            with contextlib.suppress(RuntimeError):  # declared before
                torch.library.define(f"torchvision::{name}", _NMS_SCHEMA)
        return importlib.import_module("timm.models.vision_transformer")
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"backbone 'vit' needs timm, which cannot be imported here ({error}); install timm and "
            "the torchvision that belongs to the installed torch, or choose another backbone"
        ) from error


class ViT(nn.Module):
    """A vision transformer over the patches of a face, through timm.

    Args:
        image_size: side of the input in pixels.
        dim: length of the embedding.
        model: arcface_torch's sizes: `tiny` (256 wide, 12 blocks), `small` (512, 12), `base`
            (512, 24), `large` (768, 24); 8 heads each.
        patch_size: side of a patch in pixels; the default makes 12 × 12 tokens where the size
            allows it (9 at 112 px, 4 at 48, 3 at 40). The rest of the image is cut off.
        drop_path: stochastic depth of the last block, growing linearly from 0 at the first.

    Raises:
        UserError: the image is smaller than 16 px or than two patches; timm cannot be imported.
    """

    def __init__(
        self,
        image_size: int,
        *,
        dim: Annotated[int, Field(ge=1)] = 512,
        model: Literal["tiny", "small", "base", "large"] = "tiny",
        patch_size: Annotated[int, Field(ge=1)] | None = None,
        drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ):
        super().__init__()
        patch = patch_size or max(1, image_size // TOKENS_PER_SIDE)
        check_image_size("vit", image_size, smallest=max(16, 2 * patch))
        self.dim = dim
        self.image_size = image_size
        size = SIZES[model]
        self.transformer = _import_timm().VisionTransformer(
            img_size=image_size,
            patch_size=patch,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=HEADS,
            drop_path_rate=drop_path,
            num_classes=0,
            class_token=False,
            global_pool="",
        )
        tokens = self.transformer.patch_embed.num_patches
        self.head = nn.Sequential(
            nn.Linear(tokens * size.width, size.width, bias=False),
            nn.BatchNorm1d(size.width),
            nn.Linear(size.width, dim, bias=False),
            nn.BatchNorm1d(dim),
        )
        for module in self.head:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] -> (N, dim), float32 also under autocast."""
        check_input("vit", images, self.image_size)
        tokens = self.transformer(images).flatten(1)
        with full_precision(tokens):
            return self.head(tokens.float())
