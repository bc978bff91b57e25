"""The command line: one command for each stage, and what there is to choose from.

Heavy imports stand inside the commands, so that `frcore --help` answers at once.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from frcore.catalogue import find_modules_here
from frcore.errors import UserError

if TYPE_CHECKING:
    from frcore.catalogue import Catalogue

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

SpecOption = Annotated[
    str | None,
    typer.Option("--spec", help="Everything the command needs, as JSON; what Snakemake passes."),
]
StudyOption = Annotated[
    Path | None, typer.Option("--study", help="Instead of --spec: the study's YAML file.")
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", help="With --study: key=value, as for Snakemake; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


# --- stages ------------------------------------------------------------------------------------


@app.command()
def prepare(
    spec: SpecOption = None,
    study: StudyOption = None,
    benchmark: Annotated[
        str | None, typer.Option(help="With --study: this benchmark, not the training set.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The data set's folder.")] = None,
    config: ConfigOption = None,
    align: Annotated[
        Path | None, typer.Option(help="Instead: align this folder of images into --out.")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="With --align: lines `path x1 y1 … x5 y5`.")
    ] = None,
    size: Annotated[int, typer.Option(help="With --align: side of a face in pixels.")] = 112,
    encoding: Annotated[str, typer.Option(help="With --align: jpeg95, jpeg100 or png.")] = "jpeg95",
    check: Annotated[
        Path | None,
        typer.Option(help="Prepare nothing: say what this file or folder is, and what is wrong."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data set, or bring one into the format that training and evaluation read.

    With --check PATH: read all of it, name the first ten problems, exit 1 if there is one.

    Example: frcore prepare --study config/quick.yaml --benchmark pairs
    """
    if check is not None:
        _check(check, as_json)
        return
    from frcore import arguments, plan

    if align is not None:
        from frcore.data.align_command import align_folder

        given = arguments.need("--landmarks", landmarks), arguments.need("--out", out)
        count = align_folder(align, *given, size=size, encoding=encoding)
        Console().print(f"{count:,} faces in {out}")
        return
    chosen: plan.TrainDataSpec | plan.BenchmarkSpec
    if spec is not None:
        chosen = arguments.parse_data(spec)
        out = arguments.need("--out", out)
    else:
        workflow = arguments.workflow(study, config)
        if benchmark is not None:
            chosen = arguments.pick("benchmark", benchmark, workflow.benchmarks)
        else:
            chosen = plan.train_data(workflow.study)
        out = out or workflow.root / "data" / (benchmark or "train")

    from frcore.data.prepare import prepare as go

    go(chosen, out)


@app.command("simulate-ijb")
def simulate_ijb(
    out: Annotated[Path, typer.Argument(help="The folder, as holders of IJB have it.")],
    name: Annotated[str, typer.Option(help="ijbb or ijbc.")] = "ijbc",
    scale: Annotated[float, typer.Option(help="Of all counts; 1 for the released ones.")] = 0.01,
    source: Annotated[
        str, typer.Option(help="embeddings (no pictures), or faces that are rendered.")
    ] = "embeddings",
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    dim: Annotated[int, typer.Option(help="Of the embeddings.")] = 512,
    dtype: Annotated[str, typer.Option(help="float16 or float32.")] = "float16",
) -> None:
    """Write a synthetic folder in the layout of IJB-B or IJB-C, for those who hold neither.

    Example: frcore simulate-ijb data/ijbc-small --scale 0.002 --source faces
    """
    from frcore.data.ijb_writer import write_synthetic

    protocol = write_synthetic(
        out, name=name, scale=scale, source=source, seed=seed, dim=dim, dtype=dtype
    )
    Console().print(
        f"{len(protocol.template):,} images in {len(protocol.ids):,} templates, "
        f"{len(protocol.a):,} pairs in {out}"
    )


