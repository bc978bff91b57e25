"""`frcore evaluate`: evaluate one trained run on one prepared benchmark."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.embed import embed
from frcore.evaluation.false_accepts import PAIR_FARS, fars_of_pairs
from frcore.evaluation.identification import score_and_search, stored_arrays
from frcore.evaluation.insightface import NOTE, insightface_rows
from frcore.evaluation.judge import (
    SEARCH_NOTE,
    Judged,
    Row,
    accuracy_rows,
    all_search_rows,
    tar_rows,
)
from frcore.evaluation.notes import OWN_CHECKPOINT, notes
from frcore.evaluation.protocol import (
    Overlap,
    ScoredPairs,
    overlap_with_training,
    people_are_known,
    rows_needed,
    seen_images,
)
from frcore.files import atomic_file, read_json, refuse_other_file
from frcore.machine.leases import lease_gpu
from frcore.machine.reproducible import reproducible
from frcore.models.own import load_backbone
from frcore.provenance.environment import RUNTIMES, environment
from frcore.records.base import Environment
from frcore.records.evaluation import EvaluationRecord, JudgedData, JudgedModel, NumberRow
from frcore.study.expansion import EvaluationSpec


def evaluate(
    spec: EvaluationSpec,
    run: Path,
    benchmark: Path,
    train_data: Path,
    out: Path,
    *,
    place: Path | None = None,
) -> dict[str, Any]:
    """Evaluate `run` on `benchmark`; write `out` (.json) and the scores next to it (.npz).

    Args:
        spec: how embeddings become scores, and the device.
        run: folder of a finished run.
        benchmark: folder of a prepared benchmark.
        train_data: folder of the prepared set the run was trained on, to find people in both.
        out: the JSON file; its format is in docs/formats.md.
        place: where the benchmark's images are now, if they are read in place and were moved.

    Returns:
        What was written to `out`.

    Raises:
        UserError: the run is not finished or was trained on other data, the benchmark does not fit
            the model, a synthetic benchmark shares people with the training set, or the embeddings
            are unusable.
    """
    run, out = Path(run), scores_beside(out)
    # Only the people of the training set are needed.
    test, train = Prepared.open(benchmark, place=place), Prepared.open(train_data, images=False)
    record = _finished_run(run)
    _check_fit(record, test, train)
    rows = rows_needed(test)
    with computing(spec):
        embeddings = embed(
            load_backbone(run, spec.device),
            test.images,
            rows,
            flip=spec.evaluation.flip,
            batch_size=spec.evaluation.batch_size,
            device=spec.device,
            names=test.index["name"].tolist(),
        )
    test.refuse_changed()
    subject = Subject(record["id"], record["spec_hash"])
    return judge_embeddings(spec, subject, test, embeddings, rows, train=train, out=out)


@dataclass(frozen=True)
class Subject:
    """The run or model that is evaluated.

    Attributes:
        id: the run, or the label of a model trained elsewhere.
        spec_hash: of the run or model.
        about: notes on it for under the tables.
        model: what is known about a model trained elsewhere; None for a run.
        stored: whether its embeddings were given, not computed here.
    """

    id: str
    spec_hash: str
    about: Sequence[str] = (OWN_CHECKPOINT,)
    model: JudgedModel | None = None
    stored: bool = False


def judge_embeddings(
    spec: EvaluationSpec,
    subject: Subject,
    test: Prepared,
    embeddings: NDArray[np.floating],
    rows: NDArray[np.int64],
    *,
    train: Prepared | None,
    out: Path,
) -> dict[str, Any]:
    """Evaluate embeddings on a benchmark; write `out` (.json) and the scores next to it (.npz).

    Args:
        spec: how embeddings become scores.
        subject: whose embeddings they are.
        test: the benchmark.
        embeddings: of its images `rows` (R, D), not normalised.
        rows: from `rows_needed` (R,).
        train: the training set; None where the people the model was trained on are unknown.
        out: the JSON file; its format is in docs/formats.md.

    Returns:
        What was written to `out`.
    """
    # Without a training set nobody is known to be seen or unseen.
    seen = np.zeros(len(test.index), np.bool_) if train is None else seen_images(test, train)
    pairs, found = score_and_search(test, embeddings, rows, seen, spec.evaluation)
    overlap = overlap_with_training(pairs.take(pairs.tested))
    known = train is not None and people_are_known(test, train)
    if known:
        _refuse_leak(test, overlap)
    judged = _judge(test, pairs, overlap)
    theirs = insightface_rows(pairs) if spec.evaluation.insightface else []
    searched = all_search_rows(found)
    record = EvaluationRecord(
        run=subject.id,
        spec_hash=spec.hash,
        run_spec_hash=subject.spec_hash,
        benchmark=test.folder.name,
        protocol=test.manifest.protocol,
        rows=[NumberRow(**_with_caveat(row, test)) for row in judged.rows + searched]
        + [NumberRow(**row) for row in theirs],
        notes=notes(spec, test, train, pairs, overlap, subject.about, stored=subject.stored)
        + ([SEARCH_NOTE] if searched else [])
        + ([NOTE] if theirs else []),
        data=JudgedData(
            content_sha256=test.manifest.content_sha256,
            train_content_sha256=train.manifest.content_sha256 if train else None,
            images=test.manifest.images,
            people=overlap.people,
            seen_people=overlap.seen_people if known else None,
            pairs=overlap.pairs,
            seen_pairs=overlap.seen_pairs if known else None,
        ),
        model=subject.model,
        environment=Environment(**environment(spec.device, *(RUNTIMES if subject.model else ()))),
    )
    arrays = stored_arrays(found) if found else {}
    with atomic_file(out.with_suffix(".npz")) as temporary:
        _write_scores(temporary, pairs.take(pairs.tested), judged, arrays, known=known)
        out.unlink(missing_ok=True)  # so that it never sits next to another evaluation's scores
    return record.write(out)


def scores_beside(out: str | Path) -> Path:
    """`out` as a path.

    Raises:
        UserError: it does not end in .json, so the scores would have no separate name; or a file
            that is not an evaluation already has one of the names.
    """
    out = Path(out)
    if out.suffix != ".json":
        raise UserError(f"the output is '{out}'; it must end in .json (the scores go to .npz)")
    refuse_other_file(out, '"run_spec_hash"', "an evaluation")
    refuse_other_file(out.with_suffix(".npz"), "scores.npy", "the scores of an evaluation")
    return out


def _finished_run(run: Path) -> dict[str, Any]:
    """The content of `run.json`, if the run is finished."""
    # An older result remains valid when a later attempt fails.
    if (run / "failure.json").is_file() and not (run / "result.json").is_file():
        failure = read_json(run / "failure.json")
        raise UserError(
            f"the run {run} failed: {failure.get('error')}; train it again to get a model to "
            "evaluate"
        )
    for name in ("run.json", "model.pt", "result.json"):
        if not (run / name).is_file():
            raise UserError(f"{run / name} does not exist; train the run to its end first")
    return read_json(run / "run.json")


def _check_fit(record: dict[str, Any], test: Prepared, train: Prepared) -> None:
    """Refuse a benchmark with another image size, or a `train` the run was not trained on."""
    trained_on = record["data"]["content_sha256"]
    if trained_on != train.manifest.content_sha256:
        raise UserError(
            f"{record['id']} was trained on data {trained_on[:12]}…, but {train.folder} is "
            f"{train.manifest.content_sha256[:12]}…; give the data it was trained on, which is "
            "needed to find people in both sets"
        )
    size = record["spec"]["image"]["size"]
    if size != test.manifest.image_size:
        raise UserError(
            f"{record['id']} takes images of {size} pixels, but {test.folder} has "
            f"{test.manifest.image_size}; prepare the benchmark with the study's image size"
        )


@contextlib.contextmanager
def computing(spec: EvaluationSpec) -> Iterator[None]:
    """Lease the device and make torch give the same embeddings every time."""
    # Not exclusive: no timing is reported here, so two evaluations may share a board.
    leased = lease_gpu(spec.device, exclusive=False)
    with leased, reproducible(0, spec.threads, spec.device):
        yield


def _refuse_leak(test: Prepared, overlap: Overlap) -> None:
    if test.manifest.synthetic and overlap.seen_people:
        raise UserError(
            f"{overlap.seen_people} of {overlap.people} people of the synthetic benchmark "
            f"{test.folder} are also in the training set; synthetic people can always be new, so "
            "this is a leak: give the benchmark another seed or prepare both again"
        )


def _fars(test: Prepared, pairs: ScoredPairs) -> list[float]:
    """The FARs in a template benchmark's spec, or those that follow from its pairs."""
    given = test.manifest.spec.get("data", {}).get("fars")
    if given:
        return [float(far) for far in given]
    return fars_of_pairs(int((~pairs.same[pairs.tested]).sum()), PAIR_FARS)


