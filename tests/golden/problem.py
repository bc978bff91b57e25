"""The tiny training that the golden trajectories follow, and its replay.

30 inputs of 8 numbers, each a prototype of its class plus noise; an encoder that is a matrix
(6, 8); 12 class centres; 50 steps of batches of 6 in a fixed order. All numbers come from the bits
of numpy's PCG64, whose stream is fixed for good, and none from a library's distributions. What a
sampler or a head draws for itself is torch's CPU generator: a file notes the columns that it gave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frcore.classifier import Classifier
from frcore.loss import BACKENDS
from frcore.optimizer import CentersSGD
from tests.contract_cases import make_classifier

CLASSES, INPUTS, FEATURES, DIM, BATCH = 12, 30, 8, 6, 6
STEPS, EVERY = 50, 5
ENCODER_RATE, CENTERS_RATE, HEAD_RATE = 0.3, 0.02, 0.02

ON_A_CPU = [name for name in BACKENDS if name != "triton"]
"""Backends of the replays; Triton's kernels need a GPU, or its interpreter, which is slow."""

FIGURES = ("loss", "scale", "target_cosine", "encoder_norm", "center_norm", "columns", "column_sum")


@dataclass(frozen=True)
class Row:
    """One recorded step: loss and mean target cosine before the move, norms after it.

    `columns` and `column_sum` count the active centres and add up their indices.
    """

    step: int
    loss: float
    scale: float
    target_cosine: float
    encoder_norm: float
    center_norm: float
    columns: int
    column_sum: int


def uniform(stream: np.random.PCG64, *shape: int) -> np.ndarray:
    """Numbers in [−1, 1): the upper 53 bits of the generator's words."""
    words = stream.random_raw(int(np.prod(shape))) >> np.uint64(11)
    return (words * 2.0**-52 - 1.0).reshape(shape)


@dataclass(frozen=True)
class Problem:
    """Everything that is given before the first step, float64.

    Attributes:
        input_IF: the inputs.
        label_I: their classes; some classes have several inputs, some have none.
        encoder_DF: the encoder at the start; embeddings have norms of about 10 to 30.
        center_CD: the class centres at the start.
    """

    input_IF: Tensor
    label_I: Tensor
    encoder_DF: Tensor
    center_CD: Tensor


def make_problem() -> Problem:
    """The problem, from the recipe in this module's docstring."""
    stream = np.random.PCG64(20260)
    label_I = (stream.random_raw(INPUTS) >> np.uint64(32)) % np.uint64(CLASSES)
    prototype_CF = uniform(stream, CLASSES, FEATURES)
    noise_IF = uniform(stream, INPUTS, FEATURES)
    input_IF = prototype_CF[label_I] + 0.5 * noise_IF
    encoder_DF = 10 * uniform(stream, DIM, FEATURES)
    center_CD = uniform(stream, CLASSES, DIM)
    # Opposite to the first input's embedding, and a little beside: θ + m > π in the first steps.
    center_CD[label_I[0]] *= 0.1
    center_CD[label_I[0]] -= 0.1 * (encoder_DF @ input_IF[0])
    arrays = input_IF, label_I.astype(np.int64), encoder_DF, center_CD
    return Problem(*map(torch.from_numpy, arrays))


def replay(
    head: str, sampler: str, *, backend: str = "dense", dtype: torch.dtype = torch.float64
) -> list[Row]:
    """Train the named cases of `tests.contract_cases` and record every fifth step and the first."""
    problem = make_problem()
    classifier = _classifier(head, sampler, backend, problem, dtype)
    encoder_DF = problem.encoder_DF.to(dtype).requires_grad_()
    groups = [{"params": [encoder_DF]}]
    if own := list(classifier.head.parameters()):
        groups.append({"params": own, "lr": HEAD_RATE})
    optimizer = torch.optim.SGD(groups, lr=ENCODER_RATE, momentum=0.9)
    centers = CentersSGD(classifier, lr=CENTERS_RATE)
    rows = []
    for step in range(STEPS):
        batch = torch.arange(step * BATCH, (step + 1) * BATCH) % INPUTS
        embedding_ND = problem.input_IF[batch].to(dtype) @ encoder_DF.T
        output = classifier(embedding_ND, problem.label_I[batch])
        optimizer.zero_grad()
        centers.zero_grad()
        output.loss.backward()
        optimizer.step()
        centers.step()
        if step == 0 or (step + 1) % EVERY == 0:
            rows.append(_row(step + 1, output, encoder_DF, classifier))
    return rows


def _classifier(
    head: str, sampler: str, backend: str, problem: Problem, dtype: torch.dtype
) -> Classifier:
    classifier = make_classifier(head, sampler, num_classes=CLASSES, dim=DIM, backend=backend)
    classifier.to(dtype)
    with torch.no_grad():
        classifier.centers.copy_(problem.center_CD)
    return classifier


def _row(step, output, encoder_DF, classifier) -> Row:
    active = classifier.active
    if active is None:
        active = torch.arange(CLASSES)
    return Row(
        step,
        output.loss.item(),
        output.scale.item(),
        output.target_cosine_N.mean().item(),
        encoder_DF.detach().norm().item(),
        classifier.read_centers().norm().item(),
        len(active),
        int(active.sum()),
    )
