"""One training step of the last layer on synthetic embeddings: what the timers run.

Timing needs no real faces but it needs values like a trained network's: on zeros or constants a
GPU draws less power and runs faster, and margins take branches that real data do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.measurement.ranks import ALONE, Ranks
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler
from frcore.study.expansion import MeasurementSpec

INPUT_SETS = 8
"""Batches that take turns, so that no step finds the one before it in the cache."""

TARGET_COSINE = 0.6
"""Between an embedding and its class direction; of the order of a trained network's."""

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
RATES: dict[str, Any] = {"lr": LEARNING_RATE, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
"""The usual recipe of the field; only the momentum's buffer matters for the cost."""


@dataclass(frozen=True)
class Batch:
    """Inputs of one step; `images_NCHW` only where the step has a backbone."""

    embedding_ND: Tensor
    label_N: Tensor
    images_NCHW: Tensor | None = None

    def rows(self, own: slice) -> Batch:
        """Some of the rows, without the others' memory."""
        images_NCHW = None if self.images_NCHW is None else self.images_NCHW[own].clone()
        return Batch(self.embedding_ND[own].clone(), self.label_N[own].clone(), images_NCHW)


def clustered_embeddings(
    center_CD: Tensor, label_N: Tensor, *, generator: torch.Generator
) -> Tensor:
    """Embeddings (N, D) around the directions of their centres, like a trained network's.

    The cosine to the class direction is `TARGET_COSINE`. Norms are √D with a spread of a tenth: the
    backbones end in a batch normalisation, whose outputs have variance 1 in each dimension.

    Args:
        center_CD: any vectors, not 0; on the device for the embeddings.
        label_N: classes, on the same device.
        generator: of that device.
    """

    def randn(*shape: int) -> Tensor:
        return torch.randn(
            shape, generator=generator, device=center_CD.device, dtype=center_CD.dtype
        )

    direction_ND = F.normalize(center_CD[label_N])
    noise_ND = randn(*direction_ND.shape)
    noise_ND = noise_ND - (noise_ND * direction_ND).sum(1, keepdim=True) * direction_ND
    sine = (1 - TARGET_COSINE**2) ** 0.5
    unit_ND = TARGET_COSINE * direction_ND + sine * F.normalize(noise_ND)
    spread_N1 = 1 + 0.1 * randn(len(label_N), 1)
    return unit_ND * spread_N1.clamp_min(0.5) * center_CD.shape[1] ** 0.5


class TrainingStep:
    """A training step over a number of identities; call it to run one.

    Args:
        spec: head, sampler, batch size, device and the rest.
        identities: number of class centres C.
        ranks: the processes that share classes and batch; each of them makes the step.
        seed: of centres, embeddings, labels and images.

    Raises:
        frcore.errors.UserError: head, sampler or backbone refuse their parameters.
        RuntimeError: the device has not enough memory.
    """

    def __init__(
        self, spec: MeasurementSpec, identities: int, *, ranks: Ranks = ALONE, seed: int = 0
    ) -> None:
        given = spec.measurement
        self.ranks = ranks
        self.device = torch.device(given.device)
        if self.device.type == "cuda":  # generators, unlike tensors, want to know which
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.precision = given.precision
        torch.manual_seed(seed)
        self.backbone, dim = self._build_backbone(spec)
        self.classifier = Classifier(
            identities,
            dim,
            head=build_head(spec.head.name, num_classes=identities, **spec.head.parameters),
            sampler=build_sampler(spec.sampler.name, **spec.sampler.parameters),
            backend=given.backend,
            precision=given.loss_precision,
            seed=seed,
            center_format=given.center_format,
            group=ranks.group,
            device=self.device,
            draw="device",  # a step costs the same whatever the numbers
        )
        self.classifier.train()
        self.optimizers = self._build_optimizers()
        batches = self._make_batches(spec, seed)
        self._fill_queue(batches)
        own = ranks.own_rows(given.batch_size)
        self.batches = [batch.rows(own) for batch in batches]
        self._turn = count()

    def _build_backbone(self, spec: MeasurementSpec) -> tuple[nn.Module | None, int]:
        component = spec.measurement.backbone
        if component is None:
            return None, spec.measurement.dim
        from frcore.backbones import build_backbone

        backbone = build_backbone(
            component.name, image_size=spec.image.size, **component.parameters
        )
        return backbone.to(self.device).train(), int(backbone.dim)  # type: ignore[arg-type]

    def _build_optimizers(self) -> list[torch.optim.Optimizer]:
        others = list(self.classifier.head.parameters())
        if self.backbone is not None:
            others += self.backbone.parameters()
        centers = CentersSGD(self.classifier, **RATES)
        return [centers, torch.optim.SGD(others, **RATES)] if others else [centers]

    def _make_batches(self, spec: MeasurementSpec, seed: int) -> list[Batch]:
        """Of all processes together: the same batches in each of them."""
        rows = spec.measurement.batch_size
        generator = torch.Generator(self.device).manual_seed(seed)
        every_N = torch.arange(rows, device=self.device)
        batches = []
        for _ in range(INPUT_SETS):
            label_N = torch.randint(
                self.classifier.num_classes, (rows,), generator=generator, device=self.device
            )
            images_NCHW = None
            if self.backbone is not None:
                shape = (rows, 3, spec.image.size, spec.image.size)
                images_NCHW = torch.rand(shape, generator=generator, device=self.device)
                images_NCHW = images_NCHW.mul_(2).sub_(1)
            # Only the centres that are wanted: the whole table of split ones would be joined.
            center_ND = self.classifier.read_centers(label_N)
            embedding_ND = clustered_embeddings(center_ND, every_N, generator=generator)
            batches.append(Batch(embedding_ND, label_N, images_NCHW))
        return batches

    def _fill_queue(self, batches: list[Batch]) -> None:
        """Bring a sampler that stores past embeddings to the state it is in for most of a run.

        BroadFace's queue takes Q / N steps to fill and a step costs more with each of them.
        """
        classifier = self.classifier
        for turn in count():
            if classifier.sampler.settled:
                return
            batch = batches[turn % INPUT_SETS]
            classifier.sampler.observe(batch.embedding_ND, batch.label_N, classifier.read_centers)

    @property
    def _operands(self) -> str:
        """What products are computed from, in words; known after the first step."""
        operands = self.classifier.operands
        return f" from {operands} operands" if operands not in (None, "fp32") else ""

    @property
    def inside_timer(self) -> str:
        """In words, what one call has done; of the precision once there was a call."""
        layer = (
            f"sampler (columns and queue), cosines{self._operands}, head and loss in fp32, "
            "backward to embeddings and centres, optimiser of the centres (SGD with momentum)"
        )
        if self.ranks.size > 1:
            layer += f", all collectives between {self.ranks.size} processes"
        if self.backbone is None:
            return f"{layer}; no backbone, no data loading"
        return (
            f"backbone forward and backward in {self.precision} on random images, {layer} and of "
            "the backbone; no data loading, no clipping of gradients"
        )

    def __call__(self) -> None:
        """Run one step; on a GPU it is only queued."""
        batch = self.batches[next(self._turn) % INPUT_SETS]
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.classifier(self._embed(batch), batch.label_N).loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def _embed(self, batch: Batch) -> Tensor:
        if self.backbone is None:
            # A new leaf each time: the gradient with respect to it is part of the cost, adding it
            # to the one of eight steps ago is not.
            return batch.embedding_ND.detach().requires_grad_()
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        ):
            try:
                embedding_ND = self.backbone(batch.images_NCHW)
            except ValueError as error:
                if len(batch.label_N) > 1 or "more than 1 value per channel" not in str(error):
                    raise
                raise UserError(
                    "measurement.batch_size is 1, and of one image the backbone's batch "
                    "normalisation has no variance: set it to 2 or more, or leave the backbone out"
                ) from error
        return embedding_ND.float()

    def synchronize(self) -> None:
        """Wait until the device has done all steps."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
