"""The stages of a study: prepare, train, evaluate, measure, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Argument, Exit, Option

from frcore.commands.options import (
    ConfigOption,
    JsonOption,
    SourceOption,
    SpecOption,
    StudyOption,
    print_json,
)
from frcore.errors import UserError
from frcore.machine.lifetime import sign_log
from frcore.machine.processes import started_with


def prepare(
    spec: SpecOption = None,
    study: StudyOption = None,
    benchmark: Annotated[
        str | None, Option(help="With --study: this benchmark, not the training set.")
    ] = None,
    out: Annotated[Path | None, Option(help="The data set's folder.")] = None,
    config: ConfigOption = None,
    align: Annotated[
        Path | None, Option(help="Instead: align this folder of images into --out.")
    ] = None,
    landmarks: Annotated[
        Path | None, Option(help="With --align: lines `path x1 y1 … x5 y5`.")
    ] = None,
    size: Annotated[int, Option(help="With --align: side of a face in pixels.")] = 112,
    encoding: Annotated[str, Option(help="With --align: jpeg95, jpeg100 or png.")] = "jpeg95",
    check: Annotated[
        Path | None,
        Option(
            help="Prepare nothing; report what this file or folder is and what is wrong with it."
        ),
    ] = None,
    as_json: JsonOption = False,
    signature: Annotated[
        str | None,
        Option(help="With --spec: the expected signature of the source, set by Snakemake."),
    ] = None,
) -> None:
    """Prepare a data set: generate it, or convert it to the format that later stages read.

    With --check PATH: read everything, list the first ten problems, exit with 1 if there are any.

    Example: frcore prepare --study config/quick.yaml --benchmark pairs
    """
    if check is not None:
        _check(check, as_json)
        return
    from frcore.commands import arguments
    from frcore.study import expansion

    if align is not None:
        from frcore.data.folders.align_folder import align_folder

        given = arguments.need("--landmarks", landmarks), arguments.need("--out", out)
        count, unlisted = align_folder(align, *given, size=size, encoding=encoding)
        Console().print(f"{count:,} faces in {out}")
        if unlisted:
            Console(stderr=True).print(
                f"{len(unlisted):,} images in {align} are not listed in {landmarks} and were "
                f"left out; the first one is {unlisted[0]!r}",
                markup=False,
            )
        return
    chosen: expansion.TrainDataSpec | expansion.BenchmarkSpec
    if spec is not None:
        chosen = arguments.parse_data(spec)
        out = arguments.need("--out", out)
        sign_log()
    else:
        workflow = arguments.workflow(study, config)
        if benchmark is not None:
            chosen = arguments.pick("benchmark", benchmark, workflow.benchmarks)
        else:
            chosen = expansion.train_data(workflow.study)
        out = out or workflow.root / "data" / (benchmark or "train")

    from frcore.data.prepare import prepare as go

    go(chosen, out, signature=signature)


def _check(path: Path, as_json: bool) -> None:
    from frcore.data.check.check import check, render

    reports = check(path)
    if as_json:
        print_json([report.as_dict() for report in reports])
    else:
        render(reports, Console(soft_wrap=True))
    if any(report.wrong for report in reports):
        raise Exit(1)


def simulate_ijb(
    out: Annotated[Path, Argument(help="The folder, as holders of IJB have it.")],
    name: Annotated[str, Option(help="ijbb or ijbc.")] = "ijbc",
    scale: Annotated[float, Option(help="Of all counts; 1 for the released ones.")] = 0.01,
    source: Annotated[
        str, Option(help="embeddings (no images), or faces that are rendered.")
    ] = "embeddings",
    seed: Annotated[int, Option(help="Equal seeds give equal files.")] = 0,
    dim: Annotated[int, Option(help="Of the embeddings.")] = 512,
    dtype: Annotated[str, Option(help="float16 or float32.")] = "float16",
) -> None:
    """Write a synthetic data set in the layout of IJB-B or IJB-C, for those who have neither.

    Example: frcore simulate-ijb data/ijbc-small --scale 0.002 --source faces
    """
    from frcore.data.ijb.simulate import write_synthetic

    protocol = write_synthetic(
        out, name=name, scale=scale, source=source, seed=seed, dim=dim, dtype=dtype
    )
    Console().print(
        f"{len(protocol.template):,} images in {len(protocol.ids):,} templates, "
        f"{len(protocol.a):,} pairs in {out}"
    )


def train(
    spec: SpecOption = None,
    study: StudyOption = None,
    run: Annotated[str | None, Option(help="With --study: the run's name.")] = None,
    data: Annotated[Path | None, Option(help="The prepared training set.")] = None,
    out: Annotated[Path | None, Option(help="The run's folder.")] = None,
    config: ConfigOption = None,
    source: SourceOption = None,
) -> None:
    """Train one backbone × head × sampler × seed; an interrupted run resumes.

    With `training.processes` in the study it starts as many, unless `torchrun` has done so.

    Example: frcore train --study config/quick.yaml --run tiny-arcface-full-s0
    """
    from frcore.commands import arguments
    from frcore.study.expansion import RunSpec

    places = arguments.sources(source)
    if spec is not None:
        chosen = arguments.parse(RunSpec, spec)
        data, out = arguments.need("--data", data), arguments.need("--out", out)
        sign_log()
    else:
        workflow = arguments.workflow(study, config)
        chosen = arguments.pick("run", run, workflow.runs)
        data = data or workflow.root / "data/train"
        out = out or workflow.root / "runs" / chosen.id
        places = workflow.places("train") | places

    if chosen.training.processes > 1 and started_with() == 1:
        from frcore.training.processes import launch

        own = [f"--source=train={places['train']}"] if "train" in places else []
        launch(chosen.training.processes, ["train", "--spec", chosen.model_dump_json(),
               "--data", str(data), "--out", str(out), *own])  # fmt: skip
        return

    from frcore.training.train import train as go

    go(chosen, data, out, place=places.get("train"))


def evaluate(
    run: Annotated[
        str | None, Option(help="The trained run's folder; with --study its name.")
    ] = None,
    model: Annotated[
        str | None,
        Option(help="Instead: a model trained elsewhere, as JSON; with --study its label."),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        Option(help="A prepared benchmark's folder, repeatable; with --study names, absent: all."),
    ] = None,
    spec: SpecOption = None,
    study: StudyOption = None,
    train_data: Annotated[
        Path | None, Option(help="The prepared training set, to know which people are unseen.")
    ] = None,
    out: Annotated[
        Path | None, Option(help="Folder of the JSON files, named after the benchmarks.")
    ] = None,
    config: ConfigOption = None,
    source: SourceOption = None,
) -> None:
    """Evaluate a trained run, or a model trained elsewhere, on benchmarks, with intervals.

    Example: frcore evaluate --study config/quick.yaml --run tiny-arcface-full-s0
    """
    from frcore.commands import arguments
    from frcore.study import expansion

    if (run is None) == (model is None):
        raise UserError("give either --run, of a training, or --model, trained elsewhere")
    other: expansion.ModelSpec | None = None
    places = arguments.sources(source)
    if spec is not None:
        chosen = arguments.parse(expansion.EvaluationSpec, spec)
        benchmarks = [Path(folder) for folder in benchmark or ()]
        out = arguments.need("--out", out)
        if model is not None:
            other = arguments.parse(expansion.ModelSpec, model)
        else:
            train_data = arguments.need("--train-data", train_data)
        sign_log()
    else:
        workflow = arguments.workflow(study, config)
        chosen = expansion.evaluation(workflow.study)
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
        places = workflow.places(*(item.name for item in specs)) | places

    from frcore.evaluation.evaluate import evaluate as go
    from frcore.evaluation.evaluate_model import evaluate_model
    from frcore.machine.leases import lease_gpu

    # One process for all: importing the libraries takes longer than evaluating a small benchmark.
    # One lease for all too: once CUDA runs, a process can choose no other board.
    with lease_gpu(chosen.device, exclusive=False):
        for folder in benchmarks:
            file, place = out / f"{folder.name}.json", places.get(folder.name)
            if other is not None:
                evaluate_model(chosen, other, folder, file, place=place)
            else:
                go(chosen, Path(str(run)), folder, Path(str(train_data)), file, place=place)


def measure(
    spec: SpecOption = None,
    study: StudyOption = None,
    head: Annotated[str | None, Option(help="With --study: the head's label.")] = None,
    sampler: Annotated[str | None, Option(help="With --study: the sampler's label.")] = None,
    out: Annotated[Path | None, Option(help="The JSON file.")] = None,
    config: ConfigOption = None,
) -> None:
    """Measure speed, memory and energy of one head × sampler on an otherwise idle machine.

    Example: frcore measure --study config/quick.yaml --head arcface --sampler full
    """
    from frcore.commands import arguments
    from frcore.study.expansion import MeasurementSpec

    if spec is not None:
        chosen = arguments.parse(MeasurementSpec, spec)
        out = arguments.need("--out", out)
        sign_log()
    else:
        workflow = arguments.workflow(study, config)
        if not workflow.measurements:
            raise UserError(f"{study} measures nothing; add a section `measurement:`")
        heads = {part.label: part for part in workflow.study.heads}
        samplers = {part.label: part for part in workflow.study.samplers}
        label = arguments.pick("head", head, heads).label
        label += f"-{arguments.pick('sampler', sampler, samplers).label}"
        chosen = workflow.measurements[label]
        out = out or workflow.root / "measurement" / f"{chosen.id}.json"

    from frcore.measurement.measure import measure as go

    go(chosen, out)


def report(
    spec: SpecOption = None,
    study: StudyOption = None,
    root: Annotated[Path | None, Option(help="Where the study's results are.")] = None,
    processes: Annotated[
        int | None, Option(min=1, help="Processes to use (Linux); default: one per core.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write rows, tables, figures and the page from the results so far; what is missing is listed.

    Example: frcore report --study config/quick.yaml
    """
    from frcore.commands import arguments
    from frcore.study.config import Study

    if spec is not None:
        chosen = arguments.parse(Study, spec)
        root = arguments.need("--root", root)
    else:
        workflow = arguments.workflow(study, config)
        chosen, root = workflow.study, root or workflow.root

    from frcore.machine.parallel import available_cores
    from frcore.reporting.report import report as go

    go(chosen, root, processes=processes or available_cores())
