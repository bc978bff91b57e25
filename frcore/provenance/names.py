"""Where a name in a piece of code comes from: its function, an import, or the module."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator

from frcore.provenance.modules import Import, Key, Library, Module, Modules, Own, Target, imported

Imports = ast.Import | ast.ImportFrom


class Names:
    """The names of `module`, and of the functions and classes that are being read."""

    def __init__(self, modules: Modules, module: Module) -> None:
        self.modules, self.module = modules, module
        self._scopes: list[tuple[set[str], dict[str, list[Import]]]] = []

    @contextlib.contextmanager
    def inside(self, names: set[str], imports: Iterable[Imports] = ()) -> Iterator[None]:
        """Where `names` are local, and so is what `imports` bind."""
        bound: dict[str, list[Import]] = {}
        for node in imports:
            for name, source in imported(node, self.module.name, self.module.is_package):
                bound.setdefault(name, []).append(source)
        self._scopes.append((names, bound))
        try:
            yield
        finally:
            self._scopes.pop()

    def is_local(self, name: str) -> bool:
        """Whether a name is one of a function or class being read."""
        return any(name in names for names, _ in self._scopes)

    def lookup(self, name: str) -> tuple[Target, ...]:
        """What a name is; nothing where it is a local value or a builtin."""
        for names, imports in reversed(self._scopes):
            if name in imports:
                return tuple(
                    target
                    for source in imports[name]
                    for target in self.modules.target(source, self.module.name)
                )
            if name in names:
                return ()
        return self.modules.attribute(self.module.name, name)

    def resolve(self, node: ast.expr) -> tuple[tuple[Target, ...], list[str]]:
        """What a dotted name is, and what is left of it: attributes of an object.

        A module is what is left where it has no such name, so that the whole of it counts.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        targets = self.lookup(node.id) if isinstance(node, ast.Name) else ()
        while parts and any(isinstance(one, Own) and not one.name for one in targets):
            deeper: list[Target] = []
            for one in targets:
                if isinstance(one, Own) and not one.name:
                    deeper += self.modules.attribute(one.module, parts[0])
                else:
                    deeper.append(one)
            if not deeper:
                break
            targets, parts = tuple(dict.fromkeys(deeper)), parts[1:]
        return targets, parts


def ancestors(modules: Modules, key: Key) -> frozenset[str]:
    """The names of what a class derives from; those of libraries with their modules."""
    if key not in modules.ancestors:
        modules.ancestors[key] = frozenset()  # of classes that name each other
        module = modules.get(key[0])
        names: set[str] = set()
        for node in module.bound.get(key[1], []) if module else []:
            if module and isinstance(node, ast.ClassDef):
                names |= bases(Names(modules, module), node)
        modules.ancestors[key] = frozenset(names)
    return modules.ancestors[key]


def bases(names: Names, node: ast.ClassDef) -> set[str]:
    """As `ancestors`, of a class being read."""
    found: set[str] = set()
    for base in node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        targets, rest = names.resolve(base)
        for target in targets:
            if isinstance(target, Library):
                found.add(".".join([target.name, *rest]))
            else:
                found |= {target.name, *ancestors(names.modules, (target.module, target.name))}
        if not targets and isinstance(base, ast.Name):
            found.add(base.id)
    return found


def arguments_of(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters of a function."""
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [one for one in (arguments.vararg, arguments.kwarg) if one is not None]


def targets_of(generators: Iterable[ast.comprehension]) -> set[str]:
    """The names that a comprehension binds."""
    return {
        name.id
        for generator in generators
        for name in ast.walk(generator.target)
        if isinstance(name, ast.Name)
    }


_SCOPES = {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp,
           ast.SetComp, ast.DictComp, ast.GeneratorExp}  # fmt: skip


class Scope:
    """What belongs to a function's body, and not to the functions and classes within it.

    Attributes:
        names: bound there, but for parameters and imports.
        imports: its import statements.
        raised: its `raise` statements.
        texts: names that are bound to what may be a text.
    """

    def __init__(self, body: Iterable[ast.AST]) -> None:
        self.names: set[str] = set()
        self.imports: list[Imports] = []
        self.raised: list[ast.Raise] = []
        self.texts: set[str] = set()
        elsewhere: set[str] = set()
        waiting = list(body)
        while waiting:
            node = waiting.pop()
            match node:
                case ast.Name(id=name, ctx=context):
                    self.names |= set() if isinstance(context, ast.Load) else {name}
                case ast.Import() | ast.ImportFrom():
                    self.imports.append(node)
                case (
                    ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name)
                    | ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name))
                    | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name))
                    | ast.MatchMapping(rest=str(name))
                ):  # fmt: skip
                    self.names.add(name)
                case ast.Global(names=names) | ast.Nonlocal(names=names):
                    elsewhere.update(names)
                case ast.Raise():
                    self.raised.append(node)
                case ast.Assign(value=value) if isinstance(value, TEXTS):
                    self.texts |= {one.id for one in node.targets if isinstance(one, ast.Name)}
            if type(node) not in _SCOPES:
                waiting += ast.iter_child_nodes(node)
        self.names -= elsewhere


TEXTS = (ast.Constant, ast.JoinedStr, ast.BinOp, ast.IfExp)
"""Expressions that may be texts."""
