"""The last layer of a trainer: class centres + head + sampler + loss backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from frcore.centers.autocast import without_autocast
from frcore.centers.deferred_updates import DeferredUpdates
from frcore.centers.gradient_parts import GradientForm
from frcore.centers.halves import Halves
from frcore.centers.storage import (
    CenterFormat,
    Draw,
    PlainRows,
    Rows,
    SplitRows,
    initial_centers,
)
from frcore.errors import UserError, check_classes
from frcore.heads import HEADS
from frcore.heads.base import Head
from frcore.loss import LossOutput, get_backend
from frcore.loss.inputs import Precision
from frcore.loss.refusals import (
    check_active,
    check_backend_for_split,
    check_begun,
    check_embeddings,
    check_head,
    check_labels,
    refuse_checkpointing,
    refuse_data_parallel,
)
from frcore.samplers import SAMPLERS
from frcore.samplers.base import Sampler
from frcore.sharding.shard import Shard, Whole

SAMPLE_ROWS, SAMPLE_COLUMNS = 64, 4096
"""How much of the matrix `negative_angles` samples: enough for a histogram, at no real cost."""


class Classifier(nn.Module):
    """Class centres, and the loss of embeddings against them.

    With a process group the centres are split over its ranks. Each rank gives the embeddings and
    labels of its own rows, as many as it has, and gets the loss of all ranks' rows; the centres'
    gradient stays on their rank. Wrap the backbone alone in DistributedDataParallel: embeddings get
    the slopes whose mean over the ranks, which that takes, is the gradient of the loss.

    Args:
        num_classes: C, at least 2; of all ranks together.
        dim: D of the embeddings.
        head: a `Head`, a name with its default parameters, or a mapping with `name` and parameters.
        sampler: a `Sampler`, a name, or a mapping with `name` and parameters.
        backend: how the loss is computed; see `frcore.loss.BACKENDS`, or "auto".
        precision: of the operands of the loss's products; None is the backend's own: bf16 for
            triton on a GPU, fp32 for the others.
        seed: of the centres' initial values and of the sampler's random stream.
        center_std: standard deviation of the centres' initial values; 0.01 as in insightface. A
            head that normalises sees their direction only, but a small norm makes the first steps
            large.
        center_format: how the centres are stored. "fp32", or "split": bfloat16 high halves, which
            the loss reads, and int16 low halves, which make them float32 again where they are
            moved. "split" needs a backend that defers their gradient, and `CentersSGD`.
        group: of the processes that share the classes; None = this one has them all. Every rank
            builds the classifier with the same arguments and calls it at every step.
        device: where all of it is made; centres take no memory elsewhere. None is torch's default.
        draw: of the centres: "host", the same numbers on every device, or "device", faster and
            other ones on a GPU.

    Attributes:
        centers: parameter (C, D), of the rank's classes `shard.start` to `shard.stop` with a group;
            under "split" the high halves, and `read_centers` gives the centres. Under
            `update="lazy"` rows may be behind: call `synchronize()` before reading them;
            `state_dict` does.
        center_low_CD: under "split" the low halves, else None.
        shard: which classes are here, and how ranks are added up.
        deferred_updates: set by a centres' optimiser that leaves rows behind; brings them up to
            date.
        gradient_form: what `centers.grad` becomes; set by a centres' optimiser.
        active: columns of the latest forward in training mode, by their rows in `centers`; None =
            all. Which rows a step moves belongs to the gradient (`frcore.centers.gradient`).
        operands: of the latest forward's products, as in `LossOutput`; None before the first.

    >>> classifier = Classifier(10, 4, head="cosface")
    >>> classifier(torch.randn(3, 4), torch.tensor([0, 1, 9])).loss.backward()
    >>> classifier.centers.grad.shape
    torch.Size([10, 4])
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        head: Head | str | Mapping[str, Any],
        sampler: Sampler | str | Mapping[str, Any] = "full",
        backend: str = "dense",
        precision: Precision | None = None,
        seed: int = 0,
        center_std: float = 0.01,
        center_format: CenterFormat = "fp32",
        group: ProcessGroup | None = None,
        device: torch.device | str | None = None,
        draw: Draw = "host",
    ) -> None:
        super().__init__()
        check_classes(num_classes)
        if dim < 1:
            raise UserError(f"embeddings of dimension {dim}; give at least 1, usually 512")
        self.shard = Whole(num_classes) if group is None else Shard(group, num_classes)
        center_CD, low_CD = initial_centers(
            num_classes,
            dim,
            seed=seed,
            std=center_std,
            center_format=center_format,
            rows=slice(self.shard.start, self.shard.stop),
            device=device,
            draw=draw,
        )
        self.center_format = center_format
        self.centers = nn.Parameter(center_CD)
        self.register_buffer("center_low_CD", low_CD)
        self.center_low_CD: Tensor | None
        self._halves = Halves()
        self.head = HEADS.take(head, num_classes=num_classes)
        check_head(self.head, num_classes)
        self.head.attach(seed=seed)
        self.sampler = SAMPLERS.take(sampler)
        check_begun(self.sampler, "super().__init__()")
        self.sampler.attach(len(self.centers), dim, seed=seed, shard=self.shard.rank)
        if center_format == "split":
            check_backend_for_split(backend)
        self.backend = self._named = get_backend(backend)
        self._backend_name = backend
        self.precision = precision
        self.deferred_updates: DeferredUpdates | None = None
        self.gradient_form: GradientForm = "tensor"
        self.register_state_dict_pre_hook(_before_saving)
        self.register_load_state_dict_post_hook(_after_loading)
        self.active: Tensor | None = None
        self.operands: str | None = None
        self._built_alike = group is None
        self._seed = seed
        if device is not None:
            self.to(device)

    @property
    def backend_name(self) -> str:
        """The backend's name; of "auto" what it picked, once it has."""
        return getattr(self._named, "picked", None) or self._backend_name

    @property
    def table(self) -> Rows:
        """The centres as float32 rows to read and to write, whatever their format.

        Under "lazy" rows may be behind; `read_centers` brings them up to date.
        """
        if self.center_low_CD is None:
            return PlainRows(self.centers)
        return SplitRows(self.centers, self.center_low_CD)

    @property
    def num_classes(self) -> int:
        """C, of all ranks together."""
        return self.shard.num_classes

    def forward(self, embedding_ND: Tensor, label_N: Tensor) -> LossOutput:
        """The loss; in training mode the states of head and sampler advance by one step.

        Raises:
            UserError: embeddings or labels of a wrong type or shape, or labels that, on a CPU, are
                out of range; split centres without an optimiser that can move them; a whole
                classifier under DistributedDataParallel; ranks that were not built alike; a
                training forward that is repeated by activation checkpointing; with a group, on all
                ranks if any of these is so on one.
        """
        try:
            dtype = self._check(embedding_ND, label_N)
        except Exception:
            self.shard.announce(-1, self.centers.device)
            raise
        self.shard.announce(len(embedding_ND), self.centers.device)
        with without_autocast():
            return self._forward(embedding_ND.to(dtype), label_N.long())

    def _check(self, embedding_ND: Tensor, label_N: Tensor) -> torch.dtype:
        """Refuse what cannot be computed; gives what the loss is computed in."""
        check_embeddings(embedding_ND, self.centers.shape[1], at_least=1 if self.is_whole else 0)
        check_labels(label_N, len(embedding_ND), self.num_classes)
        refuse_data_parallel(self, self.centers)
        if self.training:
            refuse_checkpointing()
        return self._check_format()

    @property
    def is_whole(self) -> bool:
        """Whether all classes are in this process."""
        return not isinstance(self.shard, Shard)

    def _check_format(self) -> torch.dtype:
        """What the loss is computed in."""
        if self.center_low_CD is None:
            if self.centers.dtype not in (torch.float32, torch.float64):
                raise UserError(
                    f"class centres converted to {self.centers.dtype}, in which cosines are too "
                    "coarse; allowed are torch.float32 and torch.float64: convert the backbone "
                    "alone, or build the classifier with center_format='split'"
                )
            return self.centers.dtype
        SplitRows(self.centers, self.center_low_CD)  # refuses what was converted
        if self.training and self.gradient_form == "tensor" and torch.is_grad_enabled():
            raise UserError(
                "a training step of class centres in format 'split', but they have no optimiser; "
                "only frcore.optimizer.CentersSGD moves both of their halves: build it before the "
                "first step, or use center_format='fp32'"
            )
        return torch.float32

    def _forward(self, embedding_ND: Tensor, label_N: Tensor) -> LossOutput:
        shard = self.shard
        if isinstance(shard, Shard):
            self._check_built_alike(shard, embedding_ND.device)
            shard.sum_gradients(self.head)
        embedding_ND, label_N = shard.gather(embedding_ND, label_N)
        active = extra_rows = None
        if self.training:
            extra_rows = self.sampler.rows(self.read_centers)
            label_M = label_N
            if extra_rows is not None:
                label_M = torch.cat([label_N, extra_rows.label_Q])
            own_M = shard.here(label_M)
            active = self.sampler.columns(own_M, self._read_here)
            if active is not None:
                check_active(active, own_M)
            self.active = active
        self.synchronize(active)
        output = self.backend(
            embedding_ND,
            self.centers,
            label_N,
            self.head,
            active=active,
            extra_rows=extra_rows,
            entry_filter=self.sampler.entry_filter if self.training else None,
            gradient_form=self.gradient_form if self.training else "tensor",
            precision=self.precision,
            shard=shard,
        )
        self.operands = output.operands
        target_cosine_N = output.target_cosine_N
        if not self.head.normalizes_centers:
            # For such a head the "cosine" includes the centre's norm, and is not an angle.
            target_cosine_N = self._target_cosines(embedding_ND.detach(), label_N)
        if self.training:
            # Centres of the batch's classes are up to date, and from here to the backward pass
            # nothing may write to them.
            self.sampler.observe(embedding_ND.detach(), label_N, self._read)
        return replace(
            output,
            row_loss_N=shard.own_rows(output.row_loss_N),
            target_cosine_N=shard.own_rows(target_cosine_N),
        )

    def _target_cosines(self, embedding_ND: Tensor, label_N: Tensor) -> Tensor:
        local_N = self.shard.local(label_N)
        cosine_N = F.cosine_similarity(embedding_ND, self._read_table(local_N))
        return self.shard.sum(cosine_N.where(local_N >= 0, 0.0))

    @torch.no_grad()
    def synchronize(self, index: Tensor | None = None) -> None:
        """Bring centres up to date, if their optimiser left any behind.

        Args:
            index: rows of `centers`; None = all.

        Raises:
            UserError: one half of split centres was moved without the other.
        """
        self.check_halves()
        if self.deferred_updates is not None:
            self.deferred_updates.catch_up(index)

    def check_halves(self) -> None:
        """Refuse split centres whose high halves somebody has moved without the low ones.

        Raises:
            UserError: as it says.
        """
        if self.center_low_CD is not None:
            self._halves.check(self.centers, self.center_low_CD)

    def count_write(self) -> None:
        """Have torch count a write to the centres, which a table leaves uncounted."""
        for half_CD in (self.centers, self.center_low_CD):
            if half_CD is not None:
                torch.autograd.graph.increment_version(half_CD)

    def read_centers(self, index: Tensor | None = None) -> Tensor:
        """The centres (K, D) of some classes, or all; detached and up to date.

        With a process group every rank calls it, with the same classes.

        Args:
            index: of classes, of all ranks' ones; None = all.
        """
        self.synchronize(None if index is None else self.shard.here(index))
        return self._read(index)

    @torch.no_grad()
    def _read(self, index: Tensor | None = None) -> Tensor:
        """Centres of any rank, which must be up to date."""
        if self.is_whole:
            return self.table.read(slice(None) if index is None else index)
        if index is None:
            index = torch.arange(self.num_classes, device=self.centers.device)
        return self.shard.sum(self._read_table(self.shard.local(index)))

    def _read_here(self, index: Tensor | None = None) -> Tensor:
        """Up-to-date centres of this shard, by their rows in the table."""
        self.synchronize(index)
        with torch.no_grad():
            return self.table.read(slice(None) if index is None else index)

    @torch.no_grad()
    def _read_table(self, local_K: Tensor) -> Tensor:
        """Rows of the table; 0 for −1."""
        if not len(self.centers):
            return self.table.read(slice(0, 0)).new_zeros(len(local_K), self.centers.shape[1])
        return self.table.read(local_K.clamp_min(0)).where(local_K[:, None] >= 0, 0.0)

    @torch.no_grad()
    def load_centers(self, pieces: Iterable[Tensor]) -> None:
        """Take over centres that come in pieces (K, D), in the order of the classes.

        A rank keeps those of its classes, so that any number of pieces fits any number of ranks.
        A momentum that an optimiser holds stays as it is.

        Raises:
            UserError: the pieces have another dimension, or not `num_classes` rows in all.
        """
        start, kept, mine = 0, self.shard, []
        for piece_KD in pieces:
            if piece_KD.dim() != 2 or piece_KD.shape[1] != self.centers.shape[1]:
                raise UserError(
                    f"class centres of shape {tuple(piece_KD.shape)} for a classifier of dimension "
                    f"{self.centers.shape[1]}; needed are rows of that dimension"
                )
            first, last = max(start, kept.start), min(start + len(piece_KD), kept.stop)
            mine.append(piece_KD[first - start : max(first, last) - start].clone())
            start += len(piece_KD)
        if start != self.num_classes:
            raise UserError(
                f"{start} class centres for a classifier of {self.num_classes} classes; they must "
                "agree, since every centre belongs to a label"
            )
        self.synchronize()  # a row that is behind would be moved once more
        whole_CD = torch.cat(mine).to(self.table.read(slice(0, 0)))
        self.table.write(slice(0, len(self.centers)), whole_CD)
        self.count_write()

    def _check_built_alike(self, shard: Shard, device: torch.device) -> None:
        """Refuse ranks whose classifiers differ; once."""
        if self._built_alike:
            return
        shard.check_equal(
            {
                "num_classes": shard.num_classes,
                "dim": self.centers.shape[1],
                "seed": self._seed,
                "center_format": crc32(self.center_format.encode()),
                "head": crc32(repr(self.head).encode()),
                "sampler": crc32(repr(self.sampler).encode()),
                "training mode": int(self.training),
            },
            device,
        )
        self._built_alike = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Classifier:
        """Convert or move; refused where an optimiser holds tables of the old type or place."""
        old = self.centers.data[:0]
        new = fn(old)
        if self.gradient_form != "tensor" and (new.dtype, new.device) != (old.dtype, old.device):
            raise UserError(
                f"class centres converted from {old.dtype} on {old.device} to {new.dtype} on "
                f"{new.device} after CentersSGD was built for them; convert and move the "
                "classifier first, then build the optimiser"
            )
        super()._apply(fn, recurse)
        return self

    @torch.no_grad()
    def negative_angles(self, embedding_ND: Tensor, label_N: Tensor) -> Tensor:
        """Angles θ_ik, k ≠ y, in radians, of a sample of the matrix; any number of values.

        The first rows against centres at equal distances in the table: the same sample at every
        call, whatever the backend or the sampler, and nothing is drawn.
        """
        step = -(-self.num_classes // SAMPLE_COLUMNS)
        row_ND, label_R = embedding_ND[:SAMPLE_ROWS], label_N[:SAMPLE_ROWS]
        class_K = torch.arange(0, self.num_classes, step, device=label_R.device)
        center_KD = F.normalize(self.read_centers(class_K))
        cosine_RK = F.normalize(row_ND.to(center_KD.dtype)) @ center_KD.T
        return cosine_RK[class_K != label_R[:, None]].clamp(-1, 1).arccos()


def _before_saving(classifier: Classifier, prefix: str, keep_vars: bool) -> None:
    classifier.synchronize()


def _after_loading(classifier: Classifier, incompatible_keys: Any) -> None:
    if classifier.deferred_updates is not None:
        classifier.deferred_updates.forget()  # what was loaded is up to date
