from __future__ import annotations

import pytest
import torch

from frcore.backbones.mlp import MLP


@pytest.mark.parametrize(
    ("depth", "hidden"), [(0, 0), (1, 48 * 7 + 7 * 5), (2, 48 * 7 + 49 + 7 * 5)]
)
def test_parameters_follow_from_the_layers(depth: int, hidden: int) -> None:
    backbone = MLP(4, dim=5, width=7, depth=depth)
    norms = 2 * 7 * depth + 2 * 5
    counted = sum(parameter.numel() for parameter in backbone.parameters())
    assert counted == 48 * 5 + hidden + norms


def test_without_hidden_layers_it_is_linear() -> None:
    torch.manual_seed(0)
    backbone = MLP(4, dim=5, depth=0).eval()
    a, b = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        zero = backbone(torch.zeros_like(a))
        together = backbone(a + b) - zero
        apart = backbone(a) + backbone(b) - 2 * zero
        torch.testing.assert_close(together, apart)
        bent = MLP(4, dim=5).eval()
        assert not torch.allclose(bent(a + b), bent(a) + bent(b) - bent(torch.zeros_like(a)))
