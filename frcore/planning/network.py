"""Bytes that each rank sends in a collective operation, and the operations of a step.

Bandwidth-optimal algorithms send, from each of G ranks, (G − 1)/G of what is gathered or
scattered and twice that for an all-reduce; NCCL's own "bus bandwidth" is defined by these factors
(NVIDIA/nccl-tests, doc/PERFORMANCE.md). Latencies are not included.
"""

from __future__ import annotations

FLOAT = 4
"""Bytes of a float32."""


def all_gather(size: float, ranks: int) -> float:
    """Bytes that a rank sends so that all have the `size` bytes that they hold together."""
    return (ranks - 1) / ranks * size


reduce_scatter = all_gather
"""As many: the same path backwards, with sums on the way."""


def all_reduce(size: float, ranks: int) -> float:
    """Bytes that a rank sends to sum `size` bytes over all: a reduce-scatter, an all-gather."""
    return 2 * all_gather(size, ranks)


def exchanged(
    ranks: int, rows: int, dim: int, *, queue: int = 0, statistic: bool = False, backbone: float = 0
) -> dict[str, float]:
    """Bytes that each rank sends in a step with classes divided over ranks, by operation.

    The scheme is that of InsightFace's PartialFC (partial_fc_v2.py); numbers are fp32.

    Args:
        ranks: processes with a GPU each.
        rows: of the batches of all ranks.
        dim: of the embeddings.
        queue: rows of BroadFace's queue, which every rank holds; their centres are on one.
        statistic: whether a second maximum and sum are needed, to set a head's scale.
        backbone: parameters whose gradient DistributedDataParallel averages.
    """
    if ranks == 1:
        return {}
    numbers = 3 + 2 * statistic
    found = {
        "all-gather embeddings, labels": all_gather(rows * (FLOAT * dim + 8), ranks),
        "all-reduce maximum, sum, target": all_reduce((rows + queue) * numbers * FLOAT, ranks),
        "reduce-scatter their gradient": reduce_scatter(rows * FLOAT * dim, ranks),
        "all-reduce centres of the queue": all_reduce(queue * FLOAT * dim, ranks),
        "all-reduce the backbone's gradient": all_reduce(backbone * FLOAT, ranks),
    }
    return {name: size for name, size in found.items() if size}
