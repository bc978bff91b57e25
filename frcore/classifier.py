"""The last layer of a trainer: class centres + head + sampler + loss backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.centers.deferred_updates import DeferredUpdates
from frcore.centers.storage import CenterFormat, PlainRows, Rows, SplitRows, initial_centers
from frcore.errors import UserError, check_classes
from frcore.heads import build_head
from frcore.heads.base import Head
from frcore.loss import LossOutput, get_backend
from frcore.loss.deferred import CenterGradient
from frcore.loss.inputs import Precision
from frcore.samplers import build_sampler
from frcore.samplers.base import Sampler

SAMPLE_ROWS, SAMPLE_COLUMNS = 64, 4096
"""How much of the matrix `negative_angles` samples: enough for a histogram, at no real cost."""

SPLIT_BACKENDS = ("streamed", "triton")
"""Backends that read the high halves of split centres and leave the gradient to the optimiser;
"auto" picks among them."""


class Classifier(nn.Module):
    """Class centres, and the loss of embeddings against them.

    Args:
        num_classes: C, at least 2.
        dim: D of the embeddings.
        head: a `Head`, or a name with its default parameters.
        sampler: a `Sampler`, or the name of one that needs no parameter.
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

    Attributes:
        centers: parameter (C, D); under "split" the high halves, and `read_centers` gives the
            centres. Under `update="lazy"` rows may be behind: call `synchronize()` before reading
            them; `state_dict` does.
        center_low_CD: under "split" the low halves, else None.
        deferred_updates: set by a centres' optimiser that leaves rows behind; brings them up to
            date.
        deferred_gradients: set by a centres' optimiser that computes their gradient tile by tile
            while it moves them; `centers.grad` is then None. Not every backend defers.
        active: columns of the training step, None = all; the centres' optimiser moves these
            alone. Under gradient accumulation, the union over the batches of the step.

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
        head: Head | str,
        sampler: Sampler | str = "full",
        backend: str = "dense",
        precision: Precision | None = None,
        seed: int = 0,
        center_std: float = 0.01,
        center_format: CenterFormat = "fp32",
    ) -> None:
        super().__init__()
        check_classes(num_classes)
        if dim < 1:
            raise UserError(f"embeddings of dimension {dim}; give at least 1, usually 512")
        center_CD, low_CD = initial_centers(
            num_classes, dim, seed=seed, std=center_std, center_format=center_format
        )
        self.center_format = center_format
        self.centers = nn.Parameter(center_CD)
        self.register_buffer("center_low_CD", low_CD)
        self.center_low_CD: Tensor | None
        self.head = build_head(head, num_classes=num_classes) if isinstance(head, str) else head
        if self.head.num_classes != num_classes:
            raise UserError(
                f"a head for {self.head.num_classes} classes in a classifier of {num_classes}; "
                f"they must agree: build the head with num_classes={num_classes}"
            )
        self.head.attach(seed=seed)
        self.sampler = build_sampler(sampler) if isinstance(sampler, str) else sampler
        self.sampler.attach(num_classes, dim, seed=seed)
        if center_format == "split":
            _check_backend_for_split(backend)
        self.backend = self._named = get_backend(backend)
        self._backend_name = backend
        self.precision = precision
        self.deferred_updates: DeferredUpdates | None = None
        self.deferred_gradients: list[CenterGradient] | None = None
        self.register_state_dict_pre_hook(_before_saving)
        self.register_load_state_dict_post_hook(_after_loading)
        self.active: Tensor | None = None
        self.stepped = True
        """Set by the centres' optimiser: the next forward opens a new step."""

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
        """C."""
        return len(self.centers)

    def forward(self, embedding_ND: Tensor, label_N: Tensor) -> LossOutput:
        """The loss; in training mode the states of head and sampler advance by one step.

        Raises:
            UserError: embeddings or labels of a wrong type or shape, or labels that, on a CPU, are
                out of range; split centres without an optimiser that can move them.
        """
        check_embeddings(embedding_ND, self.centers.shape[1])
        check_labels(label_N, len(embedding_ND), self.num_classes)
        # Autocast would compute the cosines in 16 bits, where s cos θ is off by 0.25 at s = 64.
        with torch.autocast(self.centers.device.type, enabled=False):
            return self._forward(embedding_ND.to(self._check_format()), label_N.long())

    def _check_format(self) -> torch.dtype:
        """What the loss is computed in."""
        if self.center_low_CD is None:
            return self.centers.dtype
        SplitRows(self.centers, self.center_low_CD)  # refuses what was converted
        if self.training and self.deferred_gradients is None and torch.is_grad_enabled():
            raise UserError(
                "a training step of class centres in format 'split', but they have no optimiser; "
                "only frcore.optimizer.CentersSGD moves both of their halves: build it before the "
                "first step, or use center_format='fp32'"
            )
        return torch.float32

    def _forward(self, embedding_ND: Tensor, label_N: Tensor) -> LossOutput:
        active = extra_rows = None
        if self.training:
            extra_rows = self.sampler.rows(self.read_centers)
            label_M = label_N
            if extra_rows is not None:
                label_M = torch.cat([label_N, extra_rows.label_Q])
            active = self.sampler.columns(label_M, self.read_centers)
            if active is not None:
                check_active(active, label_M)
            self._note_active(active)
        self.synchronize(active)
        output = self.backend(
            embedding_ND,
            self.centers,
            label_N,
            self.head,
            active=active,
            extra_rows=extra_rows,
            entry_filter=self.sampler.entry_filter if self.training else None,
            deferred=self.deferred_gradients if self.training else None,
            precision=self.precision,
        )
        if not self.head.normalizes_centers:
            # For such a head the "cosine" includes the centre's norm, and is not an angle.
            cosine_N = F.cosine_similarity(embedding_ND.detach(), self._read(label_N))
            output = replace(output, target_cosine_N=cosine_N)
        if self.training:
            # Centres of the batch's classes are up to date, and from here to the backward pass
            # nothing may write to them.
            self.sampler.observe(embedding_ND.detach(), label_N, self._read)
        return output

    @torch.no_grad()
    def synchronize(self, index: Tensor | None = None) -> None:
        """Bring the centres of `index`, or all, up to date, if their optimiser left any behind."""
        if self.deferred_updates is not None:
            self.deferred_updates.catch_up(index)

    def read_centers(self, index: Tensor | None = None) -> Tensor:
        """The centres (K, D) of `index`, or all; detached and up to date."""
        self.synchronize(index)
        return self._read(index)

    @torch.no_grad()
    def _read(self, index: Tensor | None = None) -> Tensor:
        return self.table.read(slice(None) if index is None else index)

    def _note_active(self, active: Tensor | None) -> None:
        """Keep the columns of this step; those of earlier batches too if gradients add up."""
        adds_up = not self.stepped and (
            self.centers.grad is not None or bool(self.deferred_gradients)
        )
        if adds_up and active is not None and self.active is not None:
            active = torch.cat([self.active, active]).unique()
        elif adds_up:
            active = None
        self.active, self.stepped = active, False

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


