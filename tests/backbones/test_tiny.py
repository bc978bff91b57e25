from __future__ import annotations

import pytest
import torch

from frcore.backbones.tiny import Tiny
from frcore.errors import UserError


@pytest.mark.parametrize(("size", "side"), [(16, 1), (40, 3), (48, 3), (49, 4), (112, 7)])
def test_parameters_follow_from_the_four_layers_and_the_last_map(size: int, side: int) -> None:
    counted = sum(parameter.numel() for parameter in Tiny(size, dim=32, width=4).parameters())
    convolutions = 9 * (3 * 4 + 4 * 8 + 8 * 16 + 16 * 32)
    norms = 2 * (4 + 8 + 16 + 32) + 2 * 32
    assert counted == convolutions + norms + 32 * 32 * side**2


def test_where_a_feature_is_seen_matters() -> None:
    # A global average over the map would give nearly the same embedding for a moved feature.
    torch.manual_seed(0)
    backbone = Tiny(48).eval()
    face = torch.zeros(1, 3, 48, 48)
    face[..., 16:24, 16:24] = 1
    moved = torch.roll(face, 16, dims=3)
    with torch.no_grad():
        empty = backbone(torch.zeros(1, 3, 48, 48))
        similarity = torch.cosine_similarity(backbone(face) - empty, backbone(moved) - empty)
    assert similarity.item() < 0.5


@pytest.mark.slow
def test_tells_apart_people_after_some_steps() -> None:
    # The smallest task with an answer: eight random faces under noise, a linear classifier.
    torch.manual_seed(0)
    faces = torch.rand(8, 3, 16, 16) * 2 - 1
    labels = torch.arange(8).repeat(4)
    backbone, last = Tiny(16, dim=16), torch.nn.Linear(16, 8)
    optimizer = torch.optim.SGD([*backbone.parameters(), *last.parameters()], lr=0.1, momentum=0.9)
    for _ in range(20):
        noisy = faces[labels] + 0.2 * torch.randn(32, 3, 16, 16)
        loss = torch.nn.functional.cross_entropy(last(backbone(noisy)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        answers = last(backbone.eval()(faces + 0.2 * torch.randn(8, 3, 16, 16))).argmax(1)
    assert (answers == torch.arange(8)).sum() >= 7


def test_crop_and_shrink_are_those_of_smaller_images() -> None:
    torch.manual_seed(0)
    large = Tiny(112, crop=96, shrink=2).eval()
    small = Tiny(48).eval()
    small.load_state_dict(large.state_dict())
    images = torch.rand(3, 3, 112, 112)
    # By hand: the centre, and the mean of each square of four pixels.
    part = images[:, :, 8:104, 8:104]
    means = sum(part[:, :, y::2, x::2] for y in (0, 1) for x in (0, 1)) / 4
    with torch.no_grad():
        torch.testing.assert_close(large(images), small(means))
        images[:, :, :8] = 9  # outside the crop
        torch.testing.assert_close(large(images), small(means))


@pytest.mark.parametrize(("crop", "shrink"), [(120, 1), (97, 2), (28, 2)])
def test_a_crop_that_does_not_fit(crop: int, shrink: int) -> None:
    with pytest.raises(UserError, match="crop must fit into the image"):
        Tiny(112, crop=crop, shrink=shrink)
