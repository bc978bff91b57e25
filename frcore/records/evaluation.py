"""`evaluation/<run>/<benchmark>.json`: the results of an evaluation."""

from __future__ import annotations

from pydantic import Field

from frcore.records.base import Count, Environment, Number, Record, Text


class NumberRow(Record):
    """One of `rows`: one number with its interval."""

    metric: str
    """`accuracy`, `tar`; for a 1:N search `rank`, `tpir`; with `evaluation.insightface` also
    `accuracy_insightface` and `val_insightface`, without intervals"""
    far: Number = None
    """requested FAR; null for accuracy"""
    rank: Count = None
    """requested rank of a 1:N search"""
    fpir: Number = None
    """requested FPIR of a 1:N search"""
    gallery: Count = None
    """gallery of a 1:N search; null for the mean over galleries"""
    subset: str
    """`all`, or `unseen`: without people of the training set"""
    value: Number
    """a proportion; null if it cannot be computed (see `note`)"""
    low: Number = None
    """lower end of the interval; this and the next four are null where a FAR allows fewer than ten
    false accepts"""
    high: Number = None
    """upper end of the interval"""
    level: Number = None
    """level of the interval, 0.95"""
    method: Text = None
    """how the interval was computed"""
    se_test: Number = None
    """standard error due to the choice of test people"""
    n: Count = None
    """sample size"""
    n_unit: Text = None
    """unit of `n`: `pairs`, `genuine pairs`, `mated searches`"""
    threshold: Number = None
    """decision threshold, a score; the mean over folds for accuracy"""
    far_achieved: Number = None
    """FAR of this sample at the threshold; for `tpir` the FPIR"""
    false_accepts: Count = None
    """false accepts at the threshold"""
    impostors: Count = None
    """impostor pairs; for `tpir` non-mated searches"""
    note: Text = None
    """why there is no value or interval, or how it was obtained"""


class JudgedData(Record):
    """`data`: the benchmark, and its overlap with the training set."""

    content_sha256: Text = None
    """content hash of the benchmark"""
    train_content_sha256: Text = None
    """content hash of the training set; null for a model trained elsewhere"""
    images: Count = None
    """images of the benchmark"""
    people: Count = None
    """people in the test pairs"""
    seen_people: Count = None
    """those also in the training set; null if unknown"""
    pairs: Count = None
    """test pairs"""
    seen_pairs: Count = None
    """pairs with a person of the training set; null if unknown"""


class JudgedModel(Record):
    """`model`: description of a model trained elsewhere."""

    label: Text = None
    """its name in the study"""
    kind: Text = None
    """`onnx`, `torchscript`, `checkpoint` or `embeddings`"""
    input: Text = None
    """how its input is prepared, in words"""
    files: dict[str, str] = Field(default_factory=dict)
    """file name → sha256"""
    trained_on: Text = None
    """training data as stated in the study"""
    source: Text = None
    """source as stated in the study"""
    licence: Text = None
    """licence as stated in the study"""


class EvaluationRecord(Record):
    """`<benchmark>.json`; the scores are in the `.npz` beside it."""

    run: Text = None
    """id of the run, or label of a model trained elsewhere (which, unlike an id, has no `-`)"""
    spec_hash: Text = None
    """hash of the evaluation's spec"""
    run_spec_hash: Text = None
    """hash of the run's spec, or of the model's section"""
    benchmark: Text = None
    """its name in the study"""
    protocol: Text = None
    """`pairs` or `templates`"""
    rows: list[NumberRow]
    """one per number"""
    notes: list[str] = Field(default_factory=list)
    """the protocol, one sentence per choice"""
    data: JudgedData | None = None
    """the benchmark"""
    model: JudgedModel | None = None
    """the model trained elsewhere; null for a run"""
    environment: Environment | None = None
    """where it was evaluated"""