def _check(path: Path, as_json: bool) -> None:
    from frcore.data.check import check, render

    reports = check(path)
    if as_json:
        described = [report.as_dict() for report in reports]
        sys.stdout.write(json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    else:
        render(reports, Console(soft_wrap=True))
    if any(report.wrong for report in reports):
        raise typer.Exit(1)


@app.command()
def train(
    spec: SpecOption = None,
    study: StudyOption = None,
    run: Annotated[str | None, typer.Option(help="With --study: the run's name.")] = None,
    data: Annotated[Path | None, typer.Option(help="The prepared training set.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    config: ConfigOption = None,
) -> None:
    """Train one backbone × head × sampler × seed; a run that was cut off goes on.

    Example: frcore train --study config/quick.yaml --run tiny-arcface-full-s0
    """
    from frcore import arguments
    from frcore.plan import RunSpec

    if spec is not None:
        chosen = arguments.parse(RunSpec, spec)
        data, out = arguments.need("--data", data), arguments.need("--out", out)
    else:
        workflow = arguments.workflow(study, config)
        chosen = arguments.pick("run", run, workflow.runs)
        data = data or workflow.root / "data/train"
        out = out or workflow.root / "runs" / chosen.id

    from frcore.training.run import train as go

    go(chosen, data, out)


@app.command()
def evaluate(
    run: Annotated[
        str | None, typer.Option(help="The trained run's folder; with --study its name.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Instead: a model trained elsewhere, as JSON; with --study its label."),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            help="A prepared benchmark's folder, repeatable; with --study names, absent: all."
        ),
    ] = None,
    spec: SpecOption = None,
    study: StudyOption = None,
    train_data: Annotated[
        Path | None, typer.Option(help="The prepared training set, to tell unseen people.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the JSON files, named after the benchmarks.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Judge one trained run, or a model trained elsewhere, on benchmarks, with intervals.

    Example: frcore evaluate --study config/quick.yaml --run tiny-arcface-full-s0
    """
    from frcore import arguments, plan

    if (run is None) == (model is None):
        raise UserError("give either --run, of a training, or --model, trained elsewhere")
    other: plan.ModelSpec | None = None
    if spec is not None:
        chosen = arguments.parse(plan.EvaluationSpec, spec)
        benchmarks = [Path(folder) for folder in benchmark or ()]
        out = arguments.need("--out", out)
        if model is not None:
            other = arguments.parse(plan.ModelSpec, model)
        else:
            train_data = arguments.need("--train-data", train_data)
    else:
        workflow = arguments.workflow(study, config)
        chosen = plan.evaluation(workflow.study)
        names = benchmark or list(workflow.benchmarks)
        if model is not None:
            other = arguments.pick("model", model, workflow.models)
            names = benchmark or [name for name in names if other.model.judges(name)]
        else:
            run = arguments.pick("run", run, workflow.runs).id
        specs = [arguments.pick("benchmark", name, workflow.benchmarks) for name in names]
        benchmarks = [workflow.root / "data" / item.name for item in specs]
        train_data = train_data or workflow.root / "data/train"
        out = out or workflow.root / "evaluation" / (other.id if other else str(run))
        run = str(workflow.root / "runs" / str(run))

    from frcore.devices import lease_gpu
    from frcore.evaluation.model_run import evaluate_model
    from frcore.evaluation.run import evaluate as evaluate_run

    # One process for all: importing the libraries takes longer than judging a small benchmark.
    # One lease for all too: once CUDA runs, a process can choose no other board.
    with lease_gpu(chosen.device, exclusive=False):
        for folder in benchmarks:
            file = out / f"{folder.name}.json"
            if other is not None:
                evaluate_model(chosen, other, folder, file)
            else:
                evaluate_run(chosen, Path(str(run)), folder, Path(str(train_data)), file)


@app.command()
def measure(
    spec: SpecOption = None,
    study: StudyOption = None,
    head: Annotated[str | None, typer.Option(help="With --study: the head's label.")] = None,
    sampler: Annotated[str | None, typer.Option(help="With --study: the sampler's label.")] = None,
    out: Annotated[Path | None, typer.Option(help="The JSON file.")] = None,
    config: ConfigOption = None,
) -> None:
    """Measure speed, memory and energy of one head × sampler; nothing else should run meanwhile.

    Example: frcore measure --study config/quick.yaml --head arcface --sampler full
    """
    from frcore import arguments
    from frcore.plan import MeasurementSpec

    if spec is not None:
        chosen = arguments.parse(MeasurementSpec, spec)
        out = arguments.need("--out", out)
    else:
        workflow = arguments.workflow(study, config)
        if not workflow.measurements:
            raise UserError(f"{study} measures nothing; add a section `measurement:`")
        by_label = {c.label: c for c in workflow.study.heads}
        labels = [arguments.pick("head", head, by_label).label]
        by_label = {c.label: c for c in workflow.study.samplers}
        labels.append(arguments.pick("sampler", sampler, by_label).label)
        chosen = workflow.measurements["-".join(labels)]
        out = out or workflow.root / "measurement" / f"{chosen.id}.json"

    from frcore.measurement.run import measure as go

    go(chosen, out)


@app.command()
def report(
    spec: SpecOption = None,
    study: StudyOption = None,
    root: Annotated[Path | None, typer.Option(help="Where the study's results are.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write rows, tables, figures and the page from what there is; what is missing is listed.

    Example: frcore report --study config/quick.yaml
    """
    from frcore import arguments
    from frcore.config import Study

    if spec is not None:
        chosen = arguments.parse(Study, spec)
        root = arguments.need("--root", root)
    else:
        workflow = arguments.workflow(study, config)
        chosen, root = workflow.study, root or workflow.root

    from frcore.reporting.run import report as go

    go(chosen, root)


@app.command()
def watch(
    study: StudyOption = None,
    config: ConfigOption = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option(help="Show it once and return.")] = False,
) -> None:
    """Show a study while it runs: finished, running, waiting, failed and why, expected end.

    Example: frcore watch --study config/quick.yaml
    """
    from frcore import arguments
    from frcore.reporting.watch import watch as go

    workflow = arguments.workflow(study, config)
    with contextlib.suppress(KeyboardInterrupt):
        go(workflow.study, workflow.root, Path("logs") / workflow.name, every=every, once=once)


@app.command()
def reference(
    root: Annotated[Path, typer.Option(help="A finished study, results/NAME.")],
    to: Annotated[Path, typer.Option(help="Folder to keep it in: results/reference/DEVICE/NAME.")],
    page: Annotated[Path | None, typer.Option(help="Also renew the table in this file.")] = None,
) -> None:
    """Keep a finished study's rows and tables as committed reference figures.

    Example: frcore reference --root results/quick --to results/reference/cpu/quick
    """
    from frcore.reporting.reference import keep, update_page

    keep(root, to)
    if page is not None:
        update_page(page, to)


# --- what there is -----------------------------------------------------------------------------


NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="These in full; also a class of your own, module:Class.")
]


def _list(catalogue: Catalogue[Any], names: list[str] | None, as_json: bool) -> None:
    described = catalogue.describe(*names or ())
    if as_json:
        sys.stdout.write(json.dumps(described, indent=2, ensure_ascii=False) + "\n")
        return
    from frcore.listing import details, overview

    if not names:
        overview(described, Console())
    for item in described if names else ():
        details(item, Console())


@app.command()
def heads(names: NamesArgument = None, as_json: JsonOption = False) -> None:
    """List the heads with their parameters.

    Example: frcore heads arcface
    """
    from frcore.heads import HEADS

    _list(HEADS, names, as_json)


@app.command()
def samplers(names: NamesArgument = None, as_json: JsonOption = False) -> None:
    """List the samplers with their parameters.

    Example: frcore samplers partial_fc
    """
    from frcore.samplers import SAMPLERS

    _list(SAMPLERS, names, as_json)


@app.command()
def docs(
    to: Annotated[
        Path, typer.Argument(help="The folder of the documentation, with its templates.")
    ] = Path("docs"),
) -> None:
    """Write docs/heads.md, its figure and the table of docs/samplers.md from the code.

    Example: frcore docs
    """
    from frcore.reporting.component_docs import write_docs

    write_docs(to)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(help="A file, such as workflow/schemas/study.schema.json.")
    ] = None,
) -> None:
    """Print the JSON Schema of a study, for editors; made from the models and the catalogues."""
    from frcore.files import write_text
    from frcore.schema import study_schema

    text = json.dumps(study_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)


