"""What `frcore heads` and `frcore samplers` show in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from frcore.components.description import Component, Parameter, allowed, citation, value_text

WIDE = 110
"""Columns of text from which on the overview has room for the papers."""


def overview(components: Sequence[Component], console: Console) -> None:
    """One row per component: name, parameters with defaults, what it is."""
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", ratio=3)
    if wide:
        table.add_column("paper", ratio=3)
    table.add_column("what it is", ratio=5)
    for item in components:
        parameters = ", ".join(
            f"{key}={value_text(value['default'])}" if "default" in value else key
            for key, value in item["parameters"].items()
        )
        paper = [escape(citation(item["source"]))] if wide else []
        name = f"[bold]{escape(item['name'])}[/]"
        table.add_row(name, escape(parameters), *paper, escape(item["summary"]))
    console.print(table)


def details(component: Component, console: Console) -> None:
    """One component in full: formula, paper, and what each parameter means."""
    console.print(f"[bold]{escape(component['name'])}[/]  {escape(component['summary'])}")
    if component["formula"]:
        console.print(f"  z_y = {escape(component['formula']['target'])}")
        console.print(f"  z_k = {escape(component['formula']['negative'])}")
    if component["source"]:
        source = component["source"]
        facts = (citation(source), source["url"], source["code"])
        console.print(f"  {escape(', '.join(filter(None, facts)))}")
    if component["parameters"]:
        console.print(Padding(_parameters(component["parameters"]), (1, 0, 0, 2)))
    if any(value["dialect"] for value in component["parameters"].values()):
        console.print("  * published codes of this name differ here")


def _parameters(parameters: dict[str, Parameter]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("parameter", "default"):
        table.add_column(heading, no_wrap=True)
    table.add_column("allowed", ratio=2)
    table.add_column("meaning", ratio=5)
    for key, value in parameters.items():
        table.add_row(
            f"[bold]{escape(key)}[/]{'*' if value['dialect'] else ''}",
            escape(value_text(value["default"])) if "default" in value else "required",
            escape(allowed(value)),
            escape(value["description"]),
        )
    return table
