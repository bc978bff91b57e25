"""Writes what the stages of a study would leave on disk, with numbers known beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.prepared.folder import FORMAT
from frcore.study import expansion
from frcore.study.config import Study
from tests.reporting.told import diagnosed

ENVIRONMENT = {
    "versions": {"python": "3.12.0", "frcore": "0.1.0", "torch": "2.9.0", "numpy": "2.3.0"},
    "commit": "0123456789ab",
    "platform": "Linux-test",
    "cpu": "A processor",
    "cores": 4,
    "device": "cpu",
    "gpu": None,
}
EDGES = list(range(0, 181, 3))
SCALES = {"adacos": 7.5, "adacos_fixed": 9.0, "arcface": 64.0, "cosface": 64.0}


def make_study(**changes: Any) -> Study:
    """Two heads, two samplers, two seeds, pairs and templates."""
    settings: dict[str, Any] = {
        "name": "toy",
        "title": "A toy study",
        "question": "Which head is best?",
        "image": {"size": 32, "alignment": "synthetic"},
        "train": {"kind": "synthetic", "identities": 8, "images": 4},
        "benchmarks": {
            "pairs": {"kind": "synthetic_pairs", "identities": 20, "images": 2, "pairs": 20},
            "templates": {
                "kind": "synthetic_templates",
                "identities": 20,
                "images": 2,
                "impostor_pairs": 100,
            },
        },
        "backbones": ["tiny"],
        "heads": ["arcface", "softmax"],
        "samplers": ["full", "partial_fc"],
        "seeds": [0, 1],
        "training": {"epochs": 3, "batch_size": 8, "learning_rate": 0.1},
        "evaluation": {"flip": "none", "bootstrap": 200},
        "measurement": {"identities": [100, 1000, 10000], "batch_size": 16},
    }
    return Study.model_validate({**settings, **changes})


@dataclass
class Tree:
    """Writes the results of a study under `root`; `skill` moves the genuine scores of a head.

    `pairs` are in each benchmark; each run logs `steps` steps, and these of its `epochs`.
    """

    study: Study
    root: Path
    skill: dict[str, float] = field(default_factory=dict)
    pairs: int = 400
    steps: int = 60
    epochs: tuple[int, ...] = (2,)
    notes: tuple[str, ...] = ("alignment: synthetic", "flip: none", "checkpoint: the last one")

    def everything(self) -> Tree:
        """Data, all runs, all evaluations, all measurements."""
        self.data()
        for name in expansion.runs(self.study):
            self.run(name)
            for benchmark in self.study.benchmarks:
                self.evaluate(name, benchmark)
        for name in expansion.measurements(self.study):
            self.measure(name)
        return self

    def json(self, place: str, value: Any) -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    def data(self, *, synthetic: bool = True) -> None:
        folder = self.root / "data" / "train"
        folder.mkdir(parents=True, exist_ok=True)
        size = self.study.image.size
        generator = np.random.default_rng(0)
        base = generator.integers(60, 200, (8, 1, 1, 1, 3))
        noise = generator.integers(-40, 40, (8, 4, size, size, 3))
        images = np.clip(base + noise, 0, 255).astype(np.uint8).reshape(32, size, size, 3)
        np.save(folder / "images.npy", images)
        index = pd.DataFrame(
            {
                "name": [f"synthetic/{i // 4}/{i % 4}" for i in range(32)],
                "identity": [f"synthetic/train/0/{i // 4:05}" for i in range(32)],
                "label": np.repeat(np.arange(8), 4),
                "medium": np.arange(32),
                "true_identity": [f"synthetic/train/0/{i // 4:05}" for i in range(32)],
            }
        )
        index.to_parquet(folder / "index.parquet")
        spec = expansion.train_data(self.study)
        self.manifest("train", synthetic=synthetic, spec_hash=spec.hash, image_size=size,
                      spec=spec.model_dump(mode="json"))  # fmt: skip

    def manifest(self, name: str, **about: Any) -> None:
        whole: dict[str, Any] = {
            "format": FORMAT, "kind": "synthetic", "protocol": "train", "images": 32,
            "identities": 8, "image_size": 112, "alignment": "synthetic", "colour": "RGB",
            "synthetic": True, "content_sha256": "d" * 64, "skipped": [], "warnings": [],
            "spec": {}, "spec_hash": "", "label_range": [0, 8],
        }  # fmt: skip
        self.json(f"data/{name}/manifest.json", whole | about)

    def run(self, name: str) -> None:
        spec = expansion.runs(self.study)[name]
        head = spec.head.name
        common = {"id": name, "spec_hash": spec.hash}
        self.json(
            f"runs/{name}/run.json",
            {
                **common,
                "spec": spec.model_dump(mode="json"),
                "data": {"content_sha256": "d" * 64, "images": 32, "identities": 8},
                "environment": ENVIRONMENT,
            },
        )
        self._metrics(name, head)
        self.json(f"runs/{name}/diagnostics.json", {**common, "steps": 60, **diagnosed(spec.seed)})
        self.json(
            f"runs/{name}/result.json",
            {**common, "status": "ok", "epochs": 3, "steps": 60, "seconds": 12.5,
             "images_per_second": 640.0, "final_loss": 1.25, "parameters": 12345},
        )  # fmt: skip

    def _metrics(self, name: str, head: str) -> None:
        generator = np.random.default_rng(abs(hash(name)) % 2**32)
        final = SCALES.get(head, 30.0)
        events: list[dict[str, Any]] = [{"event": "start", "angle_edges_degrees": EDGES}]
        for step in range(1, self.steps + 1):
            progress = step / self.steps
            events.append(
                {
                    "event": "step", "step": step, "epoch": step // 20, "loss": 9 - 6 * progress,
                    "learning_rate": 0.1, "images_per_second": 640.0,
                    "scale": final * (1 + (1 - progress) * (head == "adacos")),
                    "target_angle": 90 - 35 * progress + generator.normal(),
                    "negative_angle": 90 + 0.4 * generator.normal(),
                    **({"head": {"t": 0.5 * progress}} if head == "arcface" else {}),
                }
            )  # fmt: skip
        events += [_epoch(epoch, final, generator) for epoch in self.epochs]
        path = self.root / f"runs/{name}/metrics.jsonl"
        path.write_text("\n".join(map(json.dumps, events)) + "\n", encoding="utf-8")

    def fail(self, name: str, error: str = "loss is NaN at step 7") -> None:
        self.run(name)
        (self.root / f"runs/{name}/result.json").unlink()
        self.json(
            f"runs/{name}/failure.json",
            {"id": name, "status": "failed", "error": error, "diagnosis": "lower the rate"},
        )

    def scores(self, name: str, benchmark: str) -> dict[str, np.ndarray]:
        """Scores with a part shared by all runs (hard pairs are hard for all) and a part of it."""
        label = (
            name
            if name in expansion.models(self.study)
            else expansion.runs(self.study)[name].head.label
        )
        shared = np.random.default_rng(sum(benchmark.encode()))
        own = np.random.default_rng(sum(name.encode()) * 7 + sum(benchmark.encode()))
        same = np.arange(self.pairs) % 2 == 0
        identities = self.pairs // 4
        a = shared.integers(0, identities, self.pairs)
        b = np.where(same, a, (a + shared.integers(1, identities, self.pairs)) % identities)
        difficulty = shared.normal(0, 0.15, self.pairs)
        skill = self.skill.get(label, 0.5)
        scores = same * skill + difficulty + own.normal(0, 0.02, self.pairs)
        return {
            "scores": scores.astype(np.float32),
            "same": same,
            "fold": np.repeat(np.arange(10), self.pairs // 10),
            "identity_a": a,
            "identity_b": b,
            "subset_unseen": np.ones(self.pairs, dtype=bool),
        }

    def evaluate(self, name: str, benchmark: str) -> None:
        arrays = self.scores(name, benchmark)
        protocol = "pairs" if benchmark.startswith("pairs") else "templates"
        rows = numbers(protocol, arrays)
        models = expansion.models(self.study)
        judged = {"run_spec_hash": models[name].hash} if name in models else {}
        self.json(
            f"evaluation/{name}/{benchmark}.json",
            {"run": name, **judged, "benchmark": benchmark,
             "spec_hash": expansion.evaluation(self.study).hash, "protocol": protocol, "rows": rows,
             "notes": list(self.notes), "data": {"content_sha256": "b" * 64},
             "environment": ENVIRONMENT},
        )  # fmt: skip
        np.savez(self.root / f"evaluation/{name}/{benchmark}.npz", **arrays)

    def measure(self, name: str, *, oom_at: int | None = None) -> None:
        spec = expansion.measurements(self.study)[name]
        slow = 1.0 + 0.3 * (spec.sampler.label == "full") + 0.1 * len(spec.head.label) / 10
        rows = [measured(identities, slow, oom_at) for identities in spec.measurement.identities]
        self.json(
            f"measurement/{name}.json",
            {"id": name, "spec_hash": spec.hash, "head": spec.head.label,
             "sampler": spec.sampler.label, "rows": rows, "environment": ENVIRONMENT},
        )  # fmt: skip


def _epoch(epoch: int, scale: float, generator: np.random.Generator) -> dict[str, Any]:
    target = np.histogram(generator.normal(55, 9, 900), EDGES)[0].tolist()
    negative = np.histogram(generator.normal(90, 6, 9000), EDGES)[0].tolist()
    return {
        "event": "epoch", "epoch": epoch, "loss": 3.0, "seconds": 4.0, "images_per_second": 640.0,
        "scale": scale, "target_angle": 55.0, "negative_angle": 90.0,
        "target_histogram": target, "negative_histogram": negative,
        "centers": {"nearest_angle_mean": 60.0, "nearest_angle_p5": 50.0,
                    "nearest_angle_min": 40.0, "mean_angle": 90.0},
    }  # fmt: skip


def numbers(protocol: str, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of an evaluation file, computed plainly."""
    scores, same = arrays["scores"].astype(float), arrays["same"]
    genuine, impostor = scores[same], scores[~same]
    common = {"subset": "all", "level": 0.95, "method": "test", "note": ""}
    if protocol == "pairs":
        correct = []
        arrays["threshold"] = np.zeros(len(scores))
        for fold in np.unique(arrays["fold"]):
            rest, here = arrays["fold"] != fold, arrays["fold"] == fold
            choices = np.unique(scores[rest])
            accepted = same[rest].sum() - np.searchsorted(np.sort(scores[rest & same]), choices)
            refused = np.searchsorted(np.sort(scores[rest & ~same]), choices)
            best = choices[np.argmax(accepted + refused)]
            arrays["threshold"][here] = best
            correct.append(np.mean((scores[here] >= best) == same[here]))
        value = float(np.mean(correct))
        return [
            {**common, "metric": "accuracy", "far": None, "value": value, "low": value - 0.02,
             "high": min(value + 0.02, 1.0), "n": len(scores), "n_unit": "pairs",
             "threshold": 0.25, "far_achieved": None, "false_accepts": None, "impostors": None}
        ]  # fmt: skip
    rows = []
    for far in (1e-1, 1e-2, 1e-4):
        row = {**common, "metric": "tar", "far": far, "n": len(genuine), "n_unit": "genuine pairs",
               "impostors": len(impostor), "value": None, "low": None, "high": None,
               "threshold": None, "far_achieved": None, "false_accepts": None}  # fmt: skip
        allowed = int(np.floor(far * len(impostor)))
        if allowed < 1:
            row["note"] = f"{len(impostor)} impostor pairs cannot resolve a FAR of {far:g}"
        else:
            threshold = np.sort(impostor)[::-1][allowed]
            value = float(np.mean(genuine > threshold))
            row |= {"value": value, "low": value - 0.03, "high": min(value + 0.03, 1.0),
                    "threshold": float(threshold), "false_accepts": allowed,
                    "far_achieved": allowed / len(impostor)}  # fmt: skip
        rows.append(row)
    return rows


def measured(identities: int, slow: float, oom_at: int | None) -> dict[str, Any]:
    """One measured point: 1 ms per thousand identities, times `slow`, plus 2 ms."""
    row: dict[str, Any] = {
        "identities": identities, "status": "ok", "error": None, "device": "cpu", "batch_size": 16,
        "dim": 512, "inside_timer": "forward, backward, update", "steps": 20,
    }  # fmt: skip
    if oom_at is not None and identities >= oom_at:
        return {
            **row,
            "status": "oom",
            "error": "out of memory: 9663676416 bytes were requested",
            "bytes_asked": 9 * 2**30,
        }
    step = slow * (2 + identities / 1000)
    return {
        **row, "step_ms": step, "step_ms_low": 0.95 * step, "step_ms_high": 1.1 * step,
        "images_per_second": 16_000 / step, "cpu_ms_per_step": step,
        "rss_peak_mib": 300 + identities * 0.004, "rss_extra_mib": 2 + identities * 0.004 * slow,
        "allocated_peak_mib": None, "nvml_process_mib": None, "power_watts": None,
    }  # fmt: skip
