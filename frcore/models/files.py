"""Which files a model is read from, for its signature (`frcore.data.signatures`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frcore.data.signatures import By, Signature, sign_files
from frcore.data.source import File


def model_files(model: Any, benchmark: str) -> Iterator[File]:
    """The files of a model's section: of stored embeddings, those of one benchmark."""
    if model.kind == "embeddings":
        for what in (model.files, model.names):
            if benchmark in what:
                path = Path(what[benchmark])
                yield path.name, path
        return
    path = Path(model.file)
    yield path.name, path
    if model.kind == "onnx":
        # The graph's external tensor files.
        from frcore.models.onnx_file import read_onnx

        folder = path.parent.resolve()
        for beside in read_onnx(path)[1]:
            yield f"tensors {beside.relative_to(folder).as_posix()}", beside


def sign_model(model: Any, benchmark: str, by: By = "auto") -> Signature:
    """The signature of what a model's section is read from.

    Raises:
        UserError: a file is missing, or cannot be read.
    """
    return sign_files(model_files(model, benchmark), by, model)
