"""The smallest study that goes through every stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TINY: dict[str, Any] = {
    "name": "tiny",
    "image": {"size": 16, "alignment": "synthetic"},
    "train": {"kind": "synthetic", "identities": 20, "images": 6},
    "benchmarks": {
        "pairs": {"kind": "synthetic_pairs", "identities": 20, "images": 3, "pairs": 40, "folds": 4}
    },
    "backbones": [{"name": "tiny", "dim": 16, "width": 4}],
    "heads": [{"name": "arcface", "scale": 16, "margin": 0.1}, {"name": "adacos"}],
    "samplers": ["full", {"name": "partial_fc", "rate": 0.5}],
    "seeds": [0],
    "training": {"epochs": 1, "batch_size": 16, "learning_rate": 0.1},
    "evaluation": {"flip": "none", "bootstrap": 100},
    "measurement": {
        "identities": [50],
        "batch_size": 8,
        "dim": 16,
        "warmup": 1,
        "steps": 5,
        "attempts": 1,
    },
}


def write_study(folder: Path, **changes: Any) -> Path:
    """`folder/study.yaml`: the tiny study with top-level keys replaced; None removes one."""
    study = {key: value for key, value in {**TINY, **changes}.items() if value is not None}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return path
