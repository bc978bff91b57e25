"""The files of a comparison, and its terminal output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from frcore.comparison.spec import ComparisonSpec
from frcore.comparison.tables import cost_table, forest, numbers_table, sentences, title
from frcore.files import write_text
from frcore.records.comparison import ComparisonRecord
from frcore.reporting.figures.canvas import look, save
from frcore.reporting.figures.inlined import dark_variables, inline
from frcore.reporting.page.pages import asset, described, template
from frcore.reporting.tables import escape
from frcore.reporting.tables.table import Table, to_markdown
from frcore.reporting.tables.terminal import drawn
from frcore.study.parts import Component

STYLES = {
    "regression": "bold red", "too slow": "bold red", "lower": "yellow", "slower": "yellow",
    "better": "green", "faster": "green", "within tolerance": "green",
}  # fmt: skip


def write(comparison: ComparisonRecord, spec: ComparisonSpec, root: Path) -> None:
    """Write JSON, Markdown, figure and page; the JSON last, as the exit code is read from it."""
    place = spec.file(root, "svg")
    place.parent.mkdir(parents=True, exist_ok=True)
    with look():
        svg = save(forest(comparison, spec), place)
    write_text(spec.file(root, "md"), markdown(comparison, spec))
    write_text(spec.file(root, "html"), page(comparison, spec, svg))
    comparison.write(spec.file(root, "json"))


def tables(comparison: ComparisonRecord, spec: ComparisonSpec) -> list[Table]:
    """Accuracy, and speed if measured."""
    found = [numbers_table(comparison, spec)]
    return found + ([cost_table(comparison, spec)] if comparison.costs else [])


def markdown(comparison: ComparisonRecord, spec: ComparisonSpec) -> str:
    """For a pull request or a job's summary."""
    parts = [f"## {escape.markdown(title(comparison, spec))}"]
    parts += [escape.markdown(sentence) for sentence in sentences(comparison, spec)]
    parts += [to_markdown(table) for table in tables(comparison, spec)]
    for heading, lines in _lists(comparison).items():
        parts.append(
            f"**{heading}**\n\n" + "\n".join(f"- {escape.markdown(line)}" for line in lines)
        )
    return "\n\n".join(parts) + "\n"


def _lists(comparison: ComparisonRecord) -> dict[str, list[str]]:
    """The lists to show besides the tables."""
    found = {
        "Why it failed": comparison.failures,
        "Not compared": comparison.gaps,
        "What differs besides the head": comparison.conditions,
    }
    return {heading: lines for heading, lines in found.items() if lines}


def page(comparison: ComparisonRecord, spec: ComparisonSpec, svg: str) -> str:
    """A single HTML file without scripts that needs no network."""
    heading = title(comparison, spec)
    context: dict[str, Any] = {
        "study": spec.study,
        "title": heading,
        "answer": sentences(comparison, spec),
        "figure": inline(svg, "forest", f"Differences with intervals; {heading}"),
        "tables": tables(comparison, spec),
        "lists": _lists(comparison),
        "facts": _facts(comparison, spec),
        "style": asset("report.css"),
        "dark": Markup(dark_variables([svg])),
    }
    return template("comparison.html.j2").render(context)


def _facts(comparison: ComparisonRecord, spec: ComparisonSpec) -> dict[str, str]:
    """What was compared, and by which rule."""
    rule = spec.rule
    facts = {
        side.capitalize(): described(Component.model_validate(head))
        for side in ("candidate", "baseline")
        if (head := getattr(comparison, side))
    }
    facts |= {"Kept rows": spec.against} if spec.against else {}
    commit = comparison.environment and comparison.environment.commit
    slow = "not limited" if rule.max_slowdown is None else f"at most {rule.max_slowdown:g} times"
    return {
        **facts,
        "Study": f"{spec.study.name}, seeds {', '.join(map(str, spec.study.seeds))}",
        "Tolerance": f"{rule.tolerance:g} points{', strict' if rule.strict else ''}",
        "Time of a step": slow,
        "Numbers that count": ", ".join(rule.metrics) or "all",
        "Compared with": f"frcore at commit {commit or 'unknown'}",
    }


def render(comparison: ComparisonRecord, spec: ComparisonSpec, console: Console) -> None:
    """The answer and the tables in a terminal."""
    colour = {"passed": "green", "failed": "red", "incomplete": "yellow"}[comparison.outcome]
    console.print(Text(title(comparison, spec), style=f"bold {colour}"))
    for table in tables(comparison, spec):
        console.print(drawn(table, STYLES))
        for note in table.notes if table.name == "comparison_cost" else ():
            console.print(Text(note, style="dim"))
    for line in sentences(comparison, spec):
        console.print(Text(line))
    for heading, lines in _lists(comparison).items():
        console.print(Text(f"{heading}:", style="bold"))
        for line in lines:
            console.print(Text(f"  {line}"))
