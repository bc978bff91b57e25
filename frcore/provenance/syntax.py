"""The syntax of a definition as text, without what cannot change a result.

Left out are comments, layout, docstrings, citations, annotations that are never evaluated, its own
import statements, and the locations in catalogues. An imported name is written under its original
name, so that the form of the import does not matter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from frcore.provenance.modules import (
    Definition,
    Import,
    Key,
    Library,
    Module,
    Modules,
    Own,
    Target,
    imported,
    is_for_type_checkers,
)
from frcore.provenance.names import Names, Scope, arguments_of, bases, targets_of

Function = ast.FunctionDef | ast.AsyncFunctionDef

CITATIONS = frozenset({"source", "formula", "dialects"})
"""Attributes of heads and samplers that are documentation."""
CITED = frozenset({"Head", "Sampler"})

PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""Such as "package.module:Class": how catalogues name what they import when it is asked for."""

UNREAD = frozenset(
    ("abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "getter",
     "inference_mode", "lru_cache", "no_grad", "overload", "override", "property", "setter",
     "staticmethod", "wraps")
)  # fmt: skip
"""Decorators that ignore annotations."""

ANY_NAME = frozenset({"globals", "vars", "eval", "exec", "locals"})
"""Builtins that reach names not written in the code."""


@dataclass
class Meaning:
    """A definition as text, and what it needs.

    Attributes:
        tokens: its syntax.
        uses: the own definitions it names, in their order.
        imports: own modules that are imported with it.
    """

    tokens: list[str] = field(default_factory=list)
    uses: list[Key] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)


