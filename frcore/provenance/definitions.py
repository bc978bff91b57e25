"""What a definition means: its syntax without the words of messages, which change no result.

A text is followed into the functions and local names that make a message of it.
"""

from __future__ import annotations

import ast

from frcore.provenance.modules import Key, Module, Modules, Own
from frcore.provenance.names import TEXTS, Scope, arguments_of
from frcore.provenance.syntax import Function, Meaning, Syntax
from frcore.provenance.words import KEYWORDS, full_names, tells, visit_words

DEPTH = 2
"""Through how many functions a text is followed to where it becomes a message."""


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


class _Reader(Syntax):
    """Reads what texts compute, and not what they say, where they become messages."""

    def __init__(self, meanings: Meanings, module: Module, depth: int = DEPTH) -> None:
        super().__init__(meanings.modules, module)
        self.meanings, self.depth = meanings, depth
        self._told_locals: list[set[str]] = []

    def names_outside_messages(self, node: ast.AST) -> set[str]:
        """The names of values that `node` uses for more than to tell them."""
        self.visit(node)
        return self.outside

    def _body(self, node: Function, scope: Scope) -> None:
        self._told_locals.append(self._only_told(node, scope))
        super()._body(node, scope)
        self._told_locals.pop()

    def _only_told(self, node: Function, scope: Scope) -> set[str]:
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

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if (
            isinstance(target, ast.Name)
            and self._told_locals
            and target.id in self._told_locals[-1]
        ):
            self._words(node.value)
        else:
            self._plainly(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.found.tokens.append("Raise")
        if isinstance(node.exc, ast.Call):
            self._telling(node.exc)
        elif node.exc is not None:
            self.visit(node.exc)
        self._all([node.cause] if node.cause is not None else [])

    def visit_Assert(self, node: ast.Assert) -> None:
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

    def visit_Call(self, node: ast.Call) -> None:
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
