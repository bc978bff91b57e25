"""DistributedDataParallel around the classifier is refused on every rank; the way out works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.optimizer import CentersSGD
from tests.loops.trainers import RATES, batches, make_classifier


class Both(nn.Module):
    """Backbone and classifier in one module, as many trainers have it."""

    def __init__(self, classifier):
        super().__init__()
        self.backbone, self.classifier = nn.Linear(6, 6).double(), classifier

    def forward(self, x, labels):
        return self.classifier(self.backbone(x), labels).loss


def rank(store, number, size):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=size)
    x, labels = batches(1)[0]
    for backend in ("dense", "streamed"):
        classifier = make_classifier("cosface", backend=backend)
        with pytest.raises(UserError, match=r"wrap the backbone alone.*group=torch.distributed"):
            DistributedDataParallel(Both(classifier))(x, labels)
        CentersSGD(classifier, **RATES)
        with pytest.raises(UserError, match=r"wrap the backbone alone.*group=torch.distributed"):
            DistributedDataParallel(classifier)(x, labels)
    classifier = make_classifier("cosface", "sparse")
    CentersSGD(classifier, **RATES)
    classifier(x, labels).loss.backward()
    with pytest.raises(UserError, match=r"collective operation.*group=torch.distributed"):
        dist.all_reduce(classifier.centers.grad)
    # A frozen classifier is nobody's parameter; the backbone is what is reduced.
    both = Both(make_classifier("cosface"))
    both.classifier.centers.requires_grad_(False)
    DistributedDataParallel(both)(x, labels).backward()
    assert both.backbone.weight.grad.isfinite().all()
    told_when_one_rank_is_refused(number)
    dist.destroy_process_group()


def told_when_one_rank_is_refused(number):
    """At the first forward and later: nobody is left waiting, and the next batch works."""
    x, good = batches(1)[0]
    bad = good if number == 0 else torch.full_like(good, 99)
    told = r"rank 1 of 2 refuses" if number == 0 else r"label 99 in row 0 of the batch"
    classifier = Classifier(20, x.shape[1], head="cosface", group=dist.group.WORLD).double()
    for _ in range(2):
        with pytest.raises(UserError, match=told):
            classifier(x, bad)
        assert classifier(x, good).loss.isfinite()
    with pytest.raises(UserError, match=r"rank 1 of 2 refuses|labels of type torch.float64"):
        classifier(x, good.double() if number else good)


@pytest.mark.slow
def test_two_ranks_are_refused(tmp_path):
    command = [sys.executable, "-m", "tests.loops.test_parallel", str(tmp_path / "store")]
    ranks = [
        subprocess.Popen(
            [*command, str(number), "2"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in ranks]
    assert not any(process.returncode for process in ranks), "\n".join(errors)


def test_copies_of_data_parallel_are_refused():
    """torch.nn.DataParallel marks its copies, which it makes on GPUs only."""
    classifier = make_classifier()
    classifier._is_replica = True
    with pytest.raises(UserError, match=r"inside DataParallel.*wrap the backbone alone"):
        classifier(*batches(1)[0])


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