class Syntax(Names):
    """Reads statements of one module into a `Meaning`, each node by its `visit_` method."""

    def __init__(self, modules: Modules, module: Module) -> None:
        super().__init__(modules, module)
        self.found = Meaning()
        self.outside: set[str] = set()
        """Names of local values that are read for more than a message."""

    def noted(self) -> list[str]:
        """Definitions that a decorator of own code takes note of when the module is imported."""
        return [node.name for node in self.module.decorated if self._is_noted(node)]

    def _is_noted(self, node: Definition) -> bool:
        names = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
        return any(isinstance(target, Own) for name in names for target in self.resolve(name)[0])

    def visit(self, node: ast.AST) -> None:
        """Add what `node` means."""
        getattr(self, f"visit_{type(node).__name__}", self._plainly)(node)

    def _all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)
        self.found.tokens.append(";")

    def _plainly(self, node: ast.AST) -> None:
        """By default: the kind of node, and its parts in order."""
        add = self.found.tokens.append
        add(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                for part in value:
                    if isinstance(part, ast.AST):
                        self.visit(part)
                    else:
                        add(repr(part))
                add(";")
            elif isinstance(value, ast.expr_context):
                continue
            elif isinstance(value, ast.AST):
                self.visit(value)
            else:
                add(repr(value))

    # --- names ---

    def visit_Name(self, node: ast.Name | ast.Attribute) -> None:
        targets, rest = self.resolve(node)
        for target in targets:
            self._target(target)
        if targets:
            self.found.tokens += [f".{part}" for part in rest]
        elif isinstance(node, ast.Attribute):
            self.visit(node.value)
            self.found.tokens.append(f".{node.attr}")
        else:
            self.found.tokens.append(node.id)
            if isinstance(node.ctx, ast.Load):
                self.outside.add(node.id)
            if node.id in ANY_NAME and not self.is_local(node.id):
                self._use_module(self.module.name)

    def _target(self, target: Target) -> None:
        if isinstance(target, Library):
            self.found.tokens.append(target.name)
        elif target.name:
            self.found.tokens.append(target.name)
            self.found.uses.append((target.module, target.name))
        else:
            self.found.tokens.append("module")
            self._use_module(target.module)

    def _use_module(self, name: str) -> None:
        """A module as an object: which of its names are used is unknown."""
        module = self.modules.get(name)
        if module is None:
            return
        self.found.imports.add(name)
        self.found.uses += [(name, bound) for bound in sorted(module.bound)]
        for star in module.stars:
            if self.modules.is_own(star, name):
                self._use_module(star)

    visit_Attribute = visit_Name

    # --- statements with a special meaning ---

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        """What is run by an import; what it binds is known already."""
        for _, source in imported(node, self.module.name, self.module.is_package):
            self.imports_module(source)
        for alias in node.names if isinstance(node, ast.Import) else ():
            self.imports_module((alias.name, ""))

    visit_ImportFrom = visit_Import

    def imports_module(self, source: Import) -> None:
        """Remember that the module of an import is run, and the name taken, if it is a module."""
        if not self.modules.is_own(source[0], self.module.name):
            if source[1] == "*":
                self.found.tokens.append(f"from {source[0]} import *")
            return
        module = self.modules.get(source[0])
        if module is None:
            return
        self.found.imports.add(source[0])
        name = f"{source[0]}.{source[1]}"
        if source[1] and module.is_package and self.modules.get(name) is not None:
            self.found.imports.add(name)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self._plainly(node)

    def visit_If(self, node: ast.If) -> None:
        if is_for_type_checkers(node):
            self._all(node.orelse)
        else:
            self._plainly(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """As an assignment: outside of classes the annotation is for type checkers."""
        if node.value is not None:
            self.visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.found.tokens.append(f"class {node.name}")
        for parts in (node.decorator_list, node.bases, node.keywords):
            self._all(parts)
        is_cited = bool(CITED & {node.name, *bases(self, node)})
        with self.inside(set(), Scope(node.body).imports):
            for line in node.body:
                if is_cited and _is_citation(line):
                    continue
                if isinstance(line, ast.AnnAssign):
                    self._plainly(line)  # A field: what it accepts is in its annotation.
                else:
                    self.visit(line)
        self.found.tokens.append(";")

    def visit_FunctionDef(self, node: Function) -> None:
        self.found.tokens.append(f"{type(node).__name__} {node.name}")
        self._all(node.decorator_list)
        # A constructor's are the parameters of a component: see `frcore.components.catalogue`.
        is_read = node.name == "__init__" or not all(map(_leaves_unread, node.decorator_list))
        self._arguments(node.args, is_read=is_read)
        if is_read and node.returns is not None:
            self.visit(node.returns)
        scope = Scope(node.body)
        with self.inside(scope.names | {one.arg for one in arguments_of(node.args)}, scope.imports):
            self._body(node, scope)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _body(self, node: Function, scope: Scope) -> None:
        self._all(node.body)

    def _arguments(self, arguments: ast.arguments, *, is_read: bool) -> None:
        for argument in arguments_of(arguments):
            self.found.tokens.append(argument.arg)
            if is_read and argument.annotation is not None:
                self.visit(argument.annotation)
        counts = [len(arguments.posonlyargs), len(arguments.args), len(arguments.kwonlyargs)]
        counts += [arguments.vararg is not None, arguments.kwarg is not None]
        self.found.tokens.append(repr(counts))
        self._all(arguments.defaults)
        for default in arguments.kw_defaults:
            self._all([default] if default is not None else [])

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.found.tokens.append("Lambda")
        self._arguments(node.args, is_read=False)
        with self.inside({one.arg for one in arguments_of(node.args)}):
            self.visit(node.body)

    def visit_ListComp(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.found.tokens.append(type(node).__name__)
        self._generated(node.generators, lambda: self._all(parts))

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def _generated(self, generators: Sequence[ast.comprehension], then: Callable[[], None]) -> None:
        # The first iterable is read outside, where names are others.
        self.visit(generators[0].iter)
        with self.inside(targets_of(generators)):
            self._all([generators[0].target, *generators[0].ifs])
            self._all(generators[1:])
            then()

    def visit_Constant(self, node: ast.Constant) -> None:
        module, _, name = self._own_place(node).partition(":")
        if not module:
            self.found.tokens.append(repr(node.value))
            return
        # Imported by its place, which may change as any other.
        self.found.imports.add(module)
        self.found.tokens.append("place")
        for target in self.modules.attribute(module, name) or (Own(module),):
            self._target(target)

    def visit_Dict(self, node: ast.Dict) -> None:
        """Without the places of a catalogue: what is taken from it is named by who takes it."""
        self.found.tokens.append("Dict")
        for key, value in zip(node.keys, node.values, strict=True):
            if not self._own_place(value):
                self._all([value] if key is None else [key, value])

    def _own_place(self, node: ast.expr) -> str:
        """The constant "module:name" of own code that an expression is, or nothing."""
        value = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(value, str) or not PLACE.fullmatch(value):
            return ""
        module = value.partition(":")[0]
        own = self.modules.is_own(module, self.module.name)
        return value if own and self.modules.is_there(module) else ""


def _leaves_unread(decorator: ast.expr) -> bool:
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(name).rpartition(".")[2] in UNREAD


def _is_citation(node: ast.stmt) -> bool:
    """Whether a line of a head or sampler only documents it: see `frcore.heads.base.Head`."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return bool(names) and names <= CITATIONS
