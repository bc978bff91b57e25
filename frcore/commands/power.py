"""Which differences can a study see?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from frcore.commands.options import ConfigOption, JsonOption, StudyOption, print_json, table_console


def power(
    study: StudyOption = None,
    root: Annotated[
        Path | None, Option(help="Where results are; alone: those of any study, results/NAME.")
    ] = None,
    pilot: Annotated[
        Path | None,
        Option(
            help="Results of another study, results/NAME, or rows kept of it, whose noise is taken "
            "for that of this one: its plan, before anything has run."
        ),
    ] = None,
    seeds: Annotated[int | None, Option(min=1, help="If there were so many seeds.")] = None,
    people: Annotated[
        int | None, Option(min=10, help="If there were so many test people, with as many pairs.")
    ] = None,
    pairs: Annotated[
        float | None, Option(min=0.01, help="If each person had so many times the pairs.")
    ] = None,
    metric: Annotated[
        list[str] | None, Option(help="The number, or `all`; repeatable; default: the main ones.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where a study's noise comes from, which difference it finds, and what would halve that.

    From the scores of evaluated runs. Before a study has results it needs a pilot.

    Example: frcore power --study config/quick.yaml
    """
    from frcore.commands import arguments
    from frcore.reporting.tables.power import power_table, sentence
    from frcore.results.planned_power import Design, powers_of

    given, asked = None, Design(seeds=seeds, people=people, pairs=pairs)
    if study is not None:
        workflow = arguments.workflow(study, config)
        given, root = workflow.study, root or workflow.root
    found = powers_of(given, root, pilot, metric or (), asked)
    table = power_table(found)
    if as_json:
        print_json(table.data.to_dict("records"))
        return
    from rich.text import Text

    from frcore.reporting.tables.terminal import drawn

    console = table_console()
    console.print(drawn(table, {}))
    for note in table.notes:
        console.print(Text(note, style="dim"))
    console.print(Text(sentence(found)))