def _check_backend_for_split(backend: str) -> None:
    """Refuse a backend that does not read high halves, or does not defer the gradient."""
    if backend not in (*SPLIT_BACKENDS, "auto"):
        raise UserError(
            f"backend '{backend}' with center_format 'split'; backends that read split centres "
            f"are {', '.join(SPLIT_BACKENDS)}: use one of them or 'auto', or center_format 'fp32'"
        )


def _before_saving(classifier: Classifier, prefix: str, keep_vars: bool) -> None:
    classifier.synchronize()


def _after_loading(classifier: Classifier, incompatible_keys: Any) -> None:
    if classifier.deferred_updates is not None:
        classifier.deferred_updates.forget()  # what was loaded is up to date


def check_embeddings(embedding_ND: Tensor, dim: int) -> None:
    """Refuse what is not a batch of floating-point embeddings of dimension `dim`."""
    shape = tuple(embedding_ND.shape)
    if len(shape) != 2 or shape[0] == 0 or shape[1] != dim or not embedding_ND.is_floating_point():
        raise UserError(
            f"embeddings of shape {shape} and type {embedding_ND.dtype}; needed is floating-point "
            f"(N, {dim}) with N ≥ 1: check the backbone's dimension, and drop empty batches"
        )


def check_active(active: Tensor, label_M: Tensor) -> None:
    """Refuse active columns that are not sorted or leave out the class of a row.

    The target's column is found by bisection: without this, a row would silently train another
    class.
    """
    column_M = torch.searchsorted(active, label_M).clamp_max(len(active) - 1)
    missing_M = active[column_M] != label_M
    if active.device.type != "cpu":
        torch._assert_async(~missing_M.any())
    elif missing_M.any():
        row = int(missing_M.nonzero()[0])
        raise UserError(
            f"the sampler's columns leave out class {int(label_M[row])} of row {row}, or are not "
            "sorted; `columns` must return sorted indices with every label it is given among them"
        )


def check_labels(label_N: Tensor, rows: int, num_classes: int) -> None:
    """Refuse labels that would read outside the centres, before any kernel does.

    On a GPU the range is checked by the device without a host sync; the data sets check it on the
    CPU before training.
    """
    if label_N.dtype not in (torch.int64, torch.int32):
        raise UserError(
            f"labels of type {label_N.dtype}; allowed are torch.int64 and torch.int32: labels are "
            "0-based class indices, convert them with .long()"
        )
    if label_N.shape != (rows,):
        raise UserError(
            f"labels of shape {tuple(label_N.shape)} for {rows} embeddings; needed is ({rows},)"
        )
    outside_N = (label_N < 0) | (label_N >= num_classes)
    if label_N.device.type != "cpu":
        torch._assert_async(~outside_N.any())
    elif outside_N.any():
        row = int(outside_N.nonzero()[0])
        raise UserError(
            f"label {int(label_N[row])} in row {row} of the batch; allowed are 0 to "
            f"{num_classes - 1}: labels are 0-based, set num_classes or relabel"
        )
