from __future__ import annotations

import pytest
import torch

from frcore.backbones.iresnet import Block, IResNet18
from frcore.errors import UserError


@pytest.mark.slow
def test_a_block_is_its_equation_written_out() -> None:
    torch.manual_seed(0)
    block = Block(4, 6, stride=2).double().eval()
    state = block.state_dict()
    for key, value in state.items():  # statistics that are not 0 and 1, so that order shows
        if "running" in key or key.endswith(("bias", "weight")):
            state[key] = torch.rand_like(value) + 0.5
    block.load_state_dict(state)
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)

    def normalise(x: torch.Tensor, name: str) -> torch.Tensor:
        def per_channel(part: str) -> torch.Tensor:
            return state[f"{name}.{part}"][:, None, None]

        scaled = (x - per_channel("running_mean")) / (per_channel("running_var") + 1e-5).sqrt()
        return scaled * per_channel("weight") + per_channel("bias")

    def convolve(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        outputs, _, size, _ = weight.shape
        pad = size // 2
        padded = torch.zeros(x.shape[0], x.shape[1], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad)
        padded = padded.to(x)
        padded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]] = x
        side = (x.shape[2] - 1) // stride + 1
        out = torch.zeros(x.shape[0], outputs, side, side, dtype=x.dtype)
        for row in range(side):
            for column in range(side):
                window = padded[
                    :,
                    :,
                    row * stride : row * stride + size,
                    column * stride : column * stride + size,
                ]
                out[:, :, row, column] = (window[:, None] * weight[None]).sum((2, 3, 4))
        return out

    y = convolve(normalise(x, "body.0"), state["body.1.weight"], 1)
    y = normalise(y, "body.2")
    y = torch.where(y > 0, y, y * state["body.3.weight"][:, None, None])
    y = normalise(convolve(y, state["body.4.weight"], 2), "body.5")
    expected = y + normalise(convolve(x, state["shortcut.0.weight"], 2), "shortcut.1")
    assert expected.min() < 0, "a ReLU after the sum would not show"
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected)


def test_the_last_gain_is_frozen_at_one_and_convolutions_start_at_a_tenth() -> None:
    torch.manual_seed(0)
    backbone = IResNet18(32, dim=8)
    assert not backbone.features.weight.requires_grad
    assert torch.equal(backbone.features.weight, torch.ones(8))
    weights = torch.cat(
        [m.weight.flatten() for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    )
    assert weights.std().item() == pytest.approx(0.1, rel=0.01)


def test_a_size_that_is_not_a_multiple_of_sixteen_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"iresnet18.*40 px.*multiple of 16.*image.size to 32"):
        IResNet18(40)
