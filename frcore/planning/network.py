"""Bytes that each rank sends in a collective operation, and the operations of a step.

Bandwidth-optimal algorithms send, from each of G ranks, (G − 1)/G of what is gathered or
reduce-scattered, and twice that for an all-reduce, which is one after the other; NCCL's own "bus
bandwidth" is defined by these factors (NVIDIA/nccl-tests, doc/PERFORMANCE.md). Latencies are not
included.
"""

from __future__ import annotations

FLOAT = 4
"""Bytes of a float32."""


def all_gather(size: float, ranks: int) -> float:
    """Bytes that a rank sends so that all have the `size` bytes that they hold together."""
    return (ranks - 1) / ranks * size


def reduce_scatter(size: float, ranks: int) -> float:
    """Bytes that a rank sends so that each has its part of the sum of `size` bytes."""
    return (ranks - 1) / ranks * size


def all_reduce(size: float, ranks: int) -> float:
    """Bytes that a rank sends to sum `size` bytes over all."""
    return reduce_scatter(size, ranks) + all_gather(size, ranks)


def exchanged(
    ranks: int, rows: int, dim: int, *, queue: int = 0, statistic: bool = False, backbone: float = 0
) -> dict[str, float]:
    """Bytes that each rank sends in a step with classes divided over ranks, by operation.

    The operations are those of `frcore.sharding`, forward and backward, in fp32.

    Args:
        ranks: processes with a GPU each.
        rows: of the batches of all ranks.
        dim: of the embeddings.
        queue: rows of BroadFace's queue, which every rank holds; the centre of each is on one.
        statistic: whether a second maximum and sum of the batch set a head's scale (AdaCos).
        backbone: parameters whose gradient DistributedDataParallel averages.
    """
    if ranks == 1:
        return {}
    # Maximum, sum and target cosine; backward, slopes of the last two.
    numbers = 5 * (rows + queue) + 2 * statistic * rows
    # What the queue's rows have drifted by, and the centres of the rows that enter it.
    centers = queue + rows if queue else 0
    found = {
        "all-gather embeddings, labels": all_gather(rows * (FLOAT * dim + 8), ranks),
        "all-reduce 5 numbers per row": all_reduce(FLOAT * numbers, ranks),
        "reduce-scatter embeddings' gradient": reduce_scatter(rows * FLOAT * dim, ranks),
        "all-reduce centres of the queue": all_reduce(centers * FLOAT * dim, ranks),
        "all-reduce backbone's gradient": all_reduce(backbone * FLOAT, ranks),
    }
    return {name: size for name, size in found.items() if size}
