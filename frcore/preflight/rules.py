"""What a study shows as a whole: settings that fail together, or do nothing, on its data.

Every rule is that of the code that runs later, applied here to the study's settings, so that a
mistake is reported before the first job and not after the last training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from frcore.errors import UserError
from frcore.preflight.claims import claim_problems
from frcore.study.config import Study
from frcore.study.data import SyntheticIdentities, SyntheticIdentityPairs, SyntheticTraining
from frcore.study.models import CheckpointModel, StoredEmbeddings, TorchScriptModel
from frcore.study.parts import Backbone, Component, Measurement, Training

if TYPE_CHECKING:
    from torch import nn

    from frcore.training.fit import TrainingSize

T = TypeVar("T")

CLASSES = 1000
"""Classes of a head or sampler built only to check it, where the data do not give a number."""


class _Asked:
    """Asks, and keeps what is refused."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def say(self, place: str, problem: str) -> None:
        self.problems.append(f"{place}: {problem}")

    def ask(self, place: str, action: Callable[..., T], *given: Any, **named: Any) -> T | None:
        """What `action` gives; None if it refuses."""
        try:
            return action(*given, **named)
        except UserError as error:
            self.say(place, str(error))
        return None

    def build(
        self, place: str, action: Callable[..., T], part: Component, **named: Any
    ) -> T | None:
        """A component; a user's own may fail in its own way."""
        try:
            return self.ask(place, action, part.name, **named, **part.parameters)
        except Exception as error:
            if ":" not in part.name:
                raise
            self.say(place, f"{part.name} cannot be built: {type(error).__name__}: {error}; correct"
                     " its constructor or its parameters")  # fmt: skip
        return None


def study_problems(study: Study) -> list[str]:
    """What is wrong with a study whose components are known and typed; each with its key."""
    asked = _Asked()
    for rule in (_data, _vectors, _images, _heads, _samplers, _backbones):
        rule(study, asked)
    for place, part in (("training", study.training), ("measurement", study.measurement)):
        if part is not None:
            _backend(place, part, asked)
    asked.problems += claim_problems(study)
    return list(dict.fromkeys(asked.problems))


def _data(study: Study, asked: _Asked) -> None:
    for place, data in study.data.items():
        if data.kind.startswith("synthetic"):
            from frcore.data.synthetic.checks import check_synthetic

            asked.ask(place, check_synthetic, data)


def _vectors(study: Study, asked: _Asked) -> None:
    """Settings of pictures, in a study of vectors."""
    are_vectors = {place: isinstance(data, SyntheticIdentities | SyntheticIdentityPairs)
                   for place, data in study.data.items()}  # fmt: skip
    if not any(are_vectors.values()):
        return
    for place, data in study.data.items():
        if not are_vectors[place]:
            asked.say(place, f"kind '{data.kind}' has pictures, but other data of the study are "
                      "vectors, which teach a network nothing about pictures; use only kinds "
                      "synthetic_identities and synthetic_identity_pairs, or none")  # fmt: skip
    why = "given, but the data are vectors, which have no mirror image and no crop"
    if study.training is not None and study.training.flip:
        asked.say("training.flip", f"true {why}; set it to false")
    if study.training is not None and study.training.augment is not None:
        asked.say("training.augment", f"{why}; leave it out")
    if study.evaluation.flip != "none":
        asked.say("evaluation.flip", f"'{study.evaluation.flip}' {why}; set it to none")


def _images(study: Study, asked: _Asked) -> None:
    """Models that take images of another size, or of a benchmark without any."""
    for index, model in enumerate(study.models):
        if not isinstance(model, TorchScriptModel | CheckpointModel):
            continue
        size = model.size
        if isinstance(model, CheckpointModel) and model.backbone is not None:
            size = model.side
            _built(f"models[{index}].backbone", model.backbone, size, asked)
        if size is not None:
            import numpy as np

            from frcore.models.pixels import check_size

            images = np.empty((0, study.image.size, study.image.size, 3), np.uint8)
            asked.ask(f"models[{index}].size", check_size, model.file, size, images)
    looking = [f"models[{index}] '{model.label}'" for index, model in enumerate(study.models)
               if not isinstance(model, StoredEmbeddings)]  # fmt: skip
    looking += ["every trained run"] if study.trains else []
    for name, data in study.benchmarks.items():
        if looking and not getattr(data, "images", True):
            asked.say(
                f"benchmarks.{name}",
                f"images: false, but {looking[-1]} is to see them; set images: true, or keep the "
                "benchmark in a study of only stored embeddings",
            )


