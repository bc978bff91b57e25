"""Saving a run so that it resumes exactly, and saving the trained backbone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frcore.centers.deferred_updates import DeferredUpdates
from frcore.classifier import Classifier
from frcore.components.random_stream import mixed_seed
from frcore.files import atomic_file
from frcore.machine.faults import raise_refusal
from frcore.optimizer import CentersSGD
from frcore.study.expansion import RunSpec
from frcore.training.loop import Trainer
from frcore.training.metrics import EpochFigures, MetricsFile
from frcore.training.sharded_checkpoint import Rows, SavedParts, write
from frcore.training.tensor_file import own, read_tensors, write_tensors

POSITION = ("epoch", "step", "seconds", "last_loss", "epoch_loss", "backend_name")
"""Attributes of a `Trainer` that are plain values."""

SPLIT = (
    ("classifier", "centers"),
    ("classifier", "center_low_CD"),
    ("deferred_updates", "age_C"),
    ("touches", "positive_C"),
    ("touches", "queue_C"),
    ("touches", "passive_C"),
    ("optimizers", 1, "state", 0, "momentum"),
    ("optimizers", 1, "state", 0, "momentum_buffer"),
)
"""Where in a state the tensors are that have a row for each class of a process."""

OF_PROCESS = ("deferred_updates", "sampler", "rng", "rng_cuda")
"""Parts of a state that differ between processes."""


def save_checkpoint(path: Path, trainer: Trainer, metrics: MetricsFile, key: str) -> None:
    """Write everything that `restore` needs to resume exactly, also in the middle of an epoch.

    Tensors are written without a copy. One process writes the file `path`, several write the folder
    `sharded(path)` together; either replaces the other.
    """
    if trainer.is_finished:
        trainer.classifier.synchronize()  # now at the same step whatever the clock says
    state = _state(trainer, metrics, key)
    team = trainer.team
    if team.group is None:
        with atomic_file(path) as temporary:
            write_tensors(temporary, state)
        shutil.rmtree(sharded(path), ignore_errors=True)
        return
    split = {_name(at): tensor for at in SPLIT if (tensor := _taken(state, at)) is not None}
    own = state if team.is_first else {name: state[name] for name in OF_PROCESS}
    write(sharded(path), split, own, Rows(team, trainer.classifier.num_classes), team)
    if team.is_first:
        path.unlink(missing_ok=True)


def sharded(path: Path) -> Path:
    """Where several processes write what one writes to the file `path`."""
    return path.with_suffix("")


def remove(path: Path) -> None:
    """Remove the checkpoint, by however many processes it was written."""
    path.unlink(missing_ok=True)
    shutil.rmtree(sharded(path), ignore_errors=True)


def _state(trainer: Trainer, metrics: MetricsFile, key: str) -> dict[str, Any]:
    """The state of a training, with the tensors of its models and not copies of them.

    The order and mirroring of the images are functions of seed, epoch and step, so there is nothing
    to save of them.
    """
    device = trainer.device
    with _rows_left_behind(trainer.classifier) as updates:
        return {
            "key": key,
            **{name: getattr(trainer, name) for name in POSITION},
            "metrics": metrics.lines(),
            "figures": trainer.figures.state_dict() if trainer.figures else None,
            "backbone": trainer.backbone.state_dict(),
            "classifier": _without_sampler(trainer.classifier),
            "sampler": trainer.classifier.sampler.state_dict(),
            "deferred_updates": updates.state_dict() if updates is not None else None,
            "touches": dict(trainer.touches.state_dict()),
            "last_angles": trainer.last_angles.state_dict() if trainer.is_in_last_epoch else None,
            "drift": trainer.drift.state_dict() if trainer.drift is not None else None,
            "optimizers": [_of_optimizer(optimizer) for optimizer in trainer.optimizers],
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }


def _of_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    saved = optimizer.state_dict()
    # The inner dicts are the optimiser's own, from which nothing may be taken.
    return {**saved, "state": {key: dict(value) for key, value in saved["state"].items()}}


def _without_sampler(classifier: Classifier) -> dict[str, Any]:
    saved = classifier.state_dict()
    return {name: value for name, value in saved.items() if not name.startswith(_SAMPLER)}


_SAMPLER = "sampler."


@contextlib.contextmanager
def _rows_left_behind(classifier: Classifier) -> Iterator[DeferredUpdates | None]:
    """Within the block nothing brings rows of the centres up to date; gives what they are behind.

    When a checkpoint is written depends on the clock, and catching up in two parts rounds otherwise
    than in one: doing it here, the model would depend on the clock too.
    """
    updates, classifier.deferred_updates = classifier.deferred_updates, None
    try:
        yield updates
    finally:
        classifier.deferred_updates = updates


def read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The checkpoint at `path` if it belongs to this exact run, else None.

    `key` identifies spec, data, code and versions; checkpoints with another key are ignored, and so
    are unreadable ones (the disk was full, the file was truncated). Tensors are read from the file
    when `restore` copies them, so drop the checkpoint after that.
    """
    if not path.exists():
        return None
    try:
        state = read_tensors(path) if path.is_file() else SavedParts(path).own(0)
        is_own = state["key"] == key
    except Exception as error:  # torch raises many kinds of exceptions for a damaged file
        raise_refusal(error)
        return None
    return state if is_own else None


