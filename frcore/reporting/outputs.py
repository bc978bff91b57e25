"""What a report writes: the same files for every study, known before anything has run.

The Snakefile declares these as outputs, so this module imports nothing heavy. A figure without
data is still written, with a message instead of curves.
"""

from __future__ import annotations

from pathlib import Path

PAGE = "report.html"
PAGE_MARK = '<meta name="generator" content="frcore">'

FIGURES = (
    "accuracy_cost", "roc", "det", "sampler_curves", "memory", "throughput", "roofline", "scaling",
    "training", "head_state", "angle_distributions", "angle_histograms", "center_angles",
    "center_cosines", "long_tail",
)  # fmt: skip
"""Each is `figures/<name>.svg`, and has `workflow/report/<name>.rst` as its caption."""

TABLES = (
    "claims", "overview", "accuracy", "differences", "power", "published", "cost", "scaling",
    "passive_updates", "conflicts", "missing",
)  # fmt: skip
"""Each is `tables/<name>.csv`, `.md` and `.tex`, and has `workflow/report/table_<name>.rst`."""

ROWS = ("evaluation", "training", "measurement", "diagnostics")
"""Each is `rows/<name>.parquet` and `.csv`."""

TABLE_SUFFIXES = ("csv", "md", "tex")
ROW_SUFFIXES = ("parquet", "csv")

OUTPUTS: dict[str, str] = {
    "page": PAGE,
    **{f"figure_{name}_svg": f"figures/{name}.svg" for name in FIGURES},
    **{f"table_{name}_{kind}": f"tables/{name}.{kind}"
       for name in TABLES for kind in TABLE_SUFFIXES},
    **{f"rows_{name}_{kind}": f"rows/{name}.{kind}" for name in ROWS for kind in ROW_SUFFIXES},
}  # fmt: skip
"""Name -> path relative to `results/<study>`."""


def paths(root: str | Path) -> dict[str, Path]:
    """Name -> path of every file that `report` writes under `root` (`results/<study>`)."""
    return {name: Path(root) / place for name, place in OUTPUTS.items()}
