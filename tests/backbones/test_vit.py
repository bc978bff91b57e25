from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch

from frcore.backbones import build_backbone
from frcore.backbones.vit import _import_timm
from frcore.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "patch", "tokens"),
    [(112, None, 144), (48, None, 144), (40, None, 169), (16, None, 256), (112, 16, 49)],
)
def test_patches_cover_the_face_with_about_twelve_a_side(
    size: int, patch: int | None, tokens: int
) -> None:
    with torch.device("meta"):
        vit = build_backbone("vit", image_size=size, patch_size=patch, dim=32)
    assert vit.transformer.patch_embed.num_patches == tokens


@pytest.mark.slow
def test_the_place_of_a_patch_matters() -> None:
    # Without positional embeddings and a flattening head, attention cannot tell places apart.
    torch.manual_seed(0)
    vit = build_backbone("vit", image_size=32, patch_size=8, dim=16).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        moved = vit(torch.roll(image, 8, dims=3))
        assert (moved - vit(image)).abs().max() > 1e-3


def test_a_patch_larger_than_half_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="at least 64"):
        build_backbone("vit", image_size=48, patch_size=32)


@pytest.mark.slow
def test_the_catalogue_does_not_import_timm() -> None:
    code = (
        "import sys, frcore.backbones.vit as v; assert 'timm' not in sys.modules; v._import_timm()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'timm'"), RuntimeError("operator torchvision::x is odd")],
)
def test_a_missing_or_otherwise_broken_timm_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(UserError, match=r"needs timm.*install timm"):
        _import_timm()
