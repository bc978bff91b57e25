"""Trainings in 1, 2, 3 and 4 of four processes, run as

torchrun --standalone --nproc-per-node 4 -m tests.training.teams CASES DATA FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.kills_compared import without_times
from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.files import write_json
from frcore.study.expansion import RunSpec
from frcore.study.parts import Backbone
from frcore.training.checkpoint import newest, restore_from, save_checkpoint
from frcore.training.loop import Trainer
from frcore.training.metrics import MetricsFile
from frcore.training.processes import ALONE, Ranks, Team
from frcore.training.sharded_checkpoint import Rows
from tests.training.conftest import run_spec

LAZY = {"name": "partial_fc", "rate": 0.5, "update": "lazy"}
CASES: dict[str, tuple[Any, ...]] = {
    # Three ranks hold 4 of 12 classes each, four ranks 3.
    "full": ("curricularface", "full", {}),
    "queue": ("adacos", {"name": "broadface", "size": 40, "over": LAZY}, {}),
    "split": ("arcface", LAZY, {"center_format": "split", "backend": "streamed"}),
    "hard": ("arcface", {"name": "partial_fc", "rate": 0.5, "negatives": "hard"}, {}),
    "torch": ("cosface", "full", {"center_optimizer": "torch"}),
}


def spec_of(case: str, **more: Any) -> RunSpec:
    """A run without batch norm."""
    head, sampler, training = CASES[case]
    plain = {"name": "tests.training.plain_backbone:Plain", "label": "plain"}
    spec = run_spec(head, sampler, **{**training, **more})
    return spec.model_copy(update={"backbone": Backbone.model_validate(plain)})


class Stage:
    """One training of a case in some of the processes; the others have nothing to do."""

    def __init__(self, case: str, data: Path, folder: Path, team: Team) -> None:
        spec, prepared = spec_of(case), Prepared.open(data)
        torch.manual_seed(spec.seed)
        batches = Batches(prepared, 16, seed=0, rank=team.rank, ranks=team.size)
        self.trainer = Trainer(spec, batches, 12, team)
        self.path, self.team = folder / "checkpoint.pt", team
        self.lines = folder / f"lines-{team.rank}.jsonl"
        self.metrics = MetricsFile(self.lines)

    def steps(self, count: int) -> None:
        """Train up to `count` steps in all, over the ends of epochs."""
        goal, trainer = count, self.trainer

        class EnoughError(Exception):
            pass

        class Stop:
            def due(self) -> bool:
                return trainer.step >= goal

            def pause(self) -> None:
                raise EnoughError

        while trainer.step < goal:
            try:
                trainer.train_epoch(self.metrics, None, Stop())
            except EnoughError:
                return

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.path, self.trainer, self.metrics, "key")

    def load(self) -> None:
        """Read it."""
        found = newest(self.path, "key")
        assert found is not None
        restore_from(*found, self.trainer)
        self.metrics = MetricsFile(self.lines, lines=found[1]["metrics"])

    def told(self) -> list[Any]:
        """The lines so far, without times."""
        return [without_times(json.loads(line)) for line in self.lines.read_text().splitlines()]

    def state(self) -> dict[str, Tensor]:
        """All that a step depends on, as one process would have it; nothing is caught up."""
        trainer = self.trainer
        classifier = trainer.classifier
        momentum = trainer.centers_optimizer.state[classifier.centers]
        name = (
            "momentum_buffer" if trainer.spec.training.center_optimizer == "torch" else "momentum"
        )
        split = {"centers": classifier.centers.data, "momentum": momentum[name]}
        split |= {f"touches.{k}": v for k, v in trainer.touches.named_buffers()}
        if classifier.center_low_CD is not None:
            split["low"] = classifier.center_low_CD
        updates = classifier.deferred_updates
        if updates is not None:
            split["age"] = updates.step - updates.row_step_C
        found = {name: whole(tensor, self.team) for name, tensor in split.items()}
        if updates is not None:
            found["products"] = updates.products
        shared = classifier.sampler.shared_names()
        saved = classifier.sampler.state_dict()
        found |= {f"sampler.{k}": saved[k] for k in shared if isinstance(saved[k], Tensor)}
        found |= {f"head.{k}": v for k, v in classifier.head.state_dict().items()
                  if isinstance(v, Tensor)}  # fmt: skip
        found |= {f"backbone.{k}": v for k, v in trainer.backbone.state_dict().items()}
        return {k: v.detach().clone() for k, v in found.items()}


def whole(own: Tensor, team: Team) -> Tensor:
    """Of all processes, by torch's own gathering of a DTensor."""
    # Gloo sends no 16 bits; wider types hold the same values.
    wider = {torch.int16: torch.int32, torch.bfloat16: torch.float32}
    own = own.to(wider.get(own.dtype, own.dtype))
    found = Rows(team, 12).whole(own)
    return found.full_tensor() if team.size > 1 else found  # type: ignore[attr-defined]


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of what is not equal bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def teams() -> dict[int, Team | None]:
    """By size: this process's team, or None if it is not in it."""
    found: dict[int, Team | None] = {}
    for size in (4, 3, 2):
        group = dist.new_group(list(range(size)))
        found[size] = Ranks(group, group) if dist.get_rank() < size else None
    found[1] = ALONE if dist.get_rank() == 0 else None
    return found


def main(cases: list[str], data: Path, folder: Path) -> None:
    """Each of the cases in a folder of its own."""
    all_teams = teams()
    for case in cases:
        (folder / case).mkdir(exist_ok=True)
        run(case, data, folder / case, all_teams)


def run(case: str, data: Path, folder: Path, all_teams: dict[int, Team | None]) -> None:
    """Everything about one case; rank 0 writes `found.json`."""
    found: dict[str, list[str]] = {}

    def stage(size: int) -> Stage | None:
        team = all_teams[size]
        return None if team is None else Stage(case, data, folder, team)

    # In four processes: without a break, and with one in the middle of the second epoch.
    first = stage(4)
    assert first is not None
    first.steps(8)
    first.save()
    expected = first.state()
    first.steps(14)
    again = stage(4)
    assert again is not None
    again.load()
    found["saving and loading"] = differing(again.state(), expected)
    again.steps(14)
    found["going on in as many"] = differing(again.state(), first.state())
    found["lines"] = [] if again.told() == first.told() else ["differ"]
    # The same eight steps of four processes through every other number of them, and back.
    for size in (3, 1, 2, 4):
        if (next_ := stage(size)) is not None:
            next_.load()
            found[f"in {size}"] = differing(next_.state(), expected)
            next_.save()
        dist.barrier()
    # Each goes on where another number left off; one process does it all.
    losses = {}
    for size, goal in ((4, 10), (3, 12), (1, 14), (2, 16)):
        if (next_ := stage(size)) is not None:
            next_.load()
            next_.steps(goal)
            next_.save()
            losses = {e["step"]: e["loss"] for e in next_.told() if e["event"] == "step"}
        dist.barrier()
    if dist.get_rank() == 0:
        alone = Stage(case, data, folder, ALONE)
        alone.steps(16)
        one = {e["step"]: e["loss"] for e in alone.told() if e["event"] == "step"}
        result = {"bits": found, "losses": list(losses.items()), "alone": list(one.items())}
        write_json(folder / "found.json", result)
    dist.barrier()


if __name__ == "__main__":
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    main(sys.argv[1].split(","), Path(sys.argv[2]), Path(sys.argv[3]))
    dist.destroy_process_group()
