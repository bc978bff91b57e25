"""Parameters and multiplications against figures that others published."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from frcore.backbones import build_backbone


def build(name: str, **parameters: Any) -> torch.nn.Module:
    with torch.device("meta"):  # sizes only: nothing is allocated
        return build_backbone(name, image_size=112, **parameters).eval()


def millions(backbone: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in backbone.parameters()) / 1e6


def giga_multiplications(backbone: torch.nn.Module) -> float:
    """Multiply-adds of convolutions and matrix products for one 112 × 112 face."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        backbone(torch.zeros(1, 3, 112, 112, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [
        # Counted in arcface_torch's own backbones at 112 × 112, dim 512, final FC included.
        ("iresnet18", 24.03),
        ("iresnet34", 34.14),
        ("iresnet50", 43.59),
        ("iresnet100", 65.16),
        ("mobilefacenet", 2.06),
    ],
)
def test_parameters_equal_those_of_arcface_torch(name: str, published: float) -> None:
    assert round(millions(build(name)), 2) == published


@pytest.mark.slow
def test_width_one_is_the_network_of_the_mobilefacenet_paper() -> None:
    # arXiv:1804.07573, table 2: 0.99 M parameters and 221 M multiply-adds, at dim 128; the paper
    # does not say whether it counts the PReLUs and BNs, which are 3 % of ours.
    paper = build("mobilefacenet", width=1, dim=128)
    assert millions(paper) == pytest.approx(0.99, rel=0.02)
    assert giga_multiplications(paper) == pytest.approx(0.221, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [
        # OpenVINO's Open Model Zoo, face-recognition-resnet100-arcface-onnx and -resnet34-arcface:
        # GFLOPs (two per multiply-add) of InsightFace's LResNet100E-IR and LResNet34E-IR.
        ("iresnet34", 8.934),
        ("iresnet100", 24.2115),
    ],
)
def test_multiplications_equal_those_of_insightface_models(name: str, published: float) -> None:
    # Theirs count BN and PReLU too, so ours must be less, by some thousandths.
    ours = 2 * giga_multiplications(build(name))
    assert 0.997 * published < ours < published


@pytest.mark.slow
@pytest.mark.parametrize(
    # arcface_torch names its models by them: "ViT-T-1.5G", "ViT-B-11G" (README, WebFace42M).
    ("model", "published", "digits"),
    [("tiny", 1.5, 1), ("base", 11, 0)],
)
def test_vit_multiplications_are_those_in_arcface_torchs_names(
    model: str, published: float, digits: int
) -> None:
    assert round(giga_multiplications(build("vit", model=model)), digits) == published
