"""Named components (heads, samplers, backbones): found, checked and built by name.

A catalogue maps a name to the location of a class, so that listing names imports nothing heavy. A
user-defined class is named `package.module:Class`. The constructor's signature is the single
source of a component's parameters: their types (also `Literal` and `Annotated[..., Field(ge=0)]`)
are checked here with pydantic before anything runs. `frcore heads --json` lists them.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pydantic

from frcore.components.exact_numbers import ExactNumbers
from frcore.errors import UserError, unknown_name

if TYPE_CHECKING:
    from frcore.components.description import Component

T = TypeVar("T")


class _Parameters(ExactNumbers):
    model_config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def at_place(place: str) -> Any:
    """The object at "package.module:name", imported now.

    What a study chooses is named by its location: its code then counts only for the jobs that chose
    it (see `frcore.provenance.stages`).
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


class Catalogue(dict[str, str], Generic[T]):
    """Names of one kind of component, each with the `module:Class` that implements it.

    Args:
        kind: the word used in error messages, for example "head".
        places: name -> "module:Class".
        context: constructor parameters that the harness supplies, never the user.
        base: "module:Class" that every component must derive from; "" = anything.
    """

    def __init__(
        self, kind: str, places: Mapping[str, str], *, context: tuple[str, ...] = (), base: str = ""
    ) -> None:
        super().__init__(places)
        self.kind, self.context, self.base = kind, context, base

    def load(self, name: str) -> type[T]:
        """The class behind `name`, which is a catalogue name or `package.module:Class`."""
        place = self.get(name, name if ":" in name else "")
        if not place:
            raise unknown_name(self.kind, name, self)
        found = self._import(name, place)
        if self.base and name not in self:
            base = self._import(name, self.base)
            if not (inspect.isclass(found) and issubclass(found, base)):
                raise UserError(
                    f"{self.kind} '{name}': not a class derived from "
                    f"{self.base.replace(':', '.')}; derive it, see docs/extend.md"
                )
        return found

    def _import(self, name: str, place: str) -> Any:
        module_name, _, class_name = place.partition(":")
        if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
            raise UserError(f"{self.kind} '{name}': not a place; write it as package.module:Class")
        try:
            return at_place(place)
        except ModuleNotFoundError as error:
            # A missing dependency inside the module is not a misspelt module name.
            if error.name and not module_name.startswith(error.name):
                raise
            raise UserError(
                f"{self.kind} '{name}': no module '{module_name}' on the import path; "
                "install it or add its folder to PYTHONPATH"
            ) from error
        except AttributeError as error:
            raise UserError(
                f"{self.kind} '{name}': module '{module_name}' has no '{class_name}'"
            ) from error

    def schema(self, name: str) -> type[pydantic.BaseModel]:
        """A pydantic model of the parameters that a user may give to `name`."""
        constructor = self.load(name).__init__
        try:
            hints = typing.get_type_hints(constructor, include_extras=True)
        except NameError as error:
            raise UserError(
                f"{self.kind} '{name}': {error}; import the types of its parameters at run time, "
                "not under TYPE_CHECKING: they are checked"
            ) from error
        fields: dict[str, Any] = {}
        for key, given in inspect.signature(constructor).parameters.items():
            variadic = given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD)
            if not variadic and key not in ("self", *self.context):
                default = ... if given.default is given.empty else given.default
                fields[key] = (hints.get(key, Any), default)
        return pydantic.create_model(f"{name} parameters", __base__=_Parameters, **fields)

    def check(self, name: str, parameters: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
        """The parameters in their declared types (`1` as 1.0 for a float); `UserError` if wrong."""
        if name not in self and ":" not in name:
            raise unknown_name(self.kind, name, self, where=where)
        schema = self.schema(name)
        for key in parameters:
            if key not in schema.model_fields:
                raise unknown_name(
                    f"parameter of {self.kind} '{name}'", key, schema.model_fields, where=where
                )
        try:
            checked = schema(**parameters)
        except pydantic.ValidationError as error:
            problems = "; ".join(
                ".".join(map(str, item["loc"]))
                + (" is required" if item["type"] == "missing"
                   else f" = {item['input']!r}: {item['msg']}")
                for item in error.errors()
            )  # fmt: skip
            place = where or f"{self.kind} '{name}'"
            raise UserError(f"{place}: {problems}") from error
        return {key: getattr(checked, key) for key in parameters}

    def build(self, name: str, **arguments: Any) -> T:
        """Check the user's parameters among `arguments`, then construct `name`."""
        given = {key: value for key, value in arguments.items() if key not in self.context}
        supplied = {key: value for key, value in arguments.items() if key in self.context}
        checked = self.check(name, given)
        component = self.load(name)
        try:
            inspect.signature(component).bind(**supplied, **checked)
        except TypeError as error:
            raise UserError(
                f"{self.kind} '{name}': {error}; its constructor must take what the harness "
                f"supplies ({', '.join(self.context) or 'nothing'}) and what the user gives"
            ) from error
        return component(**supplied, **checked)

    def take(self, part: Any, *, place: str = "", **context: Any) -> T:
        """A component that is one, or what its name or a mapping with name and parameters builds.

        Args:
            part: it.
            place: what an error calls it; by default the kind.
            context: what the harness supplies.

        Raises:
            UserError: it is none of these, or cannot be built.
        """
        if isinstance(part, self._import(self.kind, self.base)):
            return typing.cast(T, part)
        if isinstance(part, str):
            part = {"name": part}
        if not isinstance(part, Mapping) or "name" not in part:
            raise UserError(
                f"{place or self.kind} = {part!r} has no name; give a {self.kind}, its name, or a "
                "mapping of name and parameters, such as {name: NAME, PARAMETER: VALUE}"
            )
        return self.build(**context, **part)

    def properties(self, name: str) -> dict[str, dict[str, Any]]:
        """JSON Schema of each parameter that a user may give to `name`."""
        # Here, so that building a component needs no parser of docstrings.
        from frcore.components.description import properties

        return properties(self.load(name), self.schema(name))

    def describe(self, *names: str) -> list[Component]:
        """Source, formula, parameters and texts of the components `names`; of all without any.

        A name may also be `package.module:Class`.
        """
        from frcore.components.description import describe

        return [
            describe(name, self.get(name, name), self.load(name), self.schema(name))
            for name in names or self
        ]