def newest(path: Path, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The later one of what one process and what several have saved, and where; None without any.

    Of the state of several processes it is the first one's, without what is split.
    """
    found = [(at, read_checkpoint(at, key)) for at in (path, sharded(path))]
    usable = [(at, state) for at, state in found if state is not None]
    return max(usable, key=lambda one: one[1]["step"]) if usable else None


def restore_from(path: Path, state: dict[str, Any], trainer: Trainer) -> None:
    """Bring `trainer` to what was saved at `path`, by any number of processes.

    In another number of processes, what belongs to one of them has no heir: the parts of a sampler
    that are not `shared` begin anew (Partial FC's stream of draws, its nearest centres), and so
    does what a network draws. Their seeds are made of the run's seed, the step and the rank.

    Args:
        path: a file, or the folder of several processes.
        state: read from there.
        trainer: a new one.
    """
    classifier, team = trainer.classifier, trainer.team
    parts = SavedParts(path) if path.is_dir() else None
    state = {**state, "classifier": dict(state["classifier"])}
    same = (parts.processes if parts is not None else 1) == team.size
    if not same:
        state |= _fresh(state, trainer)
    elif parts is not None and not team.is_first:
        state |= parts.own(team.rank)
    if parts is not None:
        own = _state_rows(state, trainer)
        rows = Rows(team, classifier.num_classes)
        parts.read_rows({_name(at): tensor for at, tensor in own.items()}, rows)
        for at, tensor in own.items():
            _put(state, at, tensor)
    elif team.size > 1:
        shard = slice(classifier.shard.start, classifier.shard.stop)
        for at in SPLIT:
            if (all_rows := _taken(state, at)) is not None:
                _put(state, at, all_rows[shard])
    if not same and state["deferred_updates"] is not None:
        state["deferred_updates"]["step"] = None  # as far back as the oldest of its rows
    restore(state, trainer)


def _fresh(state: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
    """What a process of another number of them begins anew; see `restore_from`."""
    classifier, rank = trainer.classifier, trainer.team.rank
    sampler = classifier.sampler
    seed = mixed_seed(trainer.spec.seed, state["step"])
    count, dim = classifier.centers.shape
    sampler.attach(count, dim, seed=seed, shard=rank)
    sampler.to(trainer.device)
    shared = {name: state["sampler"][name] for name in sampler.shared_names()}
    generator = torch.Generator().manual_seed(mixed_seed(seed, rank))
    found: dict[str, Any] = {
        "sampler": {**sampler.state_dict(), **shared},
        "rng": generator.get_state(),
        "rng_cuda": None,
    }
    if trainer.device.type == "cuda":
        found["rng_cuda"] = torch.cuda.get_rng_state(trainer.device)
    return found


def _state_rows(state: dict[str, Any], trainer: Trainer) -> dict[Place, Tensor]:
    """Where this process's rows of what was split are to be read to: the trainer's own tensors."""
    classifier = trainer.classifier
    momentum = trainer.centers_optimizer.state[classifier.centers]
    targets: dict[Place, Tensor | None] = {
        SPLIT[0]: classifier.centers.data,
        SPLIT[1]: classifier.center_low_CD,
        **{SPLIT[k]: tensor for k, tensor in enumerate(trainer.touches.buffers(), 3)},
    }
    if state["deferred_updates"] is not None:
        targets[SPLIT[2]] = torch.zeros(len(classifier.centers), dtype=torch.int32)
    saved = state["optimizers"][1]["state"].get(0, {})
    if trainer.spec.training.momentum:
        name = (
            "momentum_buffer" if trainer.spec.training.center_optimizer == "torch" else "momentum"
        )
        own = momentum.get(name)
        targets["optimizers", 1, "state", 0, name] = (
            torch.zeros_like(classifier.centers.data) if own is None else own
        )
        state["optimizers"][1]["state"][0] = saved
    return {at: tensor for at, tensor in targets.items() if tensor is not None}


Place = tuple[str | int, ...]
"""Where something is in a tree: keys of dicts, indices of lists."""


def _name(at: Place) -> str:
    return ".".join(map(str, at))


def _taken(state: Any, at: Place) -> Tensor | None:
    """Take a tensor out of a tree; None if there is none."""
    *outer, last = at
    for key in outer:
        state = state.get(key) if isinstance(state, dict) else state[key]
        if state is None:
            return None
    return state.pop(last, None)


def _put(state: Any, at: Place, tensor: Tensor) -> None:
    *outer, last = at
    for key in outer:
        state = state[key]
    state[last] = tensor


def restore(state: dict[str, Any], trainer: Trainer) -> None:
    """Bring `trainer` to the saved `state`, without keeping references to it."""
    trainer.backbone.load_state_dict(state["backbone"])
    # Parameters and buffers are copied in place; heads and samplers keep other values as given.
    whole = state["classifier"] | {_SAMPLER + k: v for k, v in state["sampler"].items()}
    classifier = {k: v if isinstance(v, Tensor) else own(v) for k, v in whole.items()}
    trainer.classifier.load_state_dict(classifier)
    trainer.touches.load_state_dict(state["touches"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizers"], strict=True):
        # torch's optimisers keep references to the tensors they are given.
        optimizer.load_state_dict(saved if isinstance(optimizer, CentersSGD) else own(saved))
    if state["deferred_updates"] is not None:
        assert trainer.classifier.deferred_updates is not None, "the key holds the sampler"
        trainer.classifier.deferred_updates.load_state_dict(state["deferred_updates"])
    for name in POSITION:
        setattr(trainer, name, state[name])
    if state["figures"] is not None:
        trainer.figures = EpochFigures(trainer.device)
        trainer.figures.load_state_dict(state["figures"])
    if state["last_angles"] is not None:
        trainer.last_angles.load_state_dict(state["last_angles"])
    if trainer.drift is not None:
        trainer.drift.load_state_dict(state["drift"])
    torch.set_rng_state(state["rng"])
    if state["rng_cuda"] is not None:
        torch.cuda.set_rng_state(state["rng_cuda"], trainer.device)


def save_model(path: Path, spec: RunSpec, backbone: nn.Module) -> None:
    """Write the trained backbone together with the spec to rebuild it."""
    weights = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    with atomic_file(path) as temporary:
        write_tensors(temporary, {"spec": spec.model_dump_json(), "backbone": weights})
