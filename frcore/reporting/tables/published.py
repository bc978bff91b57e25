"""The table of measured numbers with the published ones beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frcore.records.manifest import Manifest
from frcore.reporting.tables.accuracy import interval_text, method_cells, method_headings, percent
from frcore.reporting.tables.published_figures import backbone_family, figures, official_benchmark
from frcore.reporting.tables.table import Cell, Heading, Table
from frcore.results.reading import read
from frcore.results.records import Record
from frcore.results.summary import Column, Method, Number, Summary
from frcore.study.config import Component, Study

SHOWN = 3
"""Published figures beside one measured number; the CSV has all."""

COLUMNS = (
    "benchmark", "official", "metric", "far", "backbone", "head", "sampler", "measured", "low",
    "high", "published", "unit", "paper", "arxiv", "table", "method", "published_backbone",
    "published_train_data", "source", "conditions",
)  # fmt: skip


def published_table(summary: Summary, root: Path) -> Table:
    """Each measured number of an official benchmark, with what others have published of it.

    Args:
        summary: the study's numbers.
        root: `results/<study>`, whose prepared benchmarks say whether they are synthetic.
    """
    official = {name: _official(name, data, root)
                for name, data in summary.study.benchmarks.items()}  # fmt: skip
    headings = [
        *method_headings(summary.study),
        Heading("benchmark", numeric=False),
        Heading("measured [%]"),
        Heading("published [%]"),
        Heading("where", numeric=False),
        Heading("backbone, training data there", numeric=False),
        Heading("conditions that differ", numeric=False),
    ]
    records: list[Record] = []
    body: list[list[Cell]] = []
    hidden = 0
    for method, column, number in _measured(summary):
        found = list(_beside(summary.study, method, column, number, official[column.benchmark]))
        records += found
        hidden += len(found[SHOWN:])
        body += [_cells(summary.study, method, column, number, row) for row in found[:SHOWN]]
    data = pd.DataFrame(records, columns=COLUMNS)
    title = "Published beside measured"
    return Table("published", title, headings, body, _notes(official, records, hidden), data)


SYNTHETIC = "synthetic"


def _official(name: str, data: Any, root: Path) -> str | None:
    """The official benchmark's name, `SYNTHETIC`, or None where it is not known.

    A folder in IJB's layout may be a synthetic one: only the prepared data tell.
    """
    manifest = read(root / "data" / name / "manifest.json", Manifest).record
    if data.kind.startswith("synthetic") or (manifest and manifest.synthetic):
        return SYNTHETIC
    return official_benchmark(name, data)


def _measured(summary: Summary) -> Iterator[tuple[Method, Column, Number]]:
    for column in summary.columns:
        if column.subset == "all":
            for method in summary.methods:
                number = summary.cell(method, column)
                if number.value is not None:
                    yield method, column, number


def _beside(
    study: Study, method: Method, column: Column, number: Number, official: str | None
) -> Iterator[Record]:
    """The published figures of a measured number, those under the most alike conditions first."""
    common = {
        "benchmark": column.benchmark, "official": official, "metric": column.metric,
        "far": column.far, "backbone": method.backbone, "head": method.head,
        "sampler": method.sampler, "measured": number.value, "low": number.low, "high": number.high,
    }  # fmt: skip
    if method.is_model:
        yield from ({**common, **own} for own in _own(study, method, column))
    elif official not in (None, SYNTHETIC):
        frame = figures(str(official), column.metric, column.far)
        names = [_name(study.heads, method.head), _name(study.samplers, method.sampler)]
        frame = frame[(frame["head"] == names[0]) & (frame["sampler"] == names[1])]
        ours = backbone_family(_name(study.backbones, method.backbone))
        alike = frame["backbone"].map(backbone_family) == ours
        for _, row in pd.concat([frame[alike], frame[~alike]]).iterrows():
            yield {
                **common,
                "published": row["value"],
                **{key: row[key] for key in ("unit", "paper", "arxiv", "table", "method")},
                "published_backbone": row["backbone"],
                "published_train_data": row["train_data"],
                "source": row["source"],
                "conditions": _conditions(study, method, column, row),
            }


def _own(study: Study, method: Method, column: Column) -> Iterator[Record]:
    """What a model's own source publishes, as the study says."""
    model = next(one for one in study.models if one.label == method.backbone)
    if column.metric == "accuracy" and column.benchmark in model.published:
        yield {
            "published": model.published[column.benchmark],
            "unit": "%",
            "paper": "",
            "arxiv": "",
            "table": "",
            "method": model.label,
            "published_backbone": model.label,
            "published_train_data": model.trained_on,
            "source": model.source,
            "conditions": "none of model and training; images, alignment, mirror image and choice "
            "of the threshold may be others",
        }


def _name(components: tuple[Component, ...], label: str) -> str:
    return next(component.name for component in components if component.label == label)


def _conditions(study: Study, method: Method, column: Column, row: pd.Series) -> str:
    """What is not the same here and there, as far as both say."""
    backbone = _name(study.backbones, method.backbone)
    parts = []
    if backbone_family(backbone) != backbone_family(row["backbone"]):
        parts.append(f"backbone ({backbone} here)")
    parts.append(f"training data ({_training_data(study)} here)")
    if column.metric == "tar":
        parts.append("FAR rule (never above the one asked here; often the nearest point there)")
    parts.append("checkpoint (the last here; often the best on the tests there)")
    parts.append("epochs, batch, margin and scale as each states")
    return "; ".join(parts)


def _training_data(study: Study) -> str:
    data: Any = study.train
    if data.kind == "synthetic":
        return f"{data.identities:,} synthetic identities"
    place = getattr(data, "root", None) or getattr(data, "path", None)
    return f"{data.kind} {Path(place).name}" if place else str(data.kind)


def _cells(study: Study, method: Method, column: Column, number: Number, row: Record) -> list[Cell]:
    where = ", ".join(part for part in (row["paper"], row["table"]) if part and part != "-")
    where = f"{where}: {row['method']}" if where else row["source"] or "the model's own source"
    there = [row["published_backbone"], row["published_train_data"]]
    exact = row["unit"] == "%"
    return [
        *method_cells(study, method),
        Cell(column.title if row["official"] in (None, column.benchmark)
             else f"{column.title} ({row['official']})"),
        Cell(percent(number.value or 0.0), interval_text(number)),
        Cell(f"{row['published']:.2f}", "" if exact else row["unit"].removeprefix("% ")),
        Cell(where),
        Cell(", ".join(text if text not in ("-", "") else "not stated" for text in there)),
        Cell(row["conditions"]),
    ]  # fmt: skip


def _notes(official: Mapping[str, str | None], records: list[Record], hidden: int) -> list[str]:
    synthetic = [name for name, found in official.items() if found == SYNTHETIC]
    unknown = [name for name, found in official.items() if found is None]
    notes = []
    if records:
        notes.append(
            "A published figure is another experiment: what is known to differ is named, and what "
            "a source does not say may differ too. Only figures that were read in the source "
            "itself are shown; where each was read is in the CSV."
        )
    if hidden:
        notes.append(
            f"At most {SHOWN} figures beside one number, those of the same backbone first; the CSV "
            f"has {hidden} more."
        )
    if synthetic:
        notes.append(f"{', '.join(synthetic)}: synthetic, so nobody has published figures of it.")
    if unknown:
        notes.append(
            f"{', '.join(unknown)}: not known which official benchmark it is; `published_as:` of "
            "the benchmark says so."
        )
    if not records and len(synthetic) + len(unknown) < len(official):
        notes.append("No published figure was seen for these methods on these benchmarks.")
    return notes
