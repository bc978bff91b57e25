"""A network without batch norm, whose parts of a batch are computed alike wherever they are."""

from __future__ import annotations

from torch import Tensor, nn


class Plain(nn.Module):
    """Two linear layers over the pixels.

    Args:
        image_size: side of the square images.
        dim: of the embeddings.
    """

    def __init__(self, image_size: int, dim: int = 16) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * image_size**2, 32), nn.Tanh(), nn.Linear(32, dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        embedding_ND: Tensor = self.layers(images)
        return embedding_ND