def _sizes(study: Study) -> list[int]:
    """Numbers of classes that heads and samplers are built for."""
    measured = [min(study.measurement.identities)] if study.measurement else []
    known = _training_size(study)
    return [known.classes if known else CLASSES, *measured]


def _training_size(study: Study) -> TrainingSize | None:
    """Of the training set, where it need not be prepared to know."""
    if not isinstance(study.train, SyntheticTraining):
        return None
    from frcore.data.synthetic.labels import training_counts
    from frcore.training.fit import TrainingSize

    return TrainingSize(*training_counts(study.train))


def _heads(study: Study, asked: _Asked) -> None:
    from frcore.heads import build_head

    for index, head in enumerate(study.heads):
        for classes in _sizes(study):
            asked.build(f"heads[{index}]", build_head, head, num_classes=classes)


def _samplers(study: Study, asked: _Asked) -> None:
    import torch

    from frcore.optimizer import check_moves_every_center
    from frcore.samplers import build_sampler
    from frcore.training.fit import problems

    size = _training_size(study)
    for index, component in enumerate(study.samplers):
        place = f"samplers[{index}]"
        sampler = asked.build(place, build_sampler, component)
        if sampler is None or study.training is None:
            continue
        if size is not None:
            places = {"sampler": place, "training": "training"}
            for part, problem in problems(study.training, sampler, size).items():
                asked.say(places[part], problem)
        if study.training.center_optimizer == "torch" and ":" not in component.name:
            with torch.device("meta"):  # which takes no memory
                sampler.attach(CLASSES, 1)
            asked.ask(place, check_moves_every_center, sampler)


def _backbones(study: Study, asked: _Asked) -> None:
    backbones: dict[str, Component] = {
        f"backbones[{index}]": part for index, part in enumerate(study.backbones)
    }
    if study.measurement is not None and study.measurement.backbone is not None:
        backbones["measurement.backbone"] = study.measurement.backbone
    for place, part in backbones.items():
        backbone = _built(place, part, study.image.size, asked)
        if backbone is None:
            continue
        if isinstance(part, Backbone):
            _start(place, part, backbone, asked)
        measured = study.measurement if place == "measurement.backbone" else None
        if measured is not None and measured.batch_size == 1 and _normalises_batches(backbone):
            asked.say(
                "measurement.batch_size",
                f"1 given, but the batch normalisation of {part.name} needs two images or more; "
                "raise it, or leave the backbone out",
            )


def _built(place: str, part: Component, size: int | None, asked: _Asked) -> nn.Module | None:
    """A backbone without memory; None if it cannot be built."""
    # A user's own may read files when it is built: that is left to the run.
    if ":" in part.name:
        return None
    import torch

    from frcore.backbones import build_backbone

    with torch.device("meta"):
        return asked.build(place, build_backbone, part, image_size=size)


def _start(place: str, part: Backbone, backbone: nn.Module, asked: _Asked) -> None:
    """What a training starts from and leaves as it is."""
    if part.freeze:
        from frcore.backbones.frozen import frozen_modules

        asked.ask(f"{place}.freeze", frozen_modules, backbone, part.freeze)
    if part.weights is not None:
        from frcore.models.weights import fitting_weights

        asked.ask(f"{place}.weights", fitting_weights, Path(part.weights), backbone, part.name)


def _normalises_batches(backbone: nn.Module) -> bool:
    import torch

    kind = torch.nn.modules.batchnorm._BatchNorm
    return any(isinstance(module, kind) for module in backbone.modules())


def _backend(place: str, part: Training | Measurement, asked: _Asked) -> None:
    import torch

    from frcore.loss.dense import check_precision
    from frcore.loss.triton import check_usable

    if part.backend == "dense":
        asked.ask(place, check_precision, part.loss_precision)
    if part.backend == "triton" and part.device == "cpu":
        asked.ask(place, check_usable, torch.device("cpu"))
