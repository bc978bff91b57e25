"""Modules as text: which exist, what names they bind, and where a name comes from.

Nothing is imported. A module is *own* code, whose text determines a result, unless it is a
library's, whose version does: the standard library and anything in `site-packages` or
`dist-packages`. Modules of one installed package are own code to each other, and `frcore` is own
code to everybody.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

HOME = "frcore"

Key = tuple[str, str]
"""A definition: module and name. The name "" is what the module does on import."""


@dataclass(frozen=True)
class Own:
    """A definition of own code, or with the name "" an own module."""

    module: str
    name: str = ""


@dataclass(frozen=True)
class Library:
    """A name from a library, such as "numpy.linalg.norm"."""

    name: str


Target = Own | Library
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Import = tuple[str, str]
"""Module and the name taken from it; "" where the name bound is the module itself."""


@dataclass
class Module:
    """The text of a module, by the names that it binds at its top level."""

    name: str
    is_package: bool = False
    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    """Name -> the statements that define it."""
    imports: dict[str, list[Import]] = field(default_factory=dict)
    """Name -> where it may come from."""
    stars: list[str] = field(default_factory=list)
    """Modules that all names are taken from."""
    decorated: list[Definition] = field(default_factory=list)
    """Definitions whose decorators may register them elsewhere."""
    loose: list[ast.stmt] = field(default_factory=list)
    """Statements that are not a definition, assignment or import: they act on import."""
    has_globals: bool = True
    """Whether a function of it may set the module's names."""
    compiled: bytes = b""
    """The content of an extension module, whose names cannot be distinguished."""

    def read(self, body: list[ast.stmt], whole: ast.stmt | None = None) -> None:
        """Sort the statements of `body`; with `whole` they are a part of that statement."""
        for node in body:
            for name, source in imported(node, self.name, self.is_package):
                if name == "*":
                    self.stars.append(source[0])
                else:
                    self.imports.setdefault(name, []).append(source)
            for name in (*_bound_by(node), *self._globals_of(node)):
                self.bound.setdefault(name, []).append(whole or node)
            # What depends on a condition is one definition with it, for each name within.
            if (branches := _branches(node)) and not _is_script(node):
                if not is_for_type_checkers(node) and whole is None:
                    self.loose.append(node)
                for branch in branches:
                    self.read(branch, None if is_for_type_checkers(node) else whole or node)
            elif isinstance(node, Definition) and node.decorator_list:
                self.decorated.append(node)
            elif not branches and whole is None and _acts(node):
                self.loose.append(node)

    def _globals_of(self, node: ast.stmt) -> Iterator[str]:
        """The module's names that a function sets."""
        if self.has_globals and isinstance(node, ast.FunctionDef | ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    yield from inner.names


def imported(node: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, Import]]:
    """The names that an import statement binds, and where each comes from."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, (alias.name, "")) if alias.asname else (top, (top, ""))
    elif isinstance(node, ast.ImportFrom):
        source = from_module(node, module, is_package)
        for alias in node.names:
            yield alias.asname or alias.name, (source, alias.name)


def from_module(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that `from ... import` takes from; relative ones are those of `module`."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    package = parts[: len(parts) - node.level + is_package]
    return ".".join([*package, node.module] if node.module else package)


def _bound_by(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines, imports aside."""
    if isinstance(node, Definition):
        yield node.name
    else:
        outer = [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.stmt)]
        for part in (inner for expression in outer for inner in ast.walk(expression)):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id


def _branches(node: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks within a statement of a module that decides or repeats."""
    if isinstance(node, Definition):
        return []
    names = ("orelse", "finalbody") if is_for_type_checkers(node) else _BLOCKS
    found = [getattr(node, name, None) for name in names]
    found += [one.body for key in ("handlers", "cases") for one in getattr(node, key, ())]
    return [block for block in found if block]


_BLOCKS = ("body", "orelse", "finalbody")


def is_for_type_checkers(node: ast.AST) -> bool:
    """Whether a statement's block is never run."""
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Name | ast.Attribute) and (
        ast.unparse(test).rpartition(".")[2] == "TYPE_CHECKING"
    )


def _is_script(node: ast.stmt) -> bool:
    """Whether a statement is for a module that is run, not imported."""
    return isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ == ")


