"""One training, in one process or split over several, and what it leaves.

    python -m tests.sharding.cases CASES.json STORE RANK SIZE OUT

runs the cases as one of several ranks; rank 0 writes what `run` gives.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler
from frcore.samplers.partial_fc import PartialFC

DIM, ROWS = 8, 12
PLAIN = {"classes": 23, "head": {"name": "arcface"}, "sampler": "full", "backend": "dense"}


class SameColumns(PartialFC):
    """Partial FC whose columns do not depend on how the classes are split."""

    def attach(self, num_classes, dim, *, seed=0, shard=0, classes=None):
        super().attach(num_classes, dim, seed=seed, shard=shard)
        self.steps = 0

    def placed(self, start, classes):
        self.start, self.classes = start, classes
        return self

    def columns(self, label_M, centers):
        generator = torch.Generator().manual_seed(self.steps)
        self.steps += 1
        drawn_C = torch.rand(self.classes, generator=generator) < self.rate
        drawn_C = drawn_C[self.start : self.start + self.num_classes]
        drawn_C[label_M] = True
        return drawn_C.nonzero().flatten()


def sampler_of(case, start):
    """`columns` is Partial FC with the same columns everywhere, alone or below others."""
    named = case["sampler"]
    if "columns" not in named:
        return build_sampler(named)
    inner = SameColumns(rate=0.4, update=case.get("update", "sparse"))
    inner.placed(start, case["classes"])
    if named == "columns":
        return inner
    outer, settings = {
        "broadface over columns": ("broadface", {"size": 17}),
        "filter over columns": ("interclass_filter", {"threshold": 0.3, "mode": "drop"}),
    }[named]
    return build_sampler(outer, over=inner, **settings)


def sizes_of(step, size):
    """Rows of each rank: uneven, and at one step none on the last."""
    cuts = [0, *(ROWS * (n + 1) // size for n in range(size))]
    sizes = [b - a for a, b in pairwise(cuts)]
    if size > 1:
        moved = sizes[-1] if step == 2 else step % 2
        sizes[0], sizes[-1] = sizes[0] + moved, sizes[-1] - moved
    return sizes


def build(case, group=None):
    rank, size = (dist.get_rank(group), dist.get_world_size(group)) if group else (0, 1)
    dtype = getattr(torch, case.get("dtype", "float64"))
    classes = case["classes"]
    head = dict(case["head"])
    head = build_head(head.pop("name"), num_classes=classes, **head)
    start = min(rank * -(-classes // size), classes)
    sampler = sampler_of(case, start)
    settings = {"backend": case["backend"], "center_std": 0.3, "seed": 3, "group": group}
    format_ = case.get("format", "fp32")
    classifier = Classifier(
        classes, DIM, head=head, sampler=sampler, center_format=format_, **settings
    )
    return (classifier.to(dtype) if format_ == "fp32" else classifier), rank, size, dtype


def run(case, group=None):
    """A training of `case["steps"]` steps: losses, gradients of the first, and the state after."""
    classifier, rank, size, dtype = build(case, group)
    torch.manual_seed(5)
    backbone = nn.Linear(DIM, DIM, bias=False).to(dtype)
    momentum = case.get("momentum", 0.9)
    sgd = CentersSGD(
        classifier, lr=0.05, momentum=momentum, weight_decay=1e-3, fused=case.get("fused", True)
    )
    # Small steps: a scale that follows the training makes a long one chaotic.
    others = torch.optim.SGD([*backbone.parameters(), *classifier.head.parameters()], lr=0.01)
    generator = torch.Generator().manual_seed(1)
    losses, rows = [], []
    for step in range(case["steps"]):
        x_ND = torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64).to(dtype)
        label_N = torch.randint(case["classes"], (ROWS,), generator=generator)
        sizes = sizes_of(step, size)
        own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        for optimizer in (sgd, others):
            optimizer.zero_grad()
        embedding_ND = backbone(x_ND[own])
        embedding_ND.retain_grad()
        output = classifier(embedding_ND, label_N[own])
        output.loss.backward()
        losses.append(output.loss.detach())
        rows.append((embedding_ND.grad / size, output.row_loss_N.detach(), output.target_cosine_N))
        if group is not None:  # as DistributedDataParallel does
            dist.all_reduce(backbone.weight.grad, group=group)
            backbone.weight.grad /= size
        for optimizer in (sgd, others):
            optimizer.step()
    ranks = [rows]
    if group is not None:  # by another collective than the project's
        ranks = [None] * size
        dist.all_gather_object(ranks, rows, group=group)
    slopes, row_losses, cosines = (
        torch.cat([rank[step][n] for step in range(case["steps"]) for rank in ranks])
        for n in range(3)
    )
    return {
        "loss": torch.stack(losses),
        "slope": slopes,
        "row_loss": row_losses,
        "cosine": cosines,
        "backbone": backbone.weight.detach(),
        "centers": classifier.read_centers().clone(),
        **{f"head.{name}": value.detach() for name, value in classifier.head.named_parameters()},
        **{f"head.{name}": value for name, value in classifier.head.named_buffers()},
    }


def in_processes(cases, size, folder: Path, module="tests.sharding.cases"):
    """What `run` gives for each case in `size` processes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    arguments = [str(folder / "cases.json"), str(folder / "store")]
    command = [sys.executable, "-m", module, *arguments]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(size), str(folder / "results.pt")],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for rank in range(size)
    ]
    errors = [process.communicate(timeout=600)[1] for process in ranks]
    assert not any(process.returncode for process in ranks), "\n".join(errors)
    return torch.load(folder / "results.pt", weights_only=True)


def group_of(case, rank, size):
    """All ranks, or those of `case["ranks"]`; the others then train among themselves."""
    ranks = case.get("ranks", list(range(size)))
    rest = [n for n in range(size) if n not in ranks]
    groups = [dist.new_group(members) for members in (ranks, rest) if members]
    return groups[0 if rank in ranks else 1]


def main(cases, store, rank, size, out):
    rank, size = int(rank), int(size)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    results = [
        run(case, group_of(case, rank, size)) for case in json.loads(Path(cases).read_text())
    ]
    if rank == 0:
        torch.save(results, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
