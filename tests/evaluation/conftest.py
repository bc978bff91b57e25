"""Stored embeddings of real faces, and scores with known structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class LFW:
    embeddings: np.ndarray
    person: np.ndarray
    rows: dict[str, int]
    root: Path

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image rows a, b and labels of View 2, in the list's order."""
        a, b, same = [], [], []
        for line in (self.root / "protocol" / "pairs.txt").read_text().splitlines()[1:]:
            field = line.split("\t")
            other = field[0] if len(field) == 3 else field[2]
            a.append(self.rows[f"{field[0]}/{field[0]}_{int(field[1]):04d}.jpg"])
            b.append(self.rows[f"{other}/{other}_{int(field[-1]):04d}.jpg"])
            same.append(len(field) == 3)
        return np.array(a), np.array(b), np.array(same)


@pytest.fixture(scope="session")
def lfw(shared_data: Path) -> LFW:
    root = shared_data / "lfw"
    stored = np.load(root / "embeddings" / "mobilefacenet_foamliu_flipsum_f16.npy")
    names = (root / "embeddings" / "names.txt").read_text().split()
    people = [name.partition("/")[0] for name in names]
    return LFW(
        embeddings=stored.astype(np.float32),
        person=np.unique(people, return_inverse=True)[1],
        rows={name: row for row, name in enumerate(names)},
        root=root,
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
