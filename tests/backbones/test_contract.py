"""What every backbone of the catalogue promises the harness."""

from __future__ import annotations

import pytest
import torch

from frcore.backbones import BACKBONES, build_backbone
from frcore.errors import UserError

SIZE = 32
SLOW = ("iresnet34", "iresnet50", "iresnet100")  # iresnet18 with more blocks
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BACKBONES]


SMALLER = {"vit": {"patch_size": 8}}  # 16 tokens, for speed


def build(name: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_backbone(name, image_size=SIZE, dim=24, **SMALLER.get(name, {}))


def faces(count: int, size: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def settle(backbone: torch.nn.Module) -> torch.nn.Module:
    """Batch-norm statistics of real activations, and eval mode.

    With the initial ones (mean 0, variance 1) nothing normalises insightface's N(0, 0.1) weights:
    the activations of 50 untrained blocks grow to 1e23, those of 100 overflow.
    """
    for module in backbone.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        backbone.train()(faces(8))
    return backbone.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_maps_faces_to_embeddings_and_trains_every_parameter(name: str) -> None:
    backbone = build(name)
    images = faces(4)
    embeddings = backbone.train()(images)
    assert embeddings.shape == (4, 24)
    assert backbone.dim == 24
    # A weighted sum: the plain sum over a batch-normalised output has no gradient.
    (embeddings * torch.randn(4, 24)).sum().backward()
    for parameter_name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            assert gradient is not None, parameter_name
            assert torch.isfinite(gradient).all(), parameter_name
            assert gradient.abs().max() > 0, parameter_name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_image_at_a_time_gives_the_same_embedding_as_a_batch(name: str) -> None:
    backbone = settle(build(name))
    images = faces(3)
    with torch.inference_mode():
        together = backbone(images)
        alone = torch.cat([backbone(image[None]) for image in images])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4 * float(together.std()))
    # Different faces must not collapse to one embedding at the start.
    assert (together[0] - together[1]).norm() > 1e-3 * together[0].norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_initial_weights_and_a_state_dict_restores_them(name: str) -> None:
    first, again, other = build(name, 0), build(name, 0), build(name, 1)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    settle(first), settle(other)
    images = faces(2)
    with torch.inference_mode():
        expected = first.eval()(images)
        assert not torch.equal(other.eval()(images), expected)
        other.load_state_dict(first.state_dict())
        assert torch.equal(other.eval()(images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_autocast_keeps_the_embedding_in_float32_and_close(name: str) -> None:
    backbone = settle(build(name))
    images = faces(2)
    with torch.inference_mode():
        exact = backbone(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = backbone(images)
    assert low.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(low, exact).min() > 0.99
    # If nothing ran in low precision the equality would be exact.
    assert not torch.equal(low, exact)


SMALLEST = {"mlp": 4}


@pytest.mark.parametrize("name", list(BACKBONES))
def test_a_wrong_image_size_is_refused_with_what_is_allowed(name: str) -> None:
    smallest = SMALLEST.get(name, 16)
    size = smallest // 2
    said = rf"(?s)'{name}'.*{size} px.*at least {smallest}.*image\.size"
    with torch.device("meta"), pytest.raises(UserError, match=said):
        build_backbone(name, image_size=size)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 3, 48, 48), (2, 1, SIZE, SIZE), (3, SIZE, SIZE)])
def test_a_batch_of_another_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, image_size=SIZE)
        images = torch.zeros(shape)
    with pytest.raises(UserError, match=r"takes \(N, 3, 32, 32\), but got"):
        backbone(images)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_no_parameter_of_a_backbone_may_be_nonsense(name: str) -> None:
    with pytest.raises(UserError, match="dim = 0"):
        build_backbone(name, image_size=SIZE, dim=0)
    with pytest.raises(UserError, match="unknown parameter"):
        build_backbone(name, image_size=SIZE, colour="red")
