"""MLP: a small network for vectors, so that the last layer is most of the work."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from frcore.backbones.common import check_image_size, check_input, full_precision


class MLP(nn.Module):
    """Hidden layers over all pixels, beside a linear layer; for `kind: synthetic_identities`.

    The linear layer alone (`depth: 0`) is a linear probe: what the hidden layers add is what the
    task has of a nonlinear problem. It cannot make up for a face that is moved by a few pixels.

    Args:
        image_size: side of the input in pixels, 4 or more.
        dim: length of the embedding.
        width: of the hidden layers.
        depth: number of hidden layers, each with batch normalisation and ReLU.

    Raises:
        UserError: `image_size` is below 4.
    """

    def __init__(
        self,
        image_size: int,
        *,
        dim: Annotated[int, Field(ge=1)] = 64,
        width: Annotated[int, Field(ge=1)] = 512,
        depth: Annotated[int, Field(ge=0)] = 1,
    ):
        super().__init__()
        check_image_size("mlp", image_size, smallest=4)
        self.dim = dim
        self.image_size = image_size
        inputs = 3 * image_size**2
        self.linear = nn.Linear(inputs, dim, bias=False)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            inputs = width
        layers += [nn.Linear(inputs, dim, bias=False)] if depth else []
        self.hidden = nn.Sequential(*layers)
        self.features = nn.BatchNorm1d(dim)
        # As in IResNet: the embedding is normalised next, so a gain per dimension is useless.
        self.features.weight.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] -> (N, dim), float32 also under autocast."""
        check_input("mlp", images, self.image_size)
        pixels = images.flatten(1)
        embeddings = self.linear(pixels)
        if len(self.hidden):
            embeddings = embeddings + self.hidden(pixels)
        with full_precision(embeddings):
            return self.features(embeddings.float())