def _judge(test: Prepared, pairs: ScoredPairs, overlap: Overlap) -> Judged:
    """Rows for all pairs and, if people were in training, for the pairs without them."""
    fars, subsets = _fars(test, pairs), {"all": pairs}
    if overlap.seen_people:
        # The pairs that choose a threshold are kept: the subset only restricts what is tested.
        subsets["unseen"] = pairs.take(pairs.unseen | ~pairs.tested)
    found = Judged([], None)
    for subset, part in subsets.items():
        if test.manifest.protocol != "templates":
            accuracy = accuracy_rows(part, subset)
            threshold = accuracy.threshold if subset == "all" else found.threshold
            found = Judged(found.rows + accuracy.rows, threshold)
        found.rows.extend(tar_rows(part, subset, fars))
    return found


def _with_caveat(row: Row, test: Prepared) -> Row:
    """`row`, with a caveat on its interval where people are only partly known."""
    if row["method"] is None or test.manifest.people != "linked":
        return row
    caveat = "people known only from shared images: too narrow where pairs share others"
    return row | {"method": f"{row['method']}; {caveat}"}


def _write_scores(
    path: Path,
    tested: ScoredPairs,
    judged: Judged,
    searches: dict[str, NDArray[Any]],
    *,
    known: bool,
) -> None:
    """Write what intervals and curves need; folds and thresholds where there are any."""
    arrays: dict[str, Any] = {
        "scores": tested.scores,
        "same": tested.same,
        "identity_a": tested.identity_a,
        "identity_b": tested.identity_b,
        "subset_unseen": tested.unseen & known,
    }
    if judged.threshold is not None:
        arrays |= {"fold": tested.fold, "threshold": judged.threshold}
    # Like `numpy.savez_compressed`, but fast: scores hardly compress at any level.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in (arrays | searches).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
