"""The protocol in words, one sentence per choice, as printed under the tables."""

from __future__ import annotations

from collections.abc import Sequence

from frcore.data.prepared.folder import Prepared
from frcore.evaluation.false_accepts import MIN_FALSE_ACCEPTS
from frcore.evaluation.protocol import (
    Overlap,
    ScoredPairs,
    overlap_with_training,
    people_are_known,
)
from frcore.study.expansion import EvaluationSpec

FLIP = {
    "none": "Embedding: of the image alone, L2-normalised; score: cosine.",
    "sum": "Embedding: sum of the embeddings of the image and its mirror image, L2-normalised; "
    "score: cosine.",
}
AS_STORED = "Embedding: as stored, L2-normalised; score: cosine."
POOLING = {
    "media_mean": "Templates: image embeddings (not normalised first) are averaged within each "
    "medium, then over media, then L2-normalised",
    "image_mean": "Templates: image embeddings (not normalised first) are averaged over all "
    "images, then L2-normalised",
}


OWN_CHECKPOINT = "Checkpoint: the last one of training; none was selected by its results."


def notes(
    spec: EvaluationSpec,
    test: Prepared,
    train: Prepared | None,
    pairs: ScoredPairs,
    overlap: Overlap,
    about: Sequence[str] = (OWN_CHECKPOINT,),
    *,
    stored: bool = False,
) -> list[str]:
    """Each choice behind the numbers, and each property of the data that affects them.

    Args:
        spec: how embeddings became scores.
        test: the benchmark.
        train: the training set; None where the model was trained elsewhere.
        pairs: all pairs of the benchmark.
        overlap: of the tested pairs with the training set.
        about: notes on the model.
        stored: whether the embeddings were given, so that `spec` did not affect them.
    """
    template = test.manifest.protocol == "templates"
    lines = [_images(test, train), _embedding(spec, template, stored), *about]
    if not template:
        lines.append(_threshold(pairs))
    lines += [
        "TAR at FAR: the largest TAR whose FAR in this sample is not above the requested one; a "
        "pair is accepted if its score ≥ the threshold. No interval where the FAR allows fewer "
        f"than {MIN_FALSE_ACCEPTS} false accepts.",
        "Intervals: 95 %, for the choice of test people (pairs share people, so variances are "
        "clustered by the people of each pair); thresholds of accuracy are held fixed, those of "
        "TAR vary with the impostors. One run: the choice of seed is not covered.",
    ]
    # Who was in the training data of a model trained elsewhere is unknown; `about` says so.
    if train is not None:
        known = people_are_known(test, train)
        lines.append(_overlap(overlap) if known else _unknown(test, train))
    lines += [f"Benchmark: {warning}" for warning in test.manifest.warnings]
    if test.manifest.skipped:
        lines.append(f"Benchmark: {len(test.manifest.skipped)} source files were left out.")
    return lines


def _images(test: Prepared, train: Prepared | None) -> str:
    manifest = test.manifest
    side = manifest.image_size
    line = f"Images: alignment {manifest.alignment}, {manifest.colour}, {side} × {side} pixels"
    if train is None:
        return f"{line}."
    if manifest.alignment != train.manifest.alignment:
        return f"{line}; the training images were aligned differently ({train.manifest.alignment})."
    return f"{line}, as in training."


def _embedding(spec: EvaluationSpec, template: bool, stored: bool) -> str:
    if not template:
        return AS_STORED if stored else FLIP[spec.evaluation.flip]
    mirrored = {
        "none": "without mirror images",
        "sum": "each is the sum of the image's and its mirror image's",
    }[spec.evaluation.flip]
    mirrored = "as stored" if stored else mirrored
    weighted = (
        "each is first multiplied by its detector score"
        if spec.evaluation.detector_score
        else "no detector scores"
    )
    return (
        f"{POOLING[spec.evaluation.pooling]}; {weighted}. Image embeddings: {mirrored}; "
        "score: cosine."
    )


def _threshold(pairs: ScoredPairs) -> str:
    rule = "the middle of the widest gap between scores among the most accurate thresholds"
    if pairs.tested.all():
        return f"Threshold of accuracy: chosen for each fold on the other folds, {rule}."
    chosen = overlap_with_training(pairs.take(~pairs.tested))
    trained = (
        f"; {chosen.seen_people} of their {chosen.people} people are in the training set"
        if chosen.seen_people
        else ""
    )
    return f"Threshold of accuracy: chosen on {chosen.pairs} other pairs, {rule}{trained}."


def _unknown(test: Prepared, train: Prepared) -> str:
    sets = {"benchmark": test, "training set": train}
    unnamed = " and the ".join(name for name, one in sets.items() if one.manifest.people != "named")
    return (
        f"Whether people tested are also in the training set is unknown: the {unnamed} names "
        "nobody."
    )


def _overlap(overlap: Overlap) -> str:
    if not overlap.seen_people:
        return f"None of the {overlap.people} people tested is in the training set, by name."
    return (
        f"{overlap.seen_people} of the {overlap.people} people tested are also in the training "
        f"set, by name; {overlap.seen_pairs} of {overlap.pairs} pairs contain one of them. The "
        "subset 'unseen' leaves those pairs out."
    )
