"""Listing components, planning memory and time, checking the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer import Argument, Option

from frcore.commands.options import ConfigOption, JsonOption, print_json, table_console

if TYPE_CHECKING:
    from frcore.components.catalogue import Catalogue

NamesArgument = Annotated[
    list[str] | None,
    Argument(help="Show these in full; a class of your own is module:Class."),
]


def _list(catalogue: Catalogue[Any], names: list[str] | None, as_json: bool) -> None:
    described = catalogue.describe(*names or ())
    if as_json:
        print_json(described)
        return
    from frcore.commands.listing import details, overview

    if not names:
        overview(described, Console())
    for item in described if names else ():
        details(item, Console())


def heads(names: NamesArgument = None, as_json: JsonOption = False) -> None:
    """List the heads with their parameters.

    Example: frcore heads arcface
    """
    from frcore.heads import HEADS

    _list(HEADS, names, as_json)


def samplers(names: NamesArgument = None, as_json: JsonOption = False) -> None:
    """List the samplers with their parameters.

    Example: frcore samplers partial_fc
    """
    from frcore.samplers import SAMPLERS

    _list(SAMPLERS, names, as_json)


def docs(
    to: Annotated[
        Path, Argument(help="The folder of the documentation, with its templates.")
    ] = Path("docs"),
    captions: Annotated[
        Path, typer.Option(help="The folder of the captions of Snakemake's report.")
    ] = Path("workflow/report"),
) -> None:
    """Write what is generated: pages and tables of the documentation, and captions.

    Example: frcore docs
    """
    from frcore.reporting.docs.component_docs import write_docs
    from frcore.reporting.page.sections import write_captions

    write_docs(to)
    write_captions(captions)


def schema(
    out: Annotated[
        Path | None, Option(help="A file, such as workflow/schemas/study.schema.json.")
    ] = None,
) -> None:
    """Print the JSON Schema of a study, for editors; made from the models and the catalogues."""
    from frcore.files import refuse_other_file, write_json
    from frcore.study.json_schema import study_schema

    if out is None:
        print_json(study_schema())
    else:
        refuse_other_file(out, "frcore", "the schema of a study")
        write_json(out, study_schema())


def plan_command(
    identities: Annotated[str, Option(help="Class centres: 360000, 360k, 10M, 1e7.")],
    gpus: Annotated[str, Option(help="GPUs that the classes are divided over.")] = "1",
    batch: Annotated[str, Option(help="Images on each GPU.")] = "1024",
    dim: Annotated[str, Option(help="Of the embeddings.")] = "512",
    rate: Annotated[str, Option(help="Fraction of the centres in each step's softmax.")] = "1",
    state: Annotated[str, Option(help="How centres and momentum are stored.")] = "fp32",
    update: Annotated[
        str, Option(help="Of centres that a step does not sample: sparse, lazy, dense.")
    ] = "sparse",
    queue: Annotated[str, Option(help="Rows of BroadFace's queue.")] = "0",
    head: Annotated[str, Option(help="AdaCos needs one more pass than the others.")] = "arcface",
    backend: Annotated[
        str, Option(help="fused, or one kernel per operation: dense, partial_fc_v2, partial_fc_v1.")
    ] = "fused",
    backbone: Annotated[
        str, Option(help="Parameters of a backbone trained with it, such as 43.6M.")
    ] = "0",
    precision: Annotated[
        str | None,
        Option(help="Of the products: bf16, fp16, tf32, fp32. [default: bf16; not fused: fp32]"),
    ] = None,
    device: Annotated[
        str, Option(help="A GPU of the table: h200, h100, a100, l40s, rtx-4090, v100.")
    ] = "h200",
    tflops: Annotated[
        float | None, Option(help="Your GPU's rate of matrix products, TFLOP/s.")
    ] = None,
    bandwidth: Annotated[
        float | None,
        Option("--bandwidth", "--tb-per-second", help="Your GPU's memory bandwidth, TB/s."),
    ] = None,
    memory_gib: Annotated[float | None, Option(help="Your GPU's memory, GiB.")] = None,
    network: Annotated[
        float | None,
        Option("--network", "--link-gb-per-second", help="Between your GPUs, one way, GB/s."),
    ] = None,
    reference: Annotated[Path, Option(help="Folder of measured rows to compare with.")] = Path(
        "results/reference"
    ),
    figure: Annotated[
        Path | None, Option(help="Also draw measured steps over the bound: FILE.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict memory and time of the last layer's training step, next to measured ones.

    Identities, GPUs, batch, rate and state take several values, separated by commas: one line for
    each combination.

    Example: frcore plan --identities 1M,10M --gpus 1,8 --rate 1,0.1 --device a100
    """
    from frcore.planning.command import answer
    from frcore.planning.show import as_record, render

    found = answer(
        {"identities": identities, "gpus": gpus, "batch": batch, "dim": dim, "rate": rate,
         "state": state, "update": update, "queue": queue, "backend": backend,
         "backbone": backbone, "precision": precision},
        head=head,
        device=device,
        figures={"tflops": tflops, "tb_per_second": bandwidth, "memory_gib": memory_gib,
                 "network_gb_per_second": network},
        reference=reference,
    )  # fmt: skip
    if figure is not None:
        from frcore.reporting.figures.roofline import write_figure

        write_figure(found.plans[0], found.rows, figure)
    if as_json:
        print_json(as_record(found))
    else:
        render(found, Console())


def doctor(as_json: JsonOption = False) -> None:
    """Check this machine and which studies in config/ it can run; exit with 1 on a problem."""
    from frcore.preflight.doctor import diagnose, render

    report = diagnose(sorted(Path("config").glob("*.yaml")))
    if as_json:
        print_json(report.as_dict())
    else:
        render(report, Console())
    if not report.ok:
        raise typer.Exit(1)


def check(
    study: Annotated[Path, Argument(help="The study's YAML file.")],
    config: ConfigOption = None,
) -> None:
    """Check a study to the end, and tell what it would compute; nothing is computed."""
    from frcore.commands.arguments import workflow
    from frcore.study import expansion

    found = workflow(study, config).study
    counts = {
        "training": len(expansion.runs(found)), "model": len(found.models),
        "benchmark": len(found.benchmarks), "measurement": len(expansion.measurements(found)),
        "claim": len(found.claims),
    }  # fmt: skip
    parts = [f"{n:,} {what}{'s' * (n > 1)}" for what, n in counts.items() if n]
    table_console().print(f"{study} is in order: {', '.join(parts)}", soft_wrap=True)
