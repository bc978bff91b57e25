"""What a run tells of its class centres, with numbers known beforehand."""

from __future__ import annotations

from typing import Any


def diagnosed(seed: int) -> dict[str, Any]:
    """Eight classes, of which two are one person; the figures differ by seed as the tests say."""
    angles = {"nearest_angle_mean": 60.0, "nearest_angle_p5": 50.0, "nearest_angle_min": 40.0}
    common = {"classes": 4, "images_low": 2, "images_high": 9, **angles,
              "target_angle_p5": 30.0, "target_angle_p95": 60.0}  # fmt: skip
    found = [(0.3, 4, 1), (0.4, 2, 1), (0.5, 1 - seed, 0), (0.6, 0, 0)]
    return {
        "classes": 8,
        "centers": {**angles, "mean_angle": 90.0},
        "groups": [
            {**common, "group": "head", "images": 8.0, "positive": 24.0 + seed, "queue": 0.0,
             "passive": 12.0, "passive_per_positive": 0.5, "target_angle_mean": 40.0},
            {**common, "group": "tail", "images": 2.0, "positive": 6.0, "queue": 1.5,
             "passive": 30.0 + 4 * seed, "passive_per_positive": 5.0 + seed,
             "target_angle_mean": 50.0 + 2 * seed},
        ],
        "conflicts": {
            "split_pairs": 1,
            "rows": [
                {"cosine": cosine, "pairs": pairs, "same_person": same,
                 "precision": same / pairs if pairs else None, "recall": float(same)}
                for cosine, pairs, same in found
            ],
            "histogram": {
                "edges": [-1.0, -0.5, 0.0, 0.5, 1.0], "pairs": [0, 20, 7 - seed, 1 + seed],
                "same_person": [0, 0, 1 - seed, seed],
            },
        },
        "notes": [],
    }  # fmt: skip
