"""The meaning of a definition: its syntax without message texts, which change no result.

A text is followed into the functions and local names that turn it into a message.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence

from frcore.provenance.modules import Key, Library, Module, Modules, Own, Target
from frcore.provenance.names import TEXTS, Scope, ancestors, arguments_of
from frcore.provenance.syntax import Function, Meaning, Syntax

DEPTH = 2
"""The number of functions through which a text is followed until it becomes a message."""

LEVELS = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))
TOLD = frozenset(("warnings.warn", "typer.echo", "typer.secho", "click.echo", "sys.exit",
                  *(f"logging.{level}" for level in LEVELS)))  # fmt: skip
"""Functions of libraries whose arguments are words."""

KEYWORDS = {"pydantic.Field": {"title", "description"}, "typer.Option": {"help"},
            "typer.Argument": {"help"}, "typer.Typer": {"help"}}  # fmt: skip
"""Keywords of functions of libraries that are words."""

_ERRORS = ("Error", "Exception", "Warning", "BadParameter", "Exit")


def read(modules: Modules, key: Key) -> Meaning:
    """The meaning of a definition, or of what a module does on import."""
    module = modules.get(key[0])
    assert module is not None, f"{key[0]} was found before"
    reader = _Reader(modules, module)
    for node in module.bound.get(key[1], []) if key[1] else module.loose:
        reader.visit(node)
    if not key[1]:
        # What is imported at the top level of a module runs with it.
        for source in (source for found in module.imports.values() for source in found):
            reader.imports_module(source)
        reader.found.uses += [(module.name, one) for one in reader.noted()]
        for star in module.stars:
            reader.imports_module((star, "*"))
        if module.compiled:
            reader.found.tokens.append(repr(module.compiled))
    return reader.found


def told(modules: Modules, key: Key, depth: int) -> frozenset[int | str]:
    """The parameters of a function that are used in messages alone: their positions and names."""
    if (key, depth) not in modules.told:
        found: set[int | str] = set()
        module = modules.get(key[0])
        match module and module.bound.get(key[1]):
            case [ast.FunctionDef() as node]:
                assert module is not None
                reader = _Reader(modules, module, depth)
                reader.visit(node)
                found |= {one.arg for one in arguments_of(node.args)} - reader.outside
                positional = enumerate((*node.args.posonlyargs, *node.args.args))
                found |= {at for at, one in positional if one.arg in found}
        modules.told[key, depth] = frozenset(found)
    return modules.told[key, depth]


class _Reader(Syntax):
    """Reads what texts compute, but not their wording, where they become messages."""

    def __init__(self, modules: Modules, module: Module, depth: int = DEPTH) -> None:
        super().__init__(modules, module)
        self.depth = depth
        self._told_locals: list[set[str]] = []

    def _body(self, node: Function, scope: Scope) -> None:
        self._told_locals.append(self._only_told(node, scope))
        super()._body(node, scope)
        self._told_locals.pop()

    def _only_told(self, node: Function, scope: Scope) -> set[str]:
        """The local names that hold only texts for messages."""
        if not self.depth or not scope.texts:
            return set()
        raised = (name for statement in scope.raised for name in ast.walk(statement))
        candidates = scope.texts & {name.id for name in raised if isinstance(name, ast.Name)}
        if candidates:
            reader = _Reader(self.modules, self.module, 0)
            reader.visit(node)
            candidates -= reader.outside
        return candidates

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        told_here = self._told_locals[-1] if self._told_locals else ()
        if isinstance(target, ast.Name) and target.id in told_here:
            self._words(node.value)
        else:
            self._plainly(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.found.tokens.append("Raise")
        if isinstance(node.exc, ast.Call):
            self._call(node.exc, is_message=True)
        elif node.exc is not None:
            self.visit(node.exc)
        self._all([node.cause] if node.cause is not None else [])

    def visit_Assert(self, node: ast.Assert) -> None:
        self.found.tokens.append("Assert")
        self.visit(node.test)
        if node.msg is not None:
            self._words(node.msg)

    def visit_Call(self, node: ast.Call) -> None:
        self._call(node, is_message=self._tells(node.func))

    def _call(self, node: ast.Call, *, is_message: bool) -> None:
        """A call, whose arguments are all words if it `is_message`."""
        words = self._told_by(node) if not is_message else frozenset()
        self.found.tokens.append("Call")
        self.visit(node.func)
        for at, argument in enumerate(node.args):
            (self._words if is_message or at in words else self.visit)(argument)
        self.found.tokens.append(";")
        for keyword in node.keywords:
            self.found.tokens.append(str(keyword.arg))
            is_told = is_message or keyword.arg in words
            (self._words if is_told else self.visit)(keyword.value)
        self.found.tokens.append(";")

    def _told_by(self, node: ast.Call) -> frozenset[int | str]:
        """Which parameters of what is called are words, by position and name."""
        targets, rest = self.resolve(node.func)
        names = _full_names(targets, rest)
        if "importlib.import_module" in names and node.args:
            # `importlib.import_module("mine.tools")`: the module as an object.
            name = getattr(node.args[0], "value", None)
            if isinstance(name, str) and self.modules.is_own(name, self.module.name):
                self._use_module(name)
        given = (*node.args, *(keyword.value for keyword in node.keywords))
        may_tell = self.depth and any(isinstance(one, (*TEXTS, ast.Name)) for one in given)
        if may_tell and not rest and len(targets) == 1 and isinstance(target := targets[0], Own):
            return told(self.modules, (target.module, target.name), self.depth - 1)
        return frozenset(word for name in names for word in KEYWORDS.get(name, ()))

    def _words(self, node: ast.AST) -> None:
        """An expression that is a text: what it computes, without its wording."""
        parts: Sequence[ast.AST | None] = ()
        match node:
            case ast.Constant(value=str() | bytes()):
                pass
            case ast.Name(id=name) if not self.lookup(name):
                self.found.tokens.append(name)  # an exception may carry more than text
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                self._generated(node.generators, lambda: self._words(element))
            case ast.JoinedStr(values=values) | ast.BoolOp(values=values):
                parts = values
            case ast.FormattedValue():
                parts = (node.value, node.format_spec)
            case ast.BinOp(op=ast.Add() | ast.Mod()):
                parts = (node.left, node.right)
            case ast.IfExp():
                self.visit(node.test)
                parts = (node.body, node.orelse)
            case ast.Call(func=ast.Attribute(value=ast.Constant() | ast.JoinedStr() as text)):
                # "...".join(...) and "...".format(...)
                parts = (text, *node.args, *(keyword.value for keyword in node.keywords))
            case _:
                self.visit(node)
        for part in parts:
            if part is not None:
                self._words(part)

    def _tells(self, function: ast.expr) -> bool:
        """Whether what `function` is called with are words: of an exception, a log, a console."""
        targets, rest = self.resolve(function)
        own = [one for one in targets if isinstance(one, Own)]
        if any(name in TOLD or name.endswith(_ERRORS) for name in _full_names(targets, rest)):
            return True
        if not rest and any(self._is_own_exception(one) for one in own):
            return True
        if isinstance(function, ast.Name):
            unknown = not targets and not self.is_local(function.id)
            return unknown and _is_exception(function.id)
        return isinstance(function, ast.Attribute) and self._is_log(function)

    def _is_own_exception(self, target: Own) -> bool:
        return any(map(_is_exception, ancestors(self.modules, (target.module, target.name))))

    def _is_log(self, method: ast.Attribute) -> bool:
        """Whether a method is one of the module's logger, or prints on a console."""
        if method.attr == "print":
            return "console" in ast.unparse(method.value).lower()
        if method.attr not in LEVELS:
            return False
        targets, rest = self.resolve(method.value)
        return not rest and any(self._is_logger(one) for one in targets if isinstance(one, Own))

    def _is_logger(self, target: Own) -> bool:
        module = self.modules.get(target.module)
        values = (getattr(node, "value", None)
                  for node in (module.bound.get(target.name, []) if module else []))  # fmt: skip
        return any(isinstance(value, ast.Call) and "getLogger" in ast.unparse(value.func)
                   for value in values)  # fmt: skip


def _full_names(targets: Sequence[Target], rest: Sequence[str]) -> list[str]:
    """The names of what is a library's."""
    return [".".join([one.name, *rest]) for one in targets if isinstance(one, Library)]


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)
