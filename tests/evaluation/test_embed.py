from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from frcore.backbones import build_backbone
from frcore.errors import UserError
from frcore.evaluation.embed import embed


class Probe(nn.Module):
    """Embeds an image as its mean colours and the red of its left edge: easy to predict."""

    def __init__(self, poison: float | None = None):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.poison = poison
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        assert torch.is_inference_mode_enabled()
        out = torch.cat([images.mean((2, 3)), images[:, 0, :, 0].mean(1, keepdim=True)], dim=1)
        if self.poison is not None:
            out[images.mean((1, 2, 3)) > 0.95] = self.poison
        return out


@pytest.fixture
def faces(rng):
    return rng.integers(0, 256, (11, 6, 6, 3), dtype=np.uint8)


def expected(image, flip):
    pixels = (image.astype(float) - 127.5) / 127.5
    colours = pixels.mean((0, 1))
    own, mirrored = pixels[:, 0, 0].mean(), pixels[:, -1, 0].mean()
    if flip == "none":
        return np.r_[colours, own]
    return np.r_[2 * colours, own + mirrored]


@pytest.mark.parametrize("flip", ["none", "sum"])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_embeds_the_asked_rows_in_order(faces, flip, batch_size):
    rows = np.array([7, 0, 3, 10, 7])
    out = embed(Probe().eval(), faces, rows, flip=flip, batch_size=batch_size)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [expected(faces[row], flip) for row in rows], atol=1e-6)
    everything = embed(Probe().eval(), faces, flip=flip, batch_size=batch_size)
    # Batches of two sizes: sums may be taken in two orders.
    np.testing.assert_allclose(everything[rows], out, atol=1e-6)


def test_reads_a_memory_map_batch_by_batch(faces, tmp_path):
    np.save(tmp_path / "images.npy", faces)
    probe = Probe().eval()
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    out = embed(probe, stored, flip="none", batch_size=4)
    assert probe.batches[-3:] == [4, 4, 3]  # before them one image, to see that it stands alone
    np.testing.assert_allclose(out, embed(Probe().eval(), faces, flip="none"), atol=1e-6)


def test_the_precision_settings_are_put_back(faces):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(UserError):
        embed(Probe(poison=np.nan).eval(), np.full_like(faces, 255), flip="none")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@pytest.mark.parametrize("poison", [np.nan, np.inf, 0.0])
def test_a_useless_embedding_is_refused_by_name(faces, poison):
    faces[4] = 255
    names = [f"person/{row}.jpg" for row in range(11)]
    with pytest.raises(UserError, match=r"image 4 \(person/4.jpg\) is (zero|not finite) .1 of 2"):
        embed(Probe(poison).eval(), faces, [1, 4], flip="none", names=names)


def test_wrong_use_is_refused(faces):
    with pytest.raises(UserError, match="training mode"):
        embed(Probe(), faces, flip="none")
    with pytest.raises(UserError, match="allowed: none, sum"):
        embed(Probe().eval(), faces, flip="mirror")
    with pytest.raises(UserError, match="no images to embed"):
        embed(Probe().eval(), faces, [], flip="none")


@pytest.mark.gpu
def test_a_gpu_gives_the_same_embeddings(rng):
    """In float32 without TF32, whose products would differ in the fourth digit."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    backbone = build_backbone("tiny", image_size=24, dim=16, width=8).eval()
    faces = rng.integers(0, 256, (40, 24, 24, 3), dtype=np.uint8)
    on_cpu = embed(backbone, faces, flip="sum", batch_size=16)
    backbone.cuda()
    on_gpu = [embed(backbone, faces, flip="sum", batch_size=16, device="cuda") for _ in range(2)]
    np.testing.assert_array_equal(*on_gpu)
    np.testing.assert_allclose(on_gpu[0], on_cpu, atol=1e-5 * np.abs(on_cpu).max())
