"""The records in a run's folder: `run.json`, `result.json`, `failure.json`, `running.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from frcore.records.base import Count, Environment, Number, Record, Text

Finite = Annotated[float, Field(allow_inf_nan=False)] | None


class TrainingData(Record):
    """`data` of `run.json`: the prepared training set."""

    content_sha256: Text = None
    """of its images, index and tables"""
    spec_hash: Text = None
    """of its section"""
    images: Count = None
    """how many"""
    identities: Count = None
    """labels"""


class RunRecord(Record):
    """`run.json`, written when a training begins."""

    id: Text = None
    """the run, `<backbone>-<head>-<sampler>-s<seed>`"""
    spec: dict[str, Any] = Field(default_factory=dict)
    """`frcore.study.expansion.RunSpec`, without paths"""
    spec_hash: Text = None
    """of `spec`"""
    data: TrainingData | None = None
    """the training set"""
    environment: Environment | None = None
    """where it was trained"""


class ResultRecord(Record):
    """`result.json`, the last file of a finished run."""

    id: Text = None
    """the run"""
    spec_hash: Text = None
    """of its spec"""
    status: Literal["ok"] = "ok"
    """`ok`"""
    epochs: Count = None
    """trained"""
    steps: Count = None
    """of the optimiser"""
    seconds: Number = None
    """spent in epochs, over all attempts"""
    images_per_second: Number = None
    """over all epochs"""
    final_loss: Finite = None
    """mean of the last epoch"""
    backend: Text = None
    """of the loss; where it was to be picked, what was"""
    parameters: Count = None
    """of the backbone"""


class FailureRecord(Record):
    """`failure.json` of the last attempt, when it failed."""

    id: Text = None
    """the run"""
    spec_hash: Text = None
    """of its spec"""
    status: Literal["failed"] = "failed"
    """`failed`"""
    error: Text = None
    """the message"""
    diagnosis: dict[str, Any] | Text = None
    """of a loss that was not finite: step, epoch, rates, and what else was not finite"""


class LockRecord(Record):
    """`running.json`, while a training is at work."""

    host: Text = None
    """a hash of the machine and its present boot"""
    pid: Count = None
    """the process"""
    started: Count = None
    """when it was, in ticks since the boot"""
    machine: Text = None
    """the machine's name"""
    job: Text = None
    """Slurm's job, or null"""
    since: Text = None
    """UTC"""
