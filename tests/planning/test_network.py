"""Bytes sent, against a ring of ranks that is played step by step."""

from __future__ import annotations

import numpy as np
import pytest

from frcore.planning.network import all_gather, all_reduce, exchanged, reduce_scatter


class Ring:
    """Ranks with one vector each, in as many chunks as there are ranks; one sends to the next."""

    def __init__(self, ranks: int) -> None:
        self.ranks, self.sent = ranks, 0
        self.chunks = np.random.default_rng(0).normal(size=(ranks, ranks, 6))
        self.total = self.chunks.sum(0)

    def turn(self, first: int, *, add: bool) -> None:
        """G − 1 rounds: in each, rank r passes on chunk r + first, r + first − 1, …"""
        for turn in range(self.ranks - 1):
            for rank in range(self.ranks):
                place, following = (rank + first - turn) % self.ranks, (rank + 1) % self.ranks
                chunk = self.chunks[rank, place]
                self.chunks[following, place] = chunk + add * self.chunks[following, place]
                self.sent += chunk.nbytes if rank == 0 else 0


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(ranks):
    ring = Ring(ranks)
    size = ring.chunks[0].nbytes
    ring.turn(0, add=True)
    own = [ring.chunks[rank, (rank + 1) % ranks] for rank in range(ranks)]
    np.testing.assert_allclose(own, np.roll(ring.total, -1, axis=0))
    assert ring.sent == pytest.approx(reduce_scatter(size, ranks))
    ring.turn(1, add=False)
    np.testing.assert_allclose(ring.chunks, np.broadcast_to(ring.total, ring.chunks.shape))
    assert ring.sent == pytest.approx(all_reduce(size, ranks))
    assert ring.sent == pytest.approx(2 * all_gather(size, ranks))


def test_a_step_on_eight_ranks_by_hand():
    """8 × 128 rows of 512 fp32 numbers: 2 MiB and 8 KiB of labels, of which 7/8 are sent."""
    found = exchanged(8, 1024, 512, backbone=43_590_000)
    assert found == pytest.approx({
        "all-gather embeddings, labels": 7 / 8 * (2 * 2**20 + 8192),
        "all-reduce maximum, sum, target": 7 / 4 * 3 * 4096,
        "reduce-scatter their gradient": 7 / 8 * 2 * 2**20,
        "all-reduce the backbone's gradient": 7 / 4 * 174.36e6,
    })  # fmt: skip


def test_queue_and_statistic_send_more():
    plain = exchanged(2, 10, 4)
    queue = exchanged(2, 10, 4, queue=5)
    statistic = exchanged(2, 10, 4, statistic=True)
    assert queue["all-reduce maximum, sum, target"] == 15 * 3 * 4
    assert queue["all-reduce centres of the queue"] == 5 * 4 * 4
    assert statistic["all-reduce maximum, sum, target"] == 10 * 5 * 4
    assert plain["all-reduce maximum, sum, target"] == 10 * 3 * 4
    assert exchanged(1, 10, 4, queue=5, backbone=100) == {}