def _acts(node: ast.stmt) -> bool:
    """Whether a simple statement does something by itself, so also where nothing of it is used."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    return not isinstance(node, ast.Import | ast.ImportFrom | ast.Pass | ast.If | Definition)


class Modules:
    """The modules on the import path, each read once."""

    def __init__(self) -> None:
        importlib.invalidate_caches()  # files may be newer than what the import system knows
        self._read: dict[str, Module | None] = {}
        self._found: dict[Key, tuple[Target, ...]] = {}
        self._libraries: dict[str, bool] = {}
        self.ancestors: dict[Key, frozenset[str]] = {}
        """What `frcore.provenance.names.ancestors` has found."""
        self.told: dict[tuple[Key, int], frozenset[int | str]] = {}
        """What `frcore.provenance.definitions.told` has found."""
        self._asked: set[str] = set()

    @property
    def asked(self) -> set[str]:
        """All names that were looked for so far, whether there is such a module or not."""
        return {*self._read, *self._libraries, *self._asked}

    def get(self, name: str) -> Module | None:
        """The module `name`; None where there is none."""
        if name not in self._read:
            self._read[name] = self._module(name)
        return self._read[name]

    def is_there(self, name: str) -> bool:
        """Whether there is a module `name`, which is not read to know it."""
        self._asked.add(name)
        return self._read[name] is not None if name in self._read else _spec(name) is not None

    def _module(self, name: str) -> Module | None:
        found = _spec(name)
        if found is None:
            return None
        module = Module(name, is_package=found.submodule_search_locations is not None)
        place = _file(found)
        if place is not None and place.suffix == ".py":
            text = place.read_bytes()
            module.has_globals = b"global " in text
            module.read(ast.parse(text).body)
        elif place is not None:
            module.compiled = place.read_bytes()
        return module

    def is_own(self, name: str, asking: str) -> bool:
        """Whether the module `name` is own code to the module `asking`."""
        top = name.partition(".")[0]
        if top not in self._libraries:
            self._libraries[top] = _is_library(top)
        return top in (HOME, asking.partition(".")[0]) or not self._libraries[top]

    def target(self, source: Import, asking: str) -> tuple[Target, ...]:
        """What an import of the module `asking` brings; nothing where own code has no such name."""
        module, name = source
        if not self.is_own(module, asking):
            return (Library(f"{module}.{name}" if name else module),)
        return self.attribute(module, name) if name else (Own(module),)

    def attribute(self, module: str, name: str) -> tuple[Target, ...]:
        """What `name` of the own module `module` is: a definition, a module, or a library's."""
        key = (module, name)
        if key not in self._found:
            self._found[key] = ()  # of modules that import each other
            self._found[key] = tuple(dict.fromkeys(self._attribute(module, name)))
        return self._found[key]

    def _attribute(self, module: str, name: str) -> Iterator[Target]:
        found = self.get(module)
        if found is None:
            return
        if name in found.bound:
            yield Own(module, name)
        for source in found.imports.get(name, ()):
            # A name that cannot be found may be any of its module.
            yield from self.target(source, module) or (Own(source[0]),)
        if name in found.bound or name in found.imports:
            return
        if found.is_package and self.get(f"{module}.{name}") is not None:
            yield Own(f"{module}.{name}")
        else:
            inner = (
                self.attribute(star, name) for star in found.stars if self.is_own(star, module)
            )
            yield from next((targets for targets in inner if targets), ())


def _is_library(top: str) -> bool:
    """Whether a top-level module is covered by a version; also where it is not installed."""
    found = None if top in sys.stdlib_module_names else _spec(top)
    if found is None:
        return True
    places = [*(found.submodule_search_locations or ()), *filter(None, [_file(found)])]
    installed = {"site-packages", "dist-packages"}
    return not places or any(installed & set(Path(place).parts) for place in places)


def _spec(name: str) -> ModuleSpec | None:
    """How the import system finds a module, without importing what it lies in."""
    top, *rest = name.split(".")
    try:
        found = importlib.util.find_spec(top)
        for part in rest:
            folders = found.submodule_search_locations if found else None
            found = PathFinder.find_spec(part, list(folders or ()))
    except (ImportError, ValueError):
        return None
    return found


def _file(found: ModuleSpec) -> Path | None:
    """The file of a module; None for a namespace package."""
    return Path(found.origin) if found.origin and found.has_location else None


def state(name: str) -> list[object] | None:
    """Where a module is, and its file's size and time; None where there is no such module."""
    found = _spec(name)
    if found is None:
        return None
    place = _file(found)
    if place is None:
        return [str(folder) for folder in found.submodule_search_locations or ()]
    about = place.stat()
    return [str(place), about.st_size, about.st_mtime_ns]
