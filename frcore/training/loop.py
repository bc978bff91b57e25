"""The training loop: one step, one epoch, and a diagnosis when the loss is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.parallel import DistributedDataParallel

from frcore.backbones import build_backbone
from frcore.backbones.frozen import freeze
from frcore.classifier import Classifier
from frcore.components.random_stream import mixed_seed
from frcore.data.loader import Batches
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.loss import LossOutput
from frcore.optimizer import build_centers_optimizer
from frcore.records.metrics import EpochEvent, StepEvent
from frcore.samplers import build_sampler
from frcore.study.expansion import RunSpec
from frcore.training.class_counts import CenterTouches, ClassAngles
from frcore.training.diagnostics import center_angles
from frcore.training.drift import DriftProbe
from frcore.training.metrics import EpochFigures, MetricsFile, head_state
from frcore.training.processes import ALONE, Team
from frcore.training.schedule import learning_rate_factor

LOGS_PER_EPOCH = 10
DRIFT_BATCH = 256
"""Images embedded at a time to see how far embeddings drift."""


class TrainingFailedError(UserError):
    """Training cannot continue; see `diagnosis`."""

    def __init__(self, message: str, diagnosis: dict[str, Any]) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


class Pause(Protocol):
    """What a training does between two steps of an epoch, if anything."""

    def due(self) -> bool:
        """Whether to pause after the present step; asked once per step."""

    def pause(self) -> None:
        """Save, for example; may end the training."""


def build_models(
    spec: RunSpec,
    num_classes: int,
    group: ProcessGroup | None = None,
    device: torch.device | None = None,
) -> tuple[nn.Module, Classifier]:
    """Backbone and classifier of a run, from its seed; the classes are split over a group.

    The classifier is made on `device`, where it has the numbers that it has on a CPU.
    """
    size = spec.image.size
    backbone = build_backbone(spec.backbone.name, image_size=size, **spec.backbone.parameters)
    head = build_head(spec.head.name, num_classes=num_classes, **spec.head.parameters)
    sampler = build_sampler(spec.sampler.name, **spec.sampler.parameters)
    classifier = Classifier(
        num_classes,
        int(backbone.dim),  # type: ignore[arg-type]  # an int attribute; nn.Module types it Tensor
        head=head,
        sampler=sampler,
        backend=spec.training.backend,
        precision=spec.training.loss_precision,
        seed=spec.seed,
        center_std=spec.training.center_std,
        center_format=spec.training.center_format,
        group=group,
        device=device,
    )
    return backbone, classifier


class Trainer:
    """Models, optimisers and progress of a run.

    With several processes each has the whole backbone and its part of every batch and of the class
    centres; what it reports is of the whole batch, and equal on all of them.
    """

    def __init__(
        self, spec: RunSpec, batches: Batches, num_classes: int, team: Team = ALONE
    ) -> None:
        training = spec.training
        self.spec = spec
        self.batches = batches
        self.team = team
        self.device = torch.device(training.device)
        backbone, classifier = build_models(spec, num_classes, team.group, self.device)
        if training.sync_batchnorm:
            backbone = nn.SyncBatchNorm.convert_sync_batchnorm(backbone, team.group)
        self.backbone = backbone.to(self.device).train()
        freeze(self.backbone, spec.backbone.freeze)
        if training.channels_last:
            self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if training.compile:
            self.backbone.compile()  # in place, so that names in checkpoints stay
        self._embed: nn.Module = self.backbone
        learns = any(weight.requires_grad for weight in self.backbone.parameters())
        if team.group is not None and learns:
            # Otherwise gradients change places in the buckets that are summed, after the first step
            # of each attempt, and a resumed training would round otherwise than another.
            self._embed = DistributedDataParallel(
                self.backbone, process_group=team.group, find_unused_parameters=True
            )
        if team.group is not None:
            # Otherwise what a network draws would be the same for each part of a batch.
            torch.manual_seed(mixed_seed(spec.seed, team.rank))
        self.classifier = classifier.to(self.device).train()
        self.touches = CenterTouches(len(self.classifier.centers), self.device)
        self.classifier.backend = self.touches.around(self.classifier.backend)
        self.last_angles = ClassAngles(num_classes, self.device)
        rates: dict[str, Any] = {
            "lr": training.learning_rate,
            "momentum": training.momentum,
            "weight_decay": training.weight_decay,
        }
        self.backbone_optimizer = torch.optim.SGD(
            [*self.backbone.parameters(), *self.classifier.head.parameters()],
            fused=training.fused_sgd or None,
            **rates,
        )
        self.centers_optimizer = build_centers_optimizer(
            training.center_optimizer, self.classifier, seed=spec.seed, **rates
        )
        self.drift: DriftProbe | None = None
        if training.drift is not None:
            self._drift_images, label_P = batches.sample(training.drift.samples)
            self.drift = DriftProbe(training.drift, label_P, training.epochs * len(batches))
        self.epoch = 0
        self.step = 0
        self.seconds = 0.0
        self.figures: EpochFigures | None = None
        self.last_loss = self.epoch_loss = math.nan
        self.backend_name = classifier.backend_name

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch has ended."""
        return self.epoch >= self.spec.training.epochs

    @property
    def progress(self) -> float:
        """Epochs so far, with the steps of an unfinished one as a fraction."""
        return self.step / len(self.batches)

    @property
    def is_in_last_epoch(self) -> bool:
        """Whether a step of the last epoch was taken; `last_angles` counts from there on."""
        return self.step > (self.spec.training.epochs - 1) * len(self.batches)

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Both optimisers."""
        return self.backbone_optimizer, self.centers_optimizer

    def set_learning_rate(self) -> float:
        """Set and return the learning rate of the current step."""
        training = self.spec.training
        steps, schedule = len(self.batches), training.schedule
        rate = training.learning_rate * learning_rate_factor(
            schedule, self.step, steps_per_epoch=steps, epochs=training.epochs
        )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        return rate

    def train_step(self, images: Tensor, label_N: Tensor) -> tuple[LossOutput, Tensor]:
        """One optimiser step; returns the loss and the embeddings, of this process's rows."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        mixed = self.spec.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            embedding_ND = self._embed(images)
        # The logits stay in fp32: at scale 64 a bf16 logit is off by up to 0.25.
        output = self.classifier(embedding_ND.float(), label_N)
        output.loss.backward()
        if self.spec.training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.backbone.parameters(), self.spec.training.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return output, embedding_ND.detach()

    @torch.no_grad()
    def _embed_drift_images(self) -> Tensor:
        """By the present network as it is judged, so without the noise of a batch's statistics."""
        mixed = self.spec.training.precision == "bf16"
        self.backbone.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            parts = [self.backbone(part) for part in self._drift_images.split(DRIFT_BATCH)]
        self.backbone.train()
        return torch.cat(parts).float()

    def train_epoch(
        self,
        metrics: MetricsFile,
        progress: Callable[[StepEvent], None] | None = None,
        pause: Pause | None = None,
    ) -> EpochEvent:
        """One pass over the data, or the rest of one; writes its lines and returns the epoch's.

        Args:
            metrics: where the lines go.
            progress: called with the line of each logged step.
            pause: between two steps; what it saves has a finite loss.
        """
        steps = len(self.batches)
        log = self.figures = self.figures or EpochFigures(self.device)
        every = max(1, steps // LOGS_PER_EPOCH)
        first = self.step - self.epoch * steps
        for k, (images, label_N) in enumerate(self.batches.epoch(self.epoch, first), first + 1):
            rate = self.set_learning_rate()
            output, embedding_ND = self.train_step(images, label_N)
            self.step += 1
            if self.drift is not None:
                self.drift.after(self.step, self._embed_drift_images, self.classifier.read_centers)
            output = self._of_all_rows(output)
            log.add(output)
            if self.is_in_last_epoch:
                self.last_angles.add(output.target_cosine_N, self._gather(label_N))
            is_logged = k % every == 0 or k == steps
            pauses = pause is not None and pause.due()
            # Reading a value synchronises with a GPU; on a CPU it is free.
            if is_logged or pauses or self.device.type == "cpu":
                loss = output.loss.item()
                if not math.isfinite(loss):
                    raise TrainingFailedError(*self.diagnose(output, embedding_ND, rate))
                self.last_loss = loss
            if is_logged:
                embedding_ND, label_N = self._gather(embedding_ND), self._gather(label_N)
                negative_angle = self.classifier.negative_angles(embedding_ND, label_N)
                event = StepEvent(
                    step=self.step,
                    epoch=self.progress,
                    loss=self.last_loss,
                    learning_rate=rate,
                    **log.of_step(output, negative_angle),
                    **head_state(self.classifier.head),
                )
                metrics.write(event)
                if progress is not None:
                    progress(event)
            if pause is not None and pauses and k < steps:
                pause.pause()
        self.figures = None
        self.epoch += 1
        figures = log.of_epoch()
        self.seconds += figures["seconds"]
        self.epoch_loss = figures["loss"]
        self.backend_name = self.classifier.backend_name  # for "auto" the one chosen
        summary = EpochEvent(epoch=self.epoch, **figures, centers=center_angles(self.classifier))
        metrics.write(summary)
        return summary

    def all_touches(self) -> CenterTouches:
        """The counts of all classes, of all processes together."""
        shard = self.classifier.shard
        each = -(-shard.num_classes // shard.size)
        starts = [min(k * each, shard.num_classes) for k in range(shard.size + 1)]
        sizes = [stop - start for start, stop in pairwise(starts)]
        found = CenterTouches(shard.num_classes, self.device)
        own = self.touches.state_dict()
        found.load_state_dict({k: self.team.gather(v, sizes) for k, v in own.items()})
        return found

    def _gather(self, x_N: Tensor) -> Tensor:
        return self.team.gather(x_N, self.batches.sizes)

    def _of_all_rows(self, output: LossOutput) -> LossOutput:
        """With the losses and cosines of the rows of all processes."""
        if self.team.size == 1:
            return output
        own_N2 = torch.stack([output.row_loss_N.detach(), output.target_cosine_N], dim=1)
        row_loss_N, cosine_N = self._gather(own_N2).unbind(1)
        return replace(output, row_loss_N=row_loss_N, target_cosine_N=cosine_N)

    def diagnose(
        self, output: LossOutput, embedding_ND: Tensor, rate: float
    ) -> tuple[str, dict[str, Any]]:
        """What is not finite, and what usually helps, as a message and a record."""

        def broken(tensors: Iterator[tuple[str, Tensor]]) -> list[str]:
            return [name for name, tensor in tensors if not tensor.isfinite().all()]

        norm_N = self._gather(embedding_ND.norm(dim=1))
        not_finite = self.classifier.shard.sum((~self.classifier.centers.isfinite()).any(1).sum())
        diagnosis = {
            "step": self.step,
            "epoch": self.progress,
            "loss": str(output.loss.item()),
            "last_finite_loss": None if math.isnan(self.last_loss) else self.last_loss,
            "learning_rate": rate,
            "scale": str(output.scale.item()),
            "rows_not_finite": int((~output.row_loss_N.isfinite()).sum()),
            "embeddings_not_finite": int((~norm_N.isfinite()).sum()),
            "largest_embedding_norm": str(norm_N.nan_to_num(0.0).max().item()),
            "backbone_not_finite": broken(self.backbone.named_parameters())[:5],
            "centers_not_finite": int(not_finite),
        }
        message = (
            f"the loss is {output.loss.item()} at step {self.step} (epoch "
            f"{diagnosis['epoch']:.2f}) with {self.spec.head.label} and "
            f"{self.spec.sampler.label}; learning rate {rate:.4g}, scale "
            f"{output.scale.item():.4g}, {diagnosis['embeddings_not_finite']} of {len(norm_N)} "
            "embeddings not finite. A lower training.learning_rate, a longer schedule.warmup, or a "
            "smaller margin or scale of the head usually helps"
        )
        return message, diagnosis
