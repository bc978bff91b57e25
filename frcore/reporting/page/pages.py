"""What every HTML page of ours is made with."""

from __future__ import annotations

from importlib.resources import files

import jinja2

from frcore.reporting.tables import escape
from frcore.study.parts import Component


def asset(folder: str, name: str) -> str:
    """A text file that comes with the package: a template, the style sheet, the script."""
    return files("frcore.reporting").joinpath(folder, name).read_text(encoding="utf-8")


def template(name: str) -> jinja2.Template:
    """A page's template, in which all text is escaped and a missing name is an error."""
    environment = jinja2.Environment(
        autoescape=True,
        finalize=escape.html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(asset("templates", name))


def described(component: Component) -> str:
    """A head, sampler or backbone with its settings, for people.

    >>> described(Component(name="arcface", label="arc03", margin=0.3))
    'arc03 = arcface (margin 0.3)'
    """
    settings = ", ".join(f"{key} {value}" for key, value in component.parameters.items())
    text = component.label + ("" if component.label == component.name else f" = {component.name}")
    return f"{text} ({settings})" if settings else text
