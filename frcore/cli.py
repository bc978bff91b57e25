"""The command line `frcore`: one command for each stage, and what there is to choose from."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from frcore.commands import catalogue, comparison, overlap, power, results, stages
from frcore.components.catalogue import find_modules_here
from frcore.errors import UserError
from frcore.machine.faults import refusal
from frcore.machine.lifetime import Stopped, stopped_by_signals
from frcore.machine.processes import rank
from frcore.text import visible

app = typer.Typer(
    name="frcore",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Benchmark and reproduce the last layer of a face-recognition trainer.

    A study is one YAML file: data, backbones, heads, samplers, seeds. Snakemake turns it into
    tables and figures with these commands; each also works by itself.

    [bold]Whole study:[/]  snakemake --cores all --configfile config/quick.yaml
    [bold]One run:[/]      frcore prepare --study config/quick.yaml
                frcore train --study config/quick.yaml --run tiny-arcface-full-s0
    """,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"frcore {version('frcore')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    pass


app.command()(catalogue.check)
app.command()(stages.prepare)
app.command("simulate-ijb")(stages.simulate_ijb)
app.command()(stages.train)
app.command()(stages.evaluate)
app.command()(stages.measure)
app.command()(stages.report)
app.command()(comparison.compare)
app.command()(power.power)
app.command()(comparison.audit)
app.command()(overlap.overlap)
app.command()(results.watch)
app.command()(results.reference)
app.command()(catalogue.heads)
app.command()(catalogue.samplers)
app.command()(catalogue.docs)
app.command()(catalogue.schema)
app.command("plan")(catalogue.plan_command)
app.command()(catalogue.doctor)


@contextlib.contextmanager
def _errors_without_traceback() -> Iterator[None]:
    """Report a user's mistake, or what the system refuses, as one message and an exit code."""
    try:
        yield
    except Exception as error:
        shown = refusal(error) or error
        if not isinstance(shown, UserError):
            raise
        _print_message("error", "bold red", str(shown))
        raise SystemExit(shown.exit_code) from None


def main() -> None:
    """Entry point of `frcore`; a user's mistake ends with its exit code and no traceback.

    So does a request to stop, with 128 + the number of its signal: 130 for Ctrl-C.
    """
    try:
        with stopped_by_signals():
            find_modules_here()
            with _errors_without_traceback():
                app()
    except Stopped as stop:
        if rank() == 0:  # one of several processes says it for all
            _print_message("stopped", "bold yellow", str(stop))
        raise SystemExit(stop.code) from None


def _print_message(kind: str, style: str, text: str) -> None:
    text = visible(text)
    with contextlib.suppress(OSError):  # the log may be on the very disk that is full
        try:
            console = Console(stderr=True, soft_wrap=True, emoji=False)
            console.print(f"[{style}]{kind}:[/] {escape(text)}", highlight=False)
        except MemoryError:  # which may be what the message is about
            sys.stderr.write(f"{kind}: {text}\n")


if __name__ == "__main__":
    main()
