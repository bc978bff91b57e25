"""What is said to a person: texts in code that do not change what it computes."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence

from frcore.provenance.modules import Library, Own, Target
from frcore.provenance.names import Names, ancestors

LEVELS = frozenset(("debug", "info", "warning", "error", "exception", "critical", "log"))
TOLD = frozenset(("warnings.warn", "typer.echo", "typer.secho", "click.echo", "sys.exit",
                  *(f"logging.{level}" for level in LEVELS)))  # fmt: skip
"""Functions of libraries whose arguments are words."""

KEYWORDS = {"pydantic.Field": {"title", "description"}, "typer.Option": {"help"},
            "typer.Argument": {"help"}, "typer.Typer": {"help"}}  # fmt: skip
"""Keywords of functions of libraries that are words."""

_ERRORS = ("Error", "Exception", "Warning", "BadParameter", "Exit")


def full_names(targets: Sequence[Target], rest: Sequence[str]) -> list[str]:
    """The names of what is a library's."""
    return [".".join([one.name, *rest]) for one in targets if isinstance(one, Library)]


def tells(names: Names, function: ast.expr) -> bool:
    """Whether what `function` is called with are words: of an exception, a log, a console."""
    targets, rest = names.resolve(function)
    return (
        any(name in TOLD or name.endswith(_ERRORS) for name in full_names(targets, rest))
        or any(_is_own_exception(names, one) for one in targets if not rest)
        or (isinstance(function, ast.Name) and not targets and not names.is_local(function.id)
            and _is_exception(function.id))
        or (isinstance(function, ast.Attribute) and _is_log(names, function))
    )  # fmt: skip


def _is_own_exception(names: Names, target: Target) -> bool:
    if isinstance(target, Library):
        return False
    return any(map(_is_exception, ancestors(names.modules, (target.module, target.name))))


def _is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def _is_log(names: Names, method: ast.Attribute) -> bool:
    """Whether a method is one of the module's logger, or prints on a console."""
    if method.attr == "print":
        return "console" in ast.unparse(method.value).lower()
    if method.attr not in LEVELS:
        return False
    targets, rest = names.resolve(method.value)
    return not rest and any(_is_logger(names, one) for one in targets if isinstance(one, Own))


def _is_logger(names: Names, target: Own) -> bool:
    module = names.modules.get(target.module)
    for node in module.bound.get(target.name, []) if module else []:
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and "getLogger" in ast.unparse(value.func):
            return True
    return False


def visit_words(
    node: ast.AST, visit: Callable[[ast.AST], None], words: Callable[[ast.AST], None]
) -> None:
    """Visit what an expression that is a text computes, and not what it says.

    Args:
        node: the expression.
        visit: for a part that is no text.
        words: for a part that is a text again.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return
    if isinstance(node, ast.JoinedStr | ast.BoolOp):
        for part in node.values:
            words(part)
    elif isinstance(node, ast.FormattedValue):
        words(node.value)
        if node.format_spec is not None:
            words(node.format_spec)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        words(node.left)
        words(node.right)
    elif isinstance(node, ast.IfExp):
        visit(node.test)
        words(node.body)
        words(node.orelse)
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Constant | ast.JoinedStr)
    ):
        # "...".join(...) and "...".format(...)
        words(node.func.value)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            words(argument)
    else:
        visit(node)
