"""What a definition means, as text: its syntax without what cannot change a result.

Left out are comments, layout, docstrings, citations, annotations that nobody evaluates, the words
of messages, its own import statements, and the places of catalogues. A name that comes from
elsewhere stands under the name that it has there, so that it may be imported in any way.
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
from frcore.provenance.names import TEXTS, Names, Scope, arguments_of, bases, targets_of
from frcore.provenance.words import KEYWORDS, full_names, tells, visit_words

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
"""Decorators that do not look at annotations."""

ANY_NAME = frozenset({"globals", "vars", "eval", "exec", "locals"})
"""Builtins that reach names which are not written down."""

DEPTH = 2
"""Through how many functions a text is followed to where it becomes a message."""


@dataclass
class Meaning:
    """A definition as text, and what it needs.

    Attributes:
        tokens: its syntax.
        uses: the own definitions it names, in their order.
        imports: own modules that are imported with it.
        lines: of its source.
    """

    tokens: list[str] = field(default_factory=list)
    uses: list[Key] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    lines: int = 0


class Meanings:
    """The meanings of the definitions of `modules`."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self._told: dict[tuple[Key, int], frozenset[str]] = {}

    def read(self, key: Key) -> Meaning:
        """The meaning of a definition, or of what a module does when it is imported."""
        module = self.modules.get(key[0])
        assert module is not None, f"{key[0]} was found before"
        reader = _Reader(self, module)
        statements = module.bound.get(key[1], []) if key[1] else module.loose
        for node in statements:
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
        reader.found.lines = sum((node.end_lineno or 0) - node.lineno + 1 for node in statements)
        return reader.found

    def signature(self, key: Key) -> list[str]:
        """The names of the positional parameters of a function."""
        function = self._function(key)
        if function is None:
            return []
        return [one.arg for one in (*function.args.posonlyargs, *function.args.args)]

    def told(self, key: Key, depth: int) -> frozenset[str]:
        """The parameters of a function that are used in messages alone."""
        if (key, depth) not in self._told:
            function, module = self._function(key), self.modules.get(key[0])
            names: set[str] = set()
            if function is not None and module is not None:
                names = {one.arg for one in arguments_of(function.args)}
                names -= _Reader(self, module, depth).names_outside_messages(function)
            self._told[key, depth] = frozenset(names)
        return self._told[key, depth]

    def _function(self, key: Key) -> ast.FunctionDef | None:
        module = self.modules.get(key[0])
        nodes = module.bound.get(key[1], []) if module else []
        node = nodes[0] if len(nodes) == 1 else None
        return node if isinstance(node, ast.FunctionDef) else None


