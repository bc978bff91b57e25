"""Two studies that differ in one setting: the paired difference of all their common numbers.

    python -m benchmarks.compare_studies results/A results/B [--to differences.csv]

Some settings are the same for all runs of a study, such as `training.backend`. To compare two
values, the study is run twice under two names (`config/backends.yaml` says how). Runs are paired by
name: same backbone, head, sampler and seed; benchmarks and pairs must be the same.

Each row has A − B of the mean over seeds with its 95 % interval over test people and seeds
(`frcore.evaluation.intervals.uncertainty.paired_difference`). Beside it stands how much single runs
differ: `between_studies`, the root mean square of A − B with the same seed, and `between_seeds`,
the same of two seeds within a study. A setting that changes the order of sums alone makes two runs
as different as another seed does, and no more: the two are then of one size.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from frcore.errors import UserError
from frcore.evaluation.intervals.uncertainty import paired_difference
from frcore.evaluation.ranked import Ranked
from frcore.files import atomic_file, refuse_other_file
from frcore.results.rows import why_few
from frcore.results.scores import Arrays, load_scores, metric_of, same_protocol
from frcore.results.summary import Column

METHOD = ["backbone", "head", "sampler"]
NUMBER = ["benchmark", "metric", "far", "subset"]


def compare(a: Path, b: Path) -> pd.DataFrame:
    """One row for each method × number that both studies have, and that may have an interval.

    Args:
        a, b: folders `results/<study>` of finished studies.

    Raises:
        UserError: nothing in common, or runs that were judged on different pairs.
    """
    keys = [*METHOD, "seed", *NUMBER]
    frames = [pd.read_csv(root / "rows" / "evaluation.csv") for root in (a, b)]
    usable = [
        f[(f["status"] == "ok") & (f["subset"] == "all") & (why_few(f) == "")].dropna(
            subset="value"
        )
        for f in frames
    ]
    both = usable[0].merge(usable[1], on=keys, suffixes=("_a", "_b"))
    if both.empty:
        raise UserError(
            f"{a} and {b} have no number in common; they need the same backbones, heads, samplers, "
            "seeds and benchmarks: run one study twice, with one setting changed"
        )
    groups = both.groupby([*METHOD, *NUMBER], dropna=False, sort=False)
    return pd.DataFrame([_row(a, b, part.sort_values("seed")) for _, part in groups])


def _row(a: Path, b: Path, part: pd.DataFrame) -> dict[str, Any]:
    """The difference in one number of one method."""
    first = part.iloc[0]
    far = None if pd.isna(first["far"]) else float(first["far"])
    column = Column(str(first["benchmark"]), str(first["metric"]), far, str(first["subset"]))
    sides = [_side(root, part, side, column) for root, side in ((a, "a"), (b, "b"))]
    arrays = [arrays for arrays_of_side, _ in sides for arrays in arrays_of_side]
    if not all(same_protocol(arrays[0], other) for other in arrays):
        raise UserError(
            f"runs of {a} and {b} were judged on different pairs of '{column.benchmark}'; a paired "
            "difference needs the same ones: give both studies the same benchmarks"
        )
    metric = sides[0][1][0][0]
    pairs = (arrays[0][name] for name in ("same", "identity_a", "identity_b"))
    scores_a, scores_b = ([values for _, values in found] for _, found in sides)
    estimate = paired_difference(scores_a, scores_b, *pairs, metric=metric)
    values_a, values_b = part["value_a"].to_numpy(), part["value_b"].to_numpy()
    seeds = list(combinations(range(len(part)), 2))
    within = [values[i] - values[j] for values in (values_a, values_b) for i, j in seeds]
    return {
        **{name: first[name] for name in (*METHOD, *NUMBER)},
        "a": values_a.mean(),
        "b": values_b.mean(),
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "seeds": len(part),
        "between_studies": _root_mean_square(values_a - values_b),
        "between_seeds": _root_mean_square(within),
        "study_a": a.name,
        "study_b": b.name,
        "commit_a": first["commit_a"],
        "commit_b": first["commit_b"],
        "method": estimate.method,
    }


def _side(
    root: Path, part: pd.DataFrame, side: str, column: Column
) -> tuple[list[Arrays], list[tuple[Any, Any]]]:
    """Arrays of a study's runs, and for each the metric with the scores that it is taken of."""
    arrays, found = [], []
    for row in part.itertuples():
        run, value = getattr(row, f"run_{side}"), getattr(row, f"value_{side}")
        path = root / "evaluation" / run / f"{column.benchmark}.npz"
        loaded, reading = load_scores(path), None
        if loaded is not None:
            ranked = Ranked(loaded["scores"], loaded["same"])
            reading = metric_of(column, loaded, ranked, value)
        if loaded is None or reading is None:
            raise UserError(
                f"{path} does not give the {column.text} of {value:.4f} that the rows have; "
                "needed are the scores of every run: finish the study, or run it again"
            )
        arrays.append(loaded)
        metric, values = reading
        found.append((metric, values.scores if isinstance(values, Ranked) else values))
    return arrays, found


def _root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def main() -> None:
    """Print the differences in points, and write them if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--to", type=Path, help="also write the rows to this CSV file")
    given = parser.parse_args()
    if given.to is not None:
        refuse_other_file(given.to, ",study_a,study_b,", "a comparison of studies")
    frame = compare(given.a, given.b)
    console = Console()
    for row in frame.itertuples():
        number = row.metric if pd.isna(row.far) else f"{row.metric} at FAR {row.far:g}"
        console.print(
            f"{row.head} + {row.sampler}, {row.benchmark}: {number}: {100 * row.a:.2f} − "
            f"{100 * row.b:.2f} = {100 * row.difference:.2f} [{100 * row.low:.2f}, "
            f"{100 * row.high:.2f}] points over {row.seeds} seeds; single runs differ by "
            f"{100 * row.between_studies:.2f} between the studies with one seed, by "
            f"{100 * row.between_seeds:.2f} between seeds",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if given.to is not None:
        with atomic_file(given.to) as path:
            frame.to_csv(path, index=False, lineterminator="\n", float_format="%.6g")


if __name__ == "__main__":
    main()
