"""`frcore evaluate --model`: evaluate a model trained elsewhere on one prepared benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.embed import embed_with
from frcore.evaluation.evaluate import Subject, computing, judge_embeddings, scores_beside
from frcore.evaluation.inputs import norms
from frcore.evaluation.protocol import rows_needed
from frcore.files import sha256_of_file
from frcore.models.networks import CheckpointNetwork, TorchScriptNetwork
from frcore.models.onnx_session import OnnxSession
from frcore.models.pixels import Network
from frcore.models.stored import stored_embeddings
from frcore.records.evaluation import JudgedModel
from frcore.study.expansion import EvaluationSpec, ModelSpec
from frcore.study.models import (
    CheckpointModel,
    FileModel,
    Model,
    OnnxModel,
    StoredEmbeddings,
    TorchScriptModel,
)


def evaluate_model(
    spec: EvaluationSpec,
    model: ModelSpec,
    benchmark: Path,
    out: Path,
    *,
    place: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a model on `benchmark`; write `out` (.json) and the scores next to it (.npz).

    Args:
        spec: how embeddings become scores, and the device.
        model: the model's files and the input it expects.
        benchmark: folder of a prepared benchmark, named as in the study.
        out: the JSON file; its format is in docs/formats.md.
        place: where the benchmark's images are now, if they are read in place and were moved.

    Returns:
        What was written to `out`.

    Raises:
        UserError: a file of the model is missing, is not the one the study names, is refused, or
            does not fit the benchmark.
    """
    out = scores_beside(out)
    section = model.model
    needs_images = not isinstance(section, StoredEmbeddings)
    test = Prepared.open(benchmark, place=place, images=needs_images)
    hashes = _checked_files(section, test.folder.name)
    rows = rows_needed(test)
    if isinstance(section, StoredEmbeddings):
        names = test.index["name"]
        embeddings = stored_embeddings(section, test.folder.name, names, rows)
        norms(
            embeddings, rows=rows, names=names.tolist(),
            suspicion="was it saved before it was computed?",
        )  # fmt: skip
        about = "embeddings as stored"
    else:
        embeddings, about, beside = _computed(spec, section, test, rows)
        test.refuse_changed()
        hashes |= {path.name: sha256_of_file(path) for path in beside}
    subject = Subject(
        id=model.id,
        spec_hash=model.hash,
        about=_notes(section, about, hashes),
        model=JudgedModel(
            label=section.label,
            kind=section.kind,
            input=about,
            files=hashes,
            trained_on=section.trained_on,
            source=section.source,
            licence=section.licence,
        ),
        stored=isinstance(section, StoredEmbeddings),
    )
    return judge_embeddings(spec, subject, test, embeddings, rows, train=None, out=out)


def _computed(
    spec: EvaluationSpec, section: FileModel, test: Prepared, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], str, list[Path]]:
    """Embeddings of the images `rows`, how they were made, and any further files of the model."""
    with computing(spec):
        network = open_network(section, device=spec.device, threads=spec.threads)
        embeddings = embed_with(
            network,
            test.images,
            rows,
            flip=spec.evaluation.flip,
            batch_size=spec.evaluation.batch_size,
            names=test.index["name"].tolist(),
            remedy=f"export {section.file} again, in eval mode: call `model.eval()` before "
            "torch.jit.trace, torch.jit.script or torch.onnx.export",
        )
    return embeddings, network.about, network.files[1:]


def open_network(section: FileModel, *, device: str = "cpu", threads: int = 1) -> Network:
    """The model of a study's section, as a function from images to embeddings.

    Raises:
        UserError: its file is refused.
    """
    if isinstance(section, OnnxModel):
        return OnnxSession(section, device=device, threads=threads)
    if isinstance(section, TorchScriptModel):
        return TorchScriptNetwork(section, device=device)
    assert isinstance(section, CheckpointModel), "the kinds of `frcore.study.models.Model`"
    return CheckpointNetwork(section, device=device)


def _checked_files(section: Model, benchmark: str) -> dict[str, str]:
    """File name -> sha256 of the files the model needs for a benchmark.

    Raises:
        UserError: a file does not exist or its hash is not the study's.
    """
    wanted: Mapping[str, str | None]
    if isinstance(section, StoredEmbeddings):
        if benchmark not in section.files:
            raise UserError(
                f"model '{section.label}' has no embeddings for '{benchmark}'; there are files for "
                f"{', '.join(section.files)}: add one under `files:`"
            )
        files = {section.files[benchmark]: section.sha256.get(benchmark)}
        wanted = files | ({section.names[benchmark]: None} if benchmark in section.names else {})
    else:
        wanted = {section.file: section.sha256}
    found = {}
    for name, expected in wanted.items():
        path = Path(name)
        if not path.is_file():
            raise UserError(f"model '{section.label}': {path} is not a file; correct the path")
        found[path.name] = sha256_of_file(path)
        if expected not in (None, found[path.name]):
            raise UserError(
                f"model '{section.label}': {path} has the sha256 {found[path.name]}, but the study "
                f"says {expected}; get the right file, or correct the study"
            )
    return found


def _notes(section: Model, about: str, hashes: Mapping[str, str]) -> list[str]:
    files = ", ".join(f"{name} (sha256 {value[:12]})" for name, value in hashes.items())
    known = [
        f"{title}: {text.rstrip('.')}"
        for title, text in (
            ("trained on", section.trained_on or "not stated"),
            ("source", section.source),
            ("licence", section.licence),
        )
        if text
    ]
    return [
        f"{section.label}: a model trained elsewhere, {files}. Input: {about}. "
        f"{'. '.join(part[0].upper() + part[1:] for part in known)}.",
        f"{section.label}: the people in its training data are not known here, so people tested "
        "may be among them, and there is no subset 'unseen'.",
    ]
