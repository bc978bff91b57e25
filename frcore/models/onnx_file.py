"""Checks an untrusted ONNX file before anything in it runs.

ONNX contains no code: a graph is a list of named operators. What could reach beyond it are
tensors kept in other files (a path), operators that a plug-in library implements, and nodes that
hold a context of some accelerator's compiler. This module reads the file with `onnx`, which parses
and runs nothing, and refuses each of these. Format: https://onnx.ai/onnx/repo-docs/IR.html and
https://onnx.ai/onnx/repo-docs/ExternalData.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frcore.errors import UserError

LARGEST_GRAPH = 2**31 - 1
"""Bytes of a protocol buffer: no larger one can be read by anybody."""

LARGEST_EXTERNAL = 16 * 2**30
"""Bytes of all tensors that are kept in other files."""

STANDARD_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"))
"""Operator sets that onnxruntime itself implements; any other needs a third-party library."""

OPAQUE_OPERATORS = frozenset(("EPContext", "PythonOp", "ATen"))
"""Of `com.microsoft`: a compiler's context, which may be a file, and calls of Python and torch."""


def read_onnx(path: Path) -> tuple[bytes, list[Path]]:
    """The graph's bytes, and its external tensor files.

    Raises:
        UserError: not an ONNX file, too large, an operator that needs somebody's library, or a
            tensor in a file that is missing or lies outside the model's folder.
    """
    import onnx
    from google.protobuf.message import DecodeError

    size = path.stat().st_size
    if not 0 < size <= LARGEST_GRAPH:
        raise UserError(
            f"{path} has {size:,} bytes; an ONNX file has from 1 to {LARGEST_GRAPH:,}: give the "
            "model's .onnx file (larger models keep tensors in separate files)"
        )
    content = path.read_bytes()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise UserError(f"{path} is not an ONNX file; {EXPORT}") from None
    # Almost any short file is a protocol buffer of unknown fields.
    if not model.opset_import or not model.graph.node:
        raise UserError(f"{path} has no ONNX graph; {EXPORT}")
    own = {function.domain for function in model.functions}
    beside: dict[Path, None] = {}  # a set in the order of the file: signatures depend on it
    for message in _messages(model):
        if message.DESCRIPTOR.name == "NodeProto":
            _refuse_operator(path, message, own)
        elif message.DESCRIPTOR.name == "TensorProto":
            entries = {entry.key: entry.value for entry in message.external_data}
            # ORT looks at the entries only where the tensor says EXTERNAL; here any entry counts.
            if entries or message.data_location == message.EXTERNAL:
                beside[_external_file(path, entries.get("location", ""))] = None
    total = sum(file.stat().st_size for file in beside)
    if total > LARGEST_EXTERNAL:
        raise UserError(
            f"the external tensor files of {path} have {total:,} bytes; up to "
            f"{LARGEST_EXTERNAL:,} are read: give a smaller model"
        )
    return content, list(beside)


EXPORT = "give a model that was exported with torch.onnx.export or the like"


def _messages(message: Any) -> Iterator[Any]:
    """A message of the file and every one inside it, wherever that is; a tensor as a whole."""
    yield message
    if message.DESCRIPTOR.name == "TensorProto":
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _messages(inner)


def _refuse_operator(path: Path, node: Any, own: set[str]) -> None:
    if node.domain not in STANDARD_DOMAINS | own or node.op_type in OPAQUE_OPERATORS:
        name = f"{node.domain or 'ai.onnx'}::{node.op_type}"
        raise UserError(
            f"{path} has the operator {name}, which only code from elsewhere implements; "
            f"allowed are the operators of {', '.join(sorted(STANDARD_DOMAINS - {''}))}: "
            "export the model without custom operators"
        )
    if any(a.name == "training_mode" and a.i for a in node.attribute):
        raise UserError(
            f"{path} was exported in training mode ({node.op_type} takes the statistics of each "
            "batch); export the model again after `model.eval()`"
        )


def _external_file(path: Path, location: str) -> Path:
    folder = path.parent.resolve()
    target = (folder / location).resolve()
    outside = not target.is_relative_to(folder)
    if not location or Path(location).is_absolute() or ".." in Path(location).parts or outside:
        raise UserError(
            f"{path} keeps a tensor in '{location}', which is not inside the model's folder; only "
            "files next to the model are read: put it there, or export the model as one file"
        )
    if not target.is_file():
        raise UserError(
            f"{path} keeps a tensor in '{location}', but {folder} has no such file; put it there, "
            "it belongs to the model"
        )
    return target
