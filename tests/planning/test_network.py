"""Bytes sent: against a ring of ranks that is played, and against a real sharded classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist

from frcore.classifier import Classifier
from frcore.planning.network import all_gather, all_reduce, exchanged, reduce_scatter
from frcore.samplers import build_sampler
from frcore.sharding import collectives


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
    assert ring.sent == pytest.approx(all_gather(size, ranks))  # the same path
    assert ring.sent == pytest.approx(reduce_scatter(size, ranks))
    ring.turn(1, add=False)
    np.testing.assert_allclose(ring.chunks, np.broadcast_to(ring.total, ring.chunks.shape))
    assert ring.sent == pytest.approx(all_reduce(size, ranks))
    assert ring.sent == pytest.approx(2 * all_gather(size, ranks))


def test_a_step_on_eight_ranks_by_hand():
    """8 × 128 rows of 512 fp32 numbers: 2 MiB, and 8 KiB of labels."""
    found = exchanged(8, 1024, 512, backbone=43_590_000)
    assert found == pytest.approx({
        "all-gather embeddings, labels": 7 / 8 * (2 * 2**20 + 8192),
        "all-reduce 5 numbers per row": 7 / 4 * 5 * 4096,
        "reduce-scatter embeddings' gradient": 7 / 8 * 2 * 2**20,
        "all-reduce backbone's gradient": 7 / 4 * 174.36e6,
    })  # fmt: skip
    assert exchanged(1, 10, 4, queue=5, backbone=100) == {}


@pytest.fixture
def sent(monkeypatch):
    """Bytes given to the collectives of a group of one process."""
    given = {"all_gather": 0, "reduce_scatter": 0, "all_reduce": 0}

    def count(module, attribute, name, position):
        real = getattr(module, attribute)

        def collective(*arguments, **named):
            tensor = arguments[position]
            given[name] += tensor.numel() * tensor.element_size()
            return real(*arguments, **named)

        monkeypatch.setattr(module, attribute, collective)

    count(dist, "all_gather", "all_gather", 1)
    count(collectives, "_reduce_scatter", "reduce_scatter", 1)
    count(dist, "all_reduce", "all_reduce", 0)
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield given
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(("head", "queue"), [("cosface", 0), ("adacos", 0), ("cosface", 20)])
def test_what_a_sharded_classifier_gives_to_its_collectives(sent, head, queue):
    """Of two ranks each sends half of what is gathered or scattered and all that is reduced."""
    rows, dim = 7, 16
    sampler = build_sampler("broadface", size=queue) if queue else build_sampler("full")
    classifier = Classifier(
        40, dim, head=head, sampler=sampler, backend="streamed", group=dist.group.WORLD
    )
    embeddings = torch.randn(rows, dim, requires_grad=True)
    for _ in range(4):  # until the queue is full
        sent.update(dict.fromkeys(sent, 0))
        classifier(embeddings, torch.arange(rows)).loss.backward()
    planned = exchanged(2, rows, dim, queue=queue, statistic=head == "adacos")
    sizes = 8  # the batch's size is gathered too
    halves = sent["all_gather"] - sizes + sent["reduce_scatter"]
    assert sum(planned.values()) == pytest.approx(halves / 2 + sent["all_reduce"])
