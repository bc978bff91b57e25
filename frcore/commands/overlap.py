"""Who may be both in a study's training set and in a benchmark?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from frcore.commands.options import ConfigOption, StudyOption, table_console
from frcore.errors import UserError

SHOWN = 20


def overlap(
    study: StudyOption = None,
    model: Annotated[str | None, Option(help="Label of one of the study's `models`.")] = None,
    benchmark: Annotated[
        list[str] | None, Option(help="A benchmark's name; repeatable; default: all.")
    ] = None,
    out: Annotated[
        Path | None, Option(help="Folder of the lists; default: results/STUDY/overlap.")
    ] = None,
    names: Annotated[
        Path | None,
        Option(
            help="Also write the candidates as a list of names, CFP's `names`, so that a benchmark "
            "has a subset 'unseen'; of one benchmark, whose people have numbers."
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """List people of the benchmarks who may be in the training set, by their faces.

    Of prepared data, with a model trained elsewhere. A candidate is closer than strangers are; look
    at the pictures before you call it the same person. Writes one CSV file for each benchmark.

    Example: frcore overlap --study config/faces.yaml --benchmark cfp_search
    """
    from rich.text import Text

    from frcore.commands import arguments
    from frcore.data.prepared.folder import Prepared
    from frcore.evaluation.embed import embed_with
    from frcore.evaluation.evaluate import computing
    from frcore.evaluation.evaluate_model import open_network
    from frcore.evaluation.shared_people import People, names_list, shared_people
    from frcore.files import atomic_file, refuse_other_file, write_text
    from frcore.study import expansion
    from frcore.study.models import FileModel

    workflow = arguments.workflow(study, config)
    section = arguments.pick("model", model, workflow.models).model
    if not isinstance(section, FileModel):
        raise UserError(f"model '{section.label}' is stored embeddings; give one that has a file")
    benchmarks = benchmark or list(workflow.benchmarks)
    if names is not None:
        if len(benchmarks) > 1:
            raise UserError("--names is a list for one benchmark; name it with --benchmark")
        refuse_other_file(names, "person_", "a list of names that `frcore overlap` wrote")
    for name in benchmarks:
        arguments.pick("benchmark", name, workflow.benchmarks)
    expansion.train_data(workflow.study)  # which refuses a study without
    chosen, places = expansion.evaluation(workflow.study), workflow.places("train", *benchmarks)
    out = out or workflow.root / "overlap"
    console = table_console()
    with computing(chosen):
        network = open_network(section, device=chosen.device, threads=chosen.threads)

        def people(name: str) -> People:
            data = Prepared.open(workflow.root / "data" / name, place=places.get(name))
            embeddings = embed_with(network, data.images, flip=chosen.evaluation.flip)
            return People.of(embeddings, data.index["true_identity"])

        train = people("train")
        for name in benchmarks:
            found = shared_people(train, test := people(name))
            file = out / f"{name}.csv"
            refuse_other_file(file, "person,other,cosine", "a list of candidates")
            with atomic_file(file) as temporary:
                found.candidates.to_csv(temporary, index=False)
            if names is not None:
                write_text(names, "\n".join(names_list(found, test.names)) + "\n")
            frame = found.candidates
            alike = int((frame["person"] == frame["other"]).sum())
            console.print(Text(
                f"{name}: {len(frame)} of {len(test.names)} people may be among the "
                f"{len(train.names)} of the training set, {alike} of them under the same name: "
                f"cosine above {found.threshold:.3f}, where one of all pairs of strangers is "
                f"expected (from {found.strangers:,} pairs of different names); "
                f"{found.same_person:.1%} of people are that close to themselves. All in {file}"
            ))  # fmt: skip
            for row in frame.head(SHOWN).itertuples():
                console.print(Text(f"  {row.cosine:.3f}  {row.other}  {row.person}"))
