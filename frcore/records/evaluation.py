"""`evaluation/<run>/<benchmark>.json`: what an evaluation found."""

from __future__ import annotations

from pydantic import Field

from frcore.records.base import Count, Environment, Number, Record, Text


class NumberRow(Record):
    """One of `rows`: one number with its interval."""

    metric: str
    """`accuracy`, `tar`; of a 1:N search `rank`, `tpir`; with `evaluation.insightface` also
    `accuracy_insightface` and `val_insightface`, without intervals"""
    far: Number = None
    """the FAR asked for; null for accuracy"""
    rank: Count = None
    """asked for, of a 1:N search"""
    fpir: Number = None
    """asked for, of a 1:N search"""
    gallery: Count = None
    """of a 1:N search; null: the mean over galleries"""
    subset: str
    """`all`, or `unseen`: without people of the training set"""
    value: Number
    """a proportion; null where it cannot be had, and `note` says why"""
    low: Number = None
    """of the interval; it and the next four are null where a FAR allows fewer than ten false
    accepts"""
    high: Number = None
    """of the interval"""
    level: Number = None
    """of the interval, 0.95"""
    method: Text = None
    """how the interval was made"""
    se_test: Number = None
    """standard error from the choice of test people"""
    n: Count = None
    """how many were judged"""
    n_unit: Text = None
    """`pairs`, `genuine pairs`, `mated searches`"""
    threshold: Number = None
    """a score; of accuracy over folds their mean"""
    far_achieved: Number = None
    """FAR of this sample at the threshold; of `tpir` the FPIR"""
    false_accepts: Count = None
    """at the threshold"""
    impostors: Count = None
    """impostor pairs; of `tpir` the non-mated searches"""
    note: Text = None
    """why there is no value or interval, or how it came about"""


class JudgedData(Record):
    """`data`: the benchmark, and whom of it the training has seen."""

    content_sha256: Text = None
    """of the benchmark"""
    train_content_sha256: Text = None
    """of the training set; null for a model trained elsewhere"""
    images: Count = None
    """of the benchmark"""
    people: Count = None
    """of the tested pairs"""
    seen_people: Count = None
    """of them, also in the training set; null where that is not known"""
    pairs: Count = None
    """tested"""
    seen_pairs: Count = None
    """with a person of the training set; null where that is not known"""


class JudgedModel(Record):
    """`model`: what is known of a model trained elsewhere."""

    label: Text = None
    """its name in the study"""
    kind: Text = None
    """`onnx`, `torchscript`, `checkpoint` or `embeddings`"""
    input: Text = None
    """how it is made, in words"""
    files: dict[str, str] = Field(default_factory=dict)
    """file name → sha256"""
    trained_on: Text = None
    """as the study says"""
    source: Text = None
    """as the study says"""
    licence: Text = None
    """as the study says"""


class EvaluationRecord(Record):
    """`<benchmark>.json`; the scores are in the `.npz` beside it."""

    run: Text = None
    """the run, or the label of a model trained elsewhere, which has no `-` as every run's id has"""
    spec_hash: Text = None
    """of the evaluation"""
    run_spec_hash: Text = None
    """of the run, or of the model's section"""
    benchmark: Text = None
    """its name in the study"""
    protocol: Text = None
    """`pairs` or `templates`"""
    rows: list[NumberRow]
    """one per number"""
    notes: list[str] = Field(default_factory=list)
    """the protocol, a sentence per choice"""
    data: JudgedData | None = None
    """the benchmark"""
    model: JudgedModel | None = None
    """null for a run"""
    environment: Environment | None = None
    """where it was judged"""
