"""The table of measured numbers beside published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from frcore.records.manifest import Manifest
from frcore.reporting.tables.accuracy import interval_text, method_columns, percent
from frcore.reporting.tables.published_figures import backbone_family, figures, official_benchmark
from frcore.reporting.tables.table import Cell, Heading, Table, text_column
from frcore.reporting.tables.table import Column as TableColumn
from frcore.results.frames import Row
from frcore.results.summary import Column, Method, Summary
from frcore.study.config import Study
from frcore.study.data import SyntheticTraining

SHOWN = 3
"""Published figures shown per measured number; the CSV has all."""

COLUMNS = (
    "benchmark", "official", "metric", "far", "backbone", "head", "sampler", "measured", "low",
    "high", "published", "unit", "paper", "arxiv", "table", "method", "published_backbone",
    "published_train_data", "source", "conditions",
)  # fmt: skip
SYNTHETIC = "synthetic"


def published_table(summary: Summary) -> Table:
    """Each measured number of an official benchmark, with figures published for it.

    Whether a benchmark is synthetic is taken from the prepared data set.
    """
    prepared = summary.rows.found.data
    official = {name: _official(name, data, prepared[name].record if name in prepared else None)
                for name, data in summary.study.benchmarks.items()}  # fmt: skip
    found = [list(_beside(summary, method, column, official[column.benchmark]))
             for column in summary.columns if column.subset == "all"
             for method in summary.methods]  # fmt: skip
    records = [record for some in found for record in some]
    columns: list[TableColumn[Row]] = [
        *method_columns(summary.study, itemgetter("of")),
        text_column("benchmark", itemgetter("title")),
        (Heading("measured [%]"), itemgetter("cell")),
        (Heading("published [%]"), _value),
        text_column("where", _where),
        text_column("backbone, training data there", lambda row: ", ".join(
            text if text not in ("-", "") else "not stated"
            for text in (row["published_backbone"], row["published_train_data"]))),
        text_column("conditions that differ", itemgetter("conditions")),
    ]  # fmt: skip
    hidden = sum(len(some[SHOWN:]) for some in found)
    return Table.of(
        "published", "Published beside measured", columns,
        [one for some in found for one in some[:SHOWN]], _notes(official, records, hidden),
        pd.DataFrame(records, columns=COLUMNS),
    )  # fmt: skip


def _official(name: str, data: Any, manifest: Manifest | None) -> str | None:
    """The official benchmark's name, `SYNTHETIC`, or None if unknown.

    A folder in IJB's layout may be synthetic, which only the prepared data record.
    """
    if data.kind.startswith("synthetic") or (manifest and manifest.synthetic):
        return SYNTHETIC
    return official_benchmark(name, data)


def _beside(
    summary: Summary, method: Method, column: Column, official: str | None
) -> Iterator[Row]:
    """The published figures for a measured number, the most similar conditions first.

    Besides the columns of the CSV a row has the method (`of`) and its cells `title` and `cell`.
    """
    number = summary.cell(method, column)
    if number.value is None:
        return
    found = (_own(summary.study, method, column) if method.is_model
             else _others(summary.study, method, column, official))  # fmt: skip
    known = official in (None, column.benchmark)
    measured = {
        **vars(column), **vars(method), "official": official, "measured": number.value,
        "low": number.low, "high": number.high, "of": method,
        "title": column.title if known else f"{column.title} ({official})",
        "cell": Cell(percent(number.value), interval_text(number)),
    }  # fmt: skip
    yield from (measured | one for one in found)


def _others(study: Study, method: Method, column: Column, official: str | None) -> Iterator[Row]:
    if official in (None, SYNTHETIC):
        return
    head, sampler, backbone = (
        next(component.name for component in components if component.label == label)
        for components, label in ((study.heads, method.head), (study.samplers, method.sampler),
                                  (study.backbones, method.backbone))
    )  # fmt: skip
    frame = figures(str(official), column.metric, column.far)
    frame = frame[(frame["head"] == head) & (frame["sampler"] == sampler)]
    alike = frame["backbone"].map(backbone_family) == backbone_family(backbone)
    for _, row in pd.concat([frame[alike], frame[~alike]]).iterrows():
        yield {
            "published": row["value"],
            **{key: row[key] for key in ("unit", "paper", "arxiv", "table", "method", "source")},
            "published_backbone": row["backbone"],
            "published_train_data": row["train_data"],
            "conditions": _conditions(study, backbone, column, row),
        }


def _own(study: Study, method: Method, column: Column) -> Iterator[Row]:
    """The figure published by a model's own source, as given in the study."""
    model = next(one for one in study.models if one.label == method.backbone)
    if column.metric == "accuracy" and column.benchmark in model.published:
        yield {
            "published": model.published[column.benchmark], "unit": "%",
            "paper": "", "arxiv": "", "table": "", "method": model.label,
            "published_backbone": model.label, "published_train_data": model.trained_on,
            "source": model.source,
            "conditions": "same model and training; images, alignment, mirror image and choice "
            "of the threshold may differ",
        }  # fmt: skip


def _conditions(study: Study, backbone: str, column: Column, row: pd.Series) -> str:
    """The known differences between the study and the published experiment."""
    data: Any = study.train
    place = getattr(data, "root", None) or getattr(data, "path", None)
    trained_on = f"{data.kind} {Path(place).name}" if place else str(data.kind)
    if isinstance(data, SyntheticTraining):
        trained_on = f"{data.identities:,} synthetic identities"
    aligned_by = getattr(study.benchmarks[column.benchmark], "aligned_by", None)
    other = backbone_family(backbone) != backbone_family(row["backbone"])
    parts = [
        f"backbone ({backbone} here)" if other else "",
        f"training data ({trained_on} here)",
        f"alignment ({aligned_by} here)" if aligned_by else "",
        "FAR rule (here never above the requested FAR; there often the nearest point)"
        if column.metric == "tar" else "",
        "checkpoint (here the last; there often the best on the test sets)",
        "epochs, batch, margin and scale as each states",
    ]  # fmt: skip
    return "; ".join(filter(None, parts))


def _value(row: Row) -> Cell:
    exact = row["unit"] == "%"
    return Cell(f"{row['published']:.2f}", "" if exact else row["unit"].removeprefix("% "))


def _where(row: Row) -> str:
    where = ", ".join(part for part in (row["paper"], row["table"]) if part and part != "-")
    return f"{where}: {row['method']}" if where else row["source"] or "the model's own source"


def _notes(official: Mapping[str, str | None], records: list[Row], hidden: int) -> list[str]:
    synthetic = [name for name, found in official.items() if found == SYNTHETIC]
    unknown = [name for name, found in official.items() if found is None]
    notes = {
        "A published figure comes from a different experiment: known differences are listed, and "
        "whatever a source does not state may differ too. Only figures read in the source itself "
        "are shown; the CSV names the source of each.": bool(records),
        f"At most {SHOWN} figures per number, those with the same backbone first; the CSV "
        f"has {hidden} more.": hidden,
        f"{', '.join(synthetic)}: synthetic, so there are no published figures.": synthetic,
        f"{', '.join(unknown)}: the official benchmark is unknown; set `published_as:` in the "
        "benchmark's section to name it.": unknown,
        "No published figures are known for these methods on these benchmarks.":
            not records and len(synthetic) + len(unknown) < len(official),
    }  # fmt: skip
    return [note for note, holds in notes.items() if holds]
