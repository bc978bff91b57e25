"""What a classifier refuses: parts, batches and loops that would go wrong without a word."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from frcore.errors import UserError
from frcore.heads.base import Head

SPLIT_BACKENDS = ("streamed", "triton")
"""Backends that read the high halves of split centres and leave the gradient to the optimiser;
"auto" picks among them."""


def check_begun(part: nn.Module, call: str) -> None:
    """Refuse a module of a class that forgot to build its base."""
    if "_parameters" not in part.__dict__:
        raise UserError(
            f"{type(part).__name__}.__init__ does not build its base class; let it begin with "
            f"{call}"
        )


def check_head(head: Head, num_classes: int) -> None:
    """Refuse a head that was not built, or for another number of classes."""
    check_begun(head, "super().__init__(num_classes)")
    if not hasattr(head, "num_classes"):
        raise UserError(
            f"a head of class {type(head).__name__} without num_classes; let its __init__ begin "
            "with super().__init__(num_classes)"
        )
    if head.num_classes != num_classes:
        raise UserError(
            f"a head for {head.num_classes} classes in a classifier of {num_classes}; they must "
            f"agree: build the head with num_classes={num_classes}"
        )


def check_backend_for_split(backend: str) -> None:
    """Refuse a backend that does not read high halves, or does not defer the gradient."""
    if backend not in (*SPLIT_BACKENDS, "auto"):
        raise UserError(
            f"backend '{backend}' with center_format 'split'; backends that read split centres "
            f"are {', '.join(SPLIT_BACKENDS)}: use one of them or 'auto', or center_format 'fp32'"
        )


def check_embeddings(embedding_ND: Tensor, dim: int, *, at_least: int = 1) -> None:
    """Refuse what is not a batch of floating-point embeddings of dimension `dim`."""
    shape = tuple(embedding_ND.shape)
    is_batch = len(shape) == 2 and shape[0] >= at_least and shape[1] == dim
    if not is_batch or not embedding_ND.is_floating_point():
        raise UserError(
            f"embeddings of shape {shape} and type {embedding_ND.dtype}; needed is floating-point "
            f"(N, {dim}) with N ≥ {at_least}: check the backbone's dimension, and drop empty "
            "batches"
        )


def check_active(active: Tensor, label_M: Tensor) -> None:
    """Refuse active columns that are not sorted or leave out the class of a row.

    The target's column is found by bisection: without this, a row would silently train another
    class.
    """
    if len(active):
        column_M = torch.searchsorted(active, label_M).clamp_max(len(active) - 1)
        missing_M = active[column_M] != label_M
    else:
        missing_M = torch.ones_like(label_M, dtype=torch.bool)
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


def refuse_data_parallel(classifier: nn.Module, centers: nn.Parameter) -> None:
    """Refuse DistributedDataParallel around the centres.

    It averages gradients that are tensors; centres that are computed tile by tile, sampled per rank
    or split over ranks, and a head's state, would differ between ranks without a word.
    """
    if getattr(classifier, "_is_replica", False):
        raise UserError(
            "a Classifier inside DataParallel, whose copies would lose the states of head and "
            "sampler; wrap the backbone alone"
        )
    # Set while DistributedDataParallel's forward runs, and absent in a version that renames it.
    wrapper = getattr(DistributedDataParallel, "_active_ddp_module", None)
    if wrapper is None or not centers.requires_grad:
        return
    if any(parameter is centers for parameter in wrapper._module_parameters):
        raise UserError(
            "a Classifier inside DistributedDataParallel; its centres and its head's state would "
            "differ between ranks: wrap the backbone alone, and build the classifier with group="
            "torch.distributed.group.WORLD, which splits the classes over the ranks"
        )


def refuse_checkpointing() -> None:
    """Refuse a training forward within a backward pass: it would not be the one it repeats.

    The states of head and sampler have advanced, so that other columns may be drawn.
    """
    if torch._C._current_graph_task_id() != -1:
        raise UserError(
            "a Classifier in training mode inside a backward pass, as under activation "
            "checkpointing; its sampler would draw other columns the second time: checkpoint the "
            "backbone alone, and for less memory use backend='streamed', which stores no logits"
        )
