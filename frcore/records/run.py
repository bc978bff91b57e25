"""The records in a run's folder: `run.json`, `result.json`, `failure.json`, `running.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from frcore.records.base import Count, Environment, Number, Record, Text

Finite = Annotated[float, Field(allow_inf_nan=False)] | None


class TrainingData(Record):
    """`data` of `run.json`: the prepared training set."""

    content_sha256: Text = None
    """content hash of its images, index and tables"""
    spec_hash: Text = None
    """hash of its section"""
    images: Count = None
    """number of images"""
    identities: Count = None
    """number of labels"""


class RunRecord(Record):
    """`run.json`, written when a training begins."""

    id: Text = None
    """id of the run, `<backbone>-<head>-<sampler>-s<seed>`"""
    spec: dict[str, Any] = Field(default_factory=dict)
    """`frcore.study.expansion.RunSpec`, without paths"""
    spec_hash: Text = None
    """hash of `spec`"""
    data: TrainingData | None = None
    """the training set"""
    environment: Environment | None = None
    """where it was trained"""


class ResultRecord(Record):
    """`result.json`, the last file written by a finished run."""

    id: Text = None
    """id of the run"""
    spec_hash: Text = None
    """hash of its spec"""
    status: Literal["ok"] = "ok"
    """always `ok`"""
    epochs: Count = None
    """epochs trained"""
    steps: Count = None
    """optimiser steps"""
    seconds: Number = None
    """time spent in epochs, over all attempts"""
    images_per_second: Number = None
    """mean over all epochs"""
    final_loss: Finite = None
    """mean loss of the last epoch"""
    backend: Text = None
    """loss backend; with `auto`, the one that was chosen"""
    parameters: Count = None
    """parameters of the backbone"""


class FailureRecord(Record):
    """`failure.json` of the last attempt, if it failed."""

    id: Text = None
    """id of the run"""
    spec_hash: Text = None
    """hash of its spec"""
    status: Literal["failed"] = "failed"
    """always `failed`"""
    error: Text = None
    """error message"""
    diagnosis: dict[str, Any] | Text = None
    """for a loss that was not finite: step, epoch, learning rate, and what else was not finite"""


class LockRecord(Record):
    """`running.json`, while a training is running."""

    host: Text = None
    """hash of the machine and its present boot"""
    pid: Count = None
    """process id"""
    started: Count = None
    """start of the process, in ticks since boot"""
    machine: Text = None
    """name of the machine"""
    job: Text = None
    """Slurm job id, or null"""
    since: Text = None
    """start of the training, UTC"""