@app.command("plan")
def plan_command(
    identities: Annotated[float, typer.Option(help="Class centres; 30e6 is 30 million.")],
    gpus: Annotated[int, typer.Option(help="GPUs that the classes are divided over.")] = 1,
    batch: Annotated[int, typer.Option(help="Images on each GPU.")] = 1024,
    dim: Annotated[int, typer.Option(help="Of the embeddings.")] = 512,
    rate: Annotated[float, typer.Option(help="Share of the centres in each step's softmax.")] = 1.0,
    state: Annotated[str, typer.Option(help="How centres and momentum are stored.")] = "fp32",
    update: Annotated[
        str, typer.Option(help="Of centres that a step does not sample: sparse, lazy, dense.")
    ] = "sparse",
    queue: Annotated[int, typer.Option(help="Rows of BroadFace's queue.")] = 0,
    head: Annotated[str, typer.Option(help="AdaCos needs a pass more than others.")] = "arcface",
    backend: Annotated[str, typer.Option(help="fused, or dense.")] = "fused",
    precision: Annotated[
        str | None,
        typer.Option(help="Of the products: bf16, tf32, fp32. [default: bf16; dense: fp32]"),
    ] = None,
    device: Annotated[str, typer.Option(help="The GPU's ceilings.")] = "h200",
    tflops: Annotated[float | None, typer.Option(help="Your GPU's, in its place.")] = None,
    tb_per_second: Annotated[float | None, typer.Option(help="Your GPU's memory.")] = None,
    memory_gib: Annotated[float | None, typer.Option(help="Your GPU's memory.")] = None,
    link_gb_per_second: Annotated[float | None, typer.Option(help="Between GPUs.")] = None,
    reference: Annotated[
        Path, typer.Option(help="Folder of measured rows to compare with.")
    ] = Path("results/reference"),
    figure: Annotated[
        Path | None, typer.Option(help="Also draw measured steps over the bound: FILE.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict memory and time of the last layer's training step, beside what was measured.

    Example: frcore plan --identities 30e6 --gpus 8 --batch 1024 --rate 0.1
    """
    from frcore.planning.command import plan_and_compare
    from frcore.planning.show import as_record, render

    plan, rows, comparisons = plan_and_compare(
        {"identities": identities, "gpus": gpus, "batch": batch, "dim": dim, "rate": rate,
         "state": state, "update": update, "queue": queue, "backend": backend,
         "precision": precision},
        head=head,
        device=device,
        ceilings={"tflops": tflops, "tb_per_second": tb_per_second, "memory_gib": memory_gib,
                  "link_gb_per_second": link_gb_per_second},
        reference=reference,
    )  # fmt: skip
    if figure is not None:
        from frcore.planning.figure import write_figure

        write_figure(plan, rows, figure)
    if as_json:
        record = as_record(plan, rows, comparisons)
        sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    else:
        render(plan, rows, comparisons, Console())


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine, and which studies in config/ it can run; exit 1 if something is wrong."""
    from frcore.doctor import diagnose, render

    report = diagnose(sorted(Path("config").glob("*.yaml")))
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=2, ensure_ascii=False) + "\n")
    else:
        render(report, Console())
    if not report.ok:
        raise typer.Exit(1)


@contextlib.contextmanager
def _errors_without_traceback() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}")
        raise SystemExit(2) from None


def main() -> None:
    """Entry point of `frcore`; a mistake of the user's ends with exit code 2 and no traceback."""
    find_modules_here()
    with _errors_without_traceback():
        app()


if __name__ == "__main__":
    main()
