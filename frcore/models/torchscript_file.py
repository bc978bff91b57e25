"""Checks an untrusted TorchScript archive before anything in it runs.

TorchScript is a separate language: loading an archive compiles its `code/*.py`, which is not
Python, and unpickles with a reader in C++ that knows tensors and the archive's own classes alone.
Two things could still act: methods that loading itself calls (`__setstate__` of an archive's class,
or of a class built into torch), and operators that reach beyond the graph. So the archive is read
first with torch's own reader (another one could be shown another directory), and the graph is
walked before it is run. What is and is not guaranteed: docs/decisions/0012.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from frcore.errors import UserError, first_line

LARGEST = 16 * 2**30
"""Bytes of all records, unpacked."""

LARGEST_TEXT = 64 * 2**20
"""Bytes of code, and of each pickle that is not a tensor."""

ON_LOADING = re.compile(rb"\bdef[\s\\]+__(?:set|get)state__")
"""Methods that the loader calls."""

BUILT_IN_CLASSES = "__torch__.torch.classes"
"""Classes of torch in C++ (packed weights, stores, process groups); loading runs their own code."""

FILE_OPERATORS = frozenset(("aten::from_file", "aten::save"))
"""Those of torch's `aten` that open a file; a test looks through the registry for others."""

PRIM_OPERATORS = frozenset(
    f"prim::{name}"
    for name in (
        "Constant", "ConstantChunk", "DictConstruct", "GetAttr", "If", "ListConstruct",
        "ListUnpack", "Loop", "ModuleContainerIndex", "NumToTensor", "RaiseException", "SetAttr",
        "StringIndex", "TupleConstruct", "TupleIndex", "TupleSlice", "TupleUnpack",
        "Uninitialized", "abs", "data", "device", "dtype", "is_cpu", "is_cuda", "isinstance",
        "itemsize", "layout", "max", "min", "rangelist", "requires_grad", "tolist",
        "unchecked_cast", "unchecked_unwrap_optional",
    )
)  # fmt: skip
"""Control flow and values. Not among them: calls of Python, of other processes and of interfaces
that no graph shows, threads (`fork`), objects of other classes, printing."""

EXPORT = "give an archive that torch.jit.save wrote of a traced or scripted model"


def check_archive(path: Path) -> None:
    """Refuse an archive that could act while it is loaded.

    Raises:
        UserError: no TorchScript archive, too large, with methods that loading would call, or with
            objects of torch's built-in classes.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise UserError(f"{path} is not a TorchScript archive (a zip file); {EXPORT}")
    try:
        # The reader of torch.jit.load itself: it sees the same records.
        reader = torch._C.PyTorchFileReader(str(path))
        names = reader.get_all_records()
        sizes = {name: int(reader.get_record_size(name)) for name in names}
    except RuntimeError as error:
        raise UserError(f"{path} is a damaged archive: {first_line(error)}; {EXPORT}") from error
    code = [name for name in names if name.startswith("code/")]
    if "model.json" in sizes or not {"data.pkl", "constants.pkl"} <= set(sizes) or not code:
        raise UserError(
            f"{path} holds no TorchScript code but pickled Python objects (torch.save), which can "
            f"run anything when they are read; {EXPORT}, or an ONNX file"
        )
    texts = [name for name in names if name in ("data.pkl", "constants.pkl") or name in code]
    if sum(sizes.values()) > LARGEST or sum(sizes[name] for name in texts) > LARGEST_TEXT:
        raise UserError(
            f"{path} unpacks to {sum(sizes.values()):,} bytes; up to {LARGEST:,} are read, of them "
            f"{LARGEST_TEXT:,} of code: give a smaller model"
        )
    for name in texts:
        content = reader.get_record(name)
        if name in code:
            _check_code(path, name, content)
        else:
            _check_pickle(path, name, content)


def _check_code(path: Path, name: str, content: bytes) -> None:
    if ON_LOADING.search(content):
        raise UserError(
            f"{path} defines __setstate__ or __getstate__ in {name}, which would run as soon as "
            "the archive is read; allowed are methods that are called by name: trace the model and "
            "save that"
        )


def _check_pickle(path: Path, name: str, content: bytes) -> None:
    try:
        # Only what names a class; nothing is built.
        named = [
            str(argument).replace(" ", ".")
            for opcode, argument, _ in pickletools.genops(content)
            if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST")
        ]
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: {name} is damaged ({error}); {EXPORT}") from error
    built_in = [cls for cls in named if cls.startswith(BUILT_IN_CLASSES) or cls == "None"]
    if built_in:
        raise UserError(
            f"{path} holds an object of {built_in[0]}, whose own code runs when it is read; "
            "allowed are tensors and the model's own classes: save the model without quantisation "
            "or packed weights"
        )


def check_graph(path: Path, module: Any) -> None:
    """Refuse a model of which any method has an operator that could reach beyond its tensors.

    All methods and not `forward` alone, because Python calls some by itself (`__len__`).

    Args:
        path: for messages.
        module: as `torch.jit.load` gives it; nothing of it has run.

    Raises:
        UserError: such an operator, or a call whose target the graph does not show.
    """
    methods = dict(_methods(module._c))
    if "forward" not in methods:
        raise UserError(f"{path} has no method forward; {EXPORT}")
    for node in (node for graph in methods.values() for node in _nodes(graph)):
        kind = node.kind()
        allowed = kind in PRIM_OPERATORS or (
            kind.startswith("aten::") and kind not in FILE_OPERATORS
        )
        if not allowed or any(node.kindOf(name) in ("g", "gs") for name in node.attributeNames()):
            raise UserError(
                f"{path} has the operator {kind}; allowed are torch's own operators on tensors, "
                "not those that open files, call Python or hide what they call: export the model "
                "without it"
            )


def _methods(module: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name -> graph, with what it calls in place, of a `torch._C.ScriptModule` and those in it."""
    for name in module._method_names():
        yield prefix + name, module._get_method(name).inlined_graph
    for name, inner in torch._C.ModuleDict(module).items():
        yield from _methods(inner, f"{prefix}{name}.")


def _nodes(block: Any) -> Iterator[Any]:
    waiting = [block]
    while waiting:
        for node in waiting.pop().nodes():
            yield node
            waiting += node.blocks()
