"""What all HTML pages share: style, script, templates."""

from __future__ import annotations

import base64
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from frcore.reporting.tables import escape
from frcore.reporting.tables.latex import to_latex
from frcore.study.parts import Backbone, Component


def asset(name: str) -> Markup:
    """The style sheet or the script that ships with the package."""
    return Markup(files("frcore.reporting").joinpath("static", name).read_text(encoding="utf-8"))


def template(name: str) -> jinja2.Template:
    """A page's template; all text is escaped and an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("frcore.reporting"),
        autoescape=True,
        finalize=escape.html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "latex": to_latex}
    return environment.get_template(name)


def data_uri(text: str, kind: str) -> str:
    """A text file as a `data:` URI."""
    encoded = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return f"data:{kind};charset=utf-8;base64,{encoded}"


def described(component: Component) -> str:
    """A head, sampler or backbone with its settings, for display.

    >>> described(Component(name="arcface", label="arc03", margin=0.3))
    'arc03 = arcface (margin 0.3)'
    """
    given = component.parameters
    if isinstance(component, Backbone) and component.weights is not None:
        # The file's place is this machine's; its sha256 says which file it was.
        given["weights"] = (
            f"{Path(component.weights).name} (sha256 {(component.sha256 or '')[:12]})"
        )
    if isinstance(component, Backbone) and component.freeze:
        given["frozen"] = " and ".join(component.freeze)
    settings = ", ".join(f"{key} {value}" for key, value in given.items())
    text = component.label + ("" if component.label == component.name else f" = {component.name}")
    return f"{text} ({settings})" if settings else text