class _Reader(Names):
    """Reads statements of one module into a `Meaning`."""

    def __init__(self, meanings: Meanings, module: Module, depth: int = DEPTH) -> None:
        super().__init__(meanings.modules, module)
        self.meanings, self.depth = meanings, depth
        self.found = Meaning()
        self._outside: set[str] = set()
        self._told_locals: list[set[str]] = []
        self._special: dict[type[ast.AST], Callable[..., None]] = {
            ast.Import: self._import, ast.ImportFrom: self._import, ast.Expr: self._expression,
            ast.Name: self._name, ast.Attribute: self._name, ast.Constant: self._constant,
            ast.FunctionDef: self._function, ast.AsyncFunctionDef: self._function,
            ast.Lambda: self._lambda, ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension, ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._comprehension, ast.ClassDef: self._class,
            ast.Assign: self._assign, ast.AnnAssign: self._annotated, ast.Dict: self._dict,
            ast.Raise: self._raise, ast.Assert: self._assert, ast.Call: self._call,
            ast.If: self._if,
        }  # fmt: skip

    def noted(self) -> list[str]:
        """Definitions that a decorator of own code takes note of when the module is imported."""
        return [node.name for node in self.module.decorated if self._is_noted(node)]

    def _is_noted(self, node: Definition) -> bool:
        names = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
        return any(isinstance(target, Own) for name in names for target in self.resolve(name)[0])

    def names_outside_messages(self, node: ast.AST) -> set[str]:
        """The names of values that `node` uses for more than to tell them."""
        self.visit(node)
        return self._outside

    def visit(self, node: ast.AST) -> None:
        """Add what `node` means."""
        special = self._special.get(type(node))
        if special is not None:
            special(node)
        else:
            self._plainly(node)

    def _all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)
        self.found.tokens.append(";")

    def _plainly(self, node: ast.AST) -> None:
        """As it stands: the kind of node, and its parts in their order."""
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

    def _name(self, node: ast.Name | ast.Attribute) -> None:
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
                self._outside.add(node.id)
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
        """A module as an object: nobody can say which of its names are taken."""
        module = self.modules.get(name)
        if module is None:
            return
        self.found.imports.add(name)
        self.found.uses += [(name, bound) for bound in sorted(module.bound)]
        for star in module.stars:
            if self.modules.is_own(star, name):
                self._use_module(star)

    # --- statements that are not what they look like ---

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """What is run by an import; what it binds is known already."""
        for _, source in imported(node, self.module.name, self.module.is_package):
            self.imports_module(source)
        for alias in node.names if isinstance(node, ast.Import) else ():
            self.imports_module((alias.name, ""))

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

    def _expression(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self._plainly(node)

    def _if(self, node: ast.If) -> None:
        if is_for_type_checkers(node):
            self._all(node.orelse)
        else:
            self._plainly(node)

    def _assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if (
            isinstance(target, ast.Name)
            and self._told_locals
            and target.id in self._told_locals[-1]
        ):
            self._words(node.value)
        else:
            self._plainly(node)

    def _annotated(self, node: ast.AnnAssign) -> None:
        """As `_assign`: outside of classes the annotation is for type checkers."""
        if node.value is not None:
            self.visit(ast.Assign(targets=[node.target], value=node.value))

    def _class(self, node: ast.ClassDef) -> None:
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

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.found.tokens.append(f"{type(node).__name__} {node.name}")
        self._all(node.decorator_list)
        # A constructor's are the parameters of a component: see `frcore.components.catalogue`.
        is_read = node.name == "__init__" or not all(map(_leaves_unread, node.decorator_list))
        self._arguments(node.args, is_read=is_read)
        if is_read and node.returns is not None:
            self.visit(node.returns)
        scope = Scope(node.body)
        self._told_locals.append(self._only_told(node, scope))
        with self.inside(scope.names | {one.arg for one in arguments_of(node.args)}, scope.imports):
            self._all(node.body)
        self._told_locals.pop()

    def _only_told(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> set[str]:
        """The local names that hold texts for messages and nothing else."""
        if not self.depth or not scope.texts:
            return set()
        raised = {
            name.id
            for statement in scope.raised
            for name in ast.walk(statement)
            if isinstance(name, ast.Name)
        }
        candidates = scope.texts & raised
        if not candidates:
            return set()
        reader = _Reader(self.meanings, self.module, 0)
        return candidates - reader.names_outside_messages(node)

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

    def _lambda(self, node: ast.Lambda) -> None:
        self.found.tokens.append("Lambda")
        self._arguments(node.args, is_read=False)
        with self.inside({one.arg for one in arguments_of(node.args)}):
            self.visit(node.body)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> None:
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self.found.tokens.append(type(node).__name__)
        self._generated(node.generators, lambda: self._all(parts))

    def _generated(self, generators: Sequence[ast.comprehension], then: Callable[[], None]) -> None:
        # The first iterable is read outside, where names are others.
        self.visit(generators[0].iter)
        with self.inside(targets_of(generators)):
            self._all([generators[0].target, *generators[0].ifs])
            self._all(generators[1:])
            then()

    def _constant(self, node: ast.Constant) -> None:
        module, _, name = self._own_place(node).partition(":")
        if not module:
            self.found.tokens.append(repr(node.value))
            return
        # Imported by its place, which may change as any other.
        self.found.imports.add(module)
        self.found.tokens.append("place")
        for target in self.modules.attribute(module, name) or (Own(module),):
            self._target(target)

    def _dict(self, node: ast.Dict) -> None:
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

    # --- messages ---

    def _raise(self, node: ast.Raise) -> None:
        self.found.tokens.append("Raise")
        if isinstance(node.exc, ast.Call):
            self._telling(node.exc)
        elif node.exc is not None:
            self.visit(node.exc)
        self._all([node.cause] if node.cause is not None else [])

    def _assert(self, node: ast.Assert) -> None:
        self.found.tokens.append("Assert")
        self.visit(node.test)
        if node.msg is not None:
            self._words(node.msg)

    def _telling(self, node: ast.Call) -> None:
        """A call whose arguments are words."""
        self.found.tokens.append("Call")
        self.visit(node.func)
        for argument in node.args:
            self._words(argument)
        for keyword in node.keywords:
            self.found.tokens.append(str(keyword.arg))
            self._words(keyword.value)
        self.found.tokens.append(";")

    def _call(self, node: ast.Call) -> None:
        if tells(self, node.func):
            self._telling(node)
            return
        self._dynamic_import(node)
        positions, words = self._told_by(node)
        self.found.tokens.append("Call")
        self.visit(node.func)
        for at, argument in enumerate(node.args):
            is_told = at < len(positions) and positions[at] in words
            (self._words if is_told else self.visit)(argument)
        self.found.tokens.append(";")
        for keyword in node.keywords:
            self.found.tokens.append(str(keyword.arg))
            (self._words if keyword.arg in words else self.visit)(keyword.value)
        self.found.tokens.append(";")

    def _dynamic_import(self, node: ast.Call) -> None:
        """`importlib.import_module("mine.tools")`: the module as an object."""
        names = full_names(*self.resolve(node.func))
        if "importlib.import_module" not in names or not node.args:
            return
        name = getattr(node.args[0], "value", None)
        if isinstance(name, str) and self.modules.is_own(name, self.module.name):
            self._use_module(name)

    def _told_by(self, node: ast.Call) -> tuple[list[str], set[str]]:
        """The parameters of what is called by position, and which of them are words."""
        targets, rest = self.resolve(node.func)
        words = {word for name in full_names(targets, rest) for word in KEYWORDS.get(name, ())}
        given = (*node.args, *(keyword.value for keyword in node.keywords))
        if (
            self.depth
            and not rest
            and len(targets) == 1
            and isinstance(target := targets[0], Own)
            and any(isinstance(argument, (*TEXTS, ast.Name)) for argument in given)
        ):
            key = (target.module, target.name)
            return self.meanings.signature(key), words | self.meanings.told(key, self.depth - 1)
        return [], words

    def _words(self, node: ast.AST) -> None:
        """An expression that is a text: what it computes, without what it says."""
        if isinstance(node, ast.Name) and not self.lookup(node.id):
            self.found.tokens.append(node.id)  # an exception may carry more than words
        elif isinstance(node, ast.GeneratorExp | ast.ListComp):
            self._generated(node.generators, lambda: self._words(node.elt))
        else:
            visit_words(node, self.visit, self._words)


def _leaves_unread(decorator: ast.expr) -> bool:
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(name).rpartition(".")[2] in UNREAD


def _is_citation(node: ast.stmt) -> bool:
    """Whether a line of a head or sampler only documents it: see `frcore.heads.base.Head`."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return bool(names) and names <= CITATIONS
