"""A fingerprint of the code that a stage runs, so that a result made by other code is made again.

It covers the modules that a stage starts from and those they import, by what they mean: comments,
docstrings and layout do not count. Only modules of the same top-level packages are followed;
libraries are covered by their versions (`frcore.provenance.versions`).
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from frcore.provenance import PACKAGE

PLUMBING = frozenset(
    f"frcore.{name}"
    for name in (
        "backbones", "catalogue", "component_code", "config", "devices", "errors", "files",
        "fingerprint", "heads", "model_config", "plan", "provenance", "samplers", "section",
        "sources", "study", "study_errors", "workflow",
    )
)  # fmt: skip
"""Modules that only carry values: what they decide is visible in a spec. `frcore.heads` and its
siblings are the catalogues; adding a head to one must not repeat the runs of the others."""


def code_fingerprint(modules: Iterable[str]) -> str:
    """Twelve hexadecimal digits that change with the meaning of `modules` or of what they import.

    Args:
        modules: dotted names, such as "frcore.training.run"; also a user's own.
    """
    digest = hashlib.sha256()
    for name in sorted(dependencies(modules)):
        path = _locate(name)
        assert path is not None, "dependencies() returns modules that have a file"
        digest.update(f"{name}={_meaning(path)}\n".encode())
    return digest.hexdigest()[:12]


def dependencies(modules: Iterable[str]) -> set[str]:
    """`modules` and what they import of their own top-level packages, without plumbing."""
    waiting = [name for name in modules if _locate(name) is not None]
    roots = {name.partition(".")[0] for name in waiting}
    left_out = PLUMBING - set(waiting)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found or name in left_out or name.partition(".")[0] not in roots:
            continue
        path = _locate(name)
        if path is not None:
            found.add(name)
            waiting += _imports(name, path)
    return found


@functools.cache
def _locate(name: str) -> Path | None:
    """The source file of a module; None where there is none, as for a class or a C extension."""
    top, _, rest = name.partition(".")
    if top == "frcore":
        place = PACKAGE.joinpath(*rest.split(".")) if rest else PACKAGE
        candidates = (place.with_suffix(".py"), place / "__init__.py")
        return next((path for path in candidates if path.is_file()), None)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _imports(name: str, path: Path) -> frozenset[str]:
    """What may be imported by the module `name`: modules, and names that may be modules."""
    return frozenset(_imported(name, path.name == "__init__.py", _tree(path)))


def _imported(name: str, is_package: bool, tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parts = name.split(".")
                package = parts[: len(parts) - node.level + is_package]
                source = ".".join([*package, source] if source else package)
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)
        else:
            yield from _imported(name, is_package, node)


CITATIONS = frozenset({"source", "formula", "dialects"})
"""Attributes of heads and samplers that are documentation."""


@functools.cache
def _meaning(path: Path) -> str:
    """The syntax tree without docstrings, citations, comments and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.ClassDef):
            node.body = [line for line in node.body if not _is_citation(line)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_citation(node: ast.stmt) -> bool:
    """Whether a line of a class only documents it: see `frcore.heads.base.Head`."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return bool(names) and names <= CITATIONS
