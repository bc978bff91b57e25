"""The one page: everything of a study in a single file that needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from frcore.files import sha256_of_json, write_text
from frcore.preflight.load import study_to_yaml
from frcore.reporting import outputs
from frcore.reporting.figures.canvas import inline
from frcore.reporting.figures.dark import dark_variables
from frcore.reporting.page import captions
from frcore.reporting.page.answer import answer
from frcore.reporting.page.pages import asset, described, template
from frcore.reporting.page.samples import samples
from frcore.reporting.page.sections import SECTIONS, shown
from frcore.reporting.tables.table import Table
from frcore.results.records import Record, read_record
from frcore.results.shapes import Manifest
from frcore.results.summary import Summary
from frcore.study import expansion
from frcore.study.config import Study
from frcore.study.models import Model

LAST = ("published", "missing")
"""The sections after the faces."""
ALWAYS = ("overview", "accuracy", "missing")
"""Tables that are shown even without a row."""


def write_page(
    summary: Summary,
    tables: Mapping[str, Table],
    no_figures: Mapping[str, str],
    root: Path,
) -> None:
    """Write `report.html` under `root`; the figures must have been written before.

    Args:
        summary: the study's numbers.
        tables: by name.
        no_figures: the figures with nothing to show, and why.
        root: `results/<study>`.
    """
    script = asset("report.js")
    svgs = _svgs(root, no_figures)
    absent = _absent(no_figures, tables)
    sections = shown(absent.keys())
    context: dict[str, Any] = {
        "before": [section for section in sections if section.id not in LAST],
        "after": [section for section in sections if section.id in LAST],
        "absent": _told(summary.study, absent),
        "study": summary.study,
        "answer": answer(summary),
        "tables": tables,
        "captions": captions.TABLES,
        "figures": _figures(svgs),
        "samples": samples(summary.study, root),
        "facts": _facts(summary, root),
        "environment": _environment(summary),
        "commit": _commit(summary),
        "yaml": study_to_yaml(summary.study),
        "style": asset("report.css"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "dark": Markup(dark_variables(svgs.values())),
        "files": {name: quote(place) for name, place in outputs.OUTPUTS.items()},
        "rows": outputs.ROWS,
    }
    write_text(outputs.paths(root)["page"], template("report.html.j2").render(context))


def _absent(figures: Mapping[str, str], tables: Mapping[str, Table]) -> dict[tuple[str, str], str]:
    """Kind and name of each part that has nothing to show -> why."""
    empty = {
        ("table", name): " ".join(table.notes)
        for name, table in tables.items()
        if not table.rows and name not in ALWAYS
    }
    return {("figure", name): why for name, why in figures.items()} | empty


def _told(study: Study, absent: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    """What the page leaves out and why, in the order of its sections."""
    titles = {"figure": captions.FIGURES, "table": captions.TABLES}
    found = [
        (titles[part.kind][part.name][0], absent[part.key])
        for section in SECTIONS
        if study.trains or not section.needs_training
        for part in section.parts
        if part.key in absent
    ]
    if not study.trains:
        found.append(("Training", "The study trains nothing: no cost, curves or class centres."))
    return found


def _svgs(root: Path, absent: Collection[str]) -> dict[str, str]:
    places = outputs.paths(root)
    return {
        name: places[f"figure_{name}_svg"].read_text(encoding="utf-8")
        for name in outputs.FIGURES
        if name not in absent
    }


def _figures(svgs: Mapping[str, str]) -> dict[str, Record]:
    return {
        name: {
            "title": captions.FIGURES[name][0],
            "caption": captions.FIGURES[name][1],
            "svg": Markup(inline(svg, name, captions.FIGURES[name][0])),
        }
        for name, svg in svgs.items()
    }


def _facts(summary: Summary, root: Path) -> list[tuple[str, str]]:
    """What was trained on what: lines of the protocol section."""
    study = summary.study
    facts = [
        ("Study", f"{study.name}, spec {sha256_of_json(study.model_dump(mode='json'))[:12]}"),
        *((f"Benchmark {name}", _data_fact(root / "data" / name, spec.hash))
          for name, spec in expansion.benchmarks(study).items()),
        *((f"Model {model.label}", _model_fact(model)) for model in study.models),
    ]  # fmt: skip
    return facts + _training_facts(study, root)


def _model_fact(model: Model) -> str:
    parts = [f"{model.kind}, {', '.join(model.paths.values())}"]
    parts.append(f"trained on: {model.trained_on or 'not stated'}")
    parts += [f"source: {model.source}"] if model.source else []
    parts += [f"licence: {model.licence}"] if model.licence else []
    return "; ".join(parts)


def _training_facts(study: Study, root: Path) -> list[tuple[str, str]]:
    """What was trained, on what and how; nothing where the study trains nothing."""
    training = study.training
    if training is None:
        return []
    schedule = training.schedule
    return [
        ("Training data", _data_fact(root / "data" / "train", expansion.train_data(study).hash)),
        ("Backbones", ", ".join(map(described, study.backbones))),
        ("Heads", ", ".join(map(described, study.heads))),
        ("Samplers", ", ".join(map(described, study.samplers))),
        ("Seeds", ", ".join(map(str, study.seeds))),
        ("Training", f"{training.epochs} epochs, batch {training.batch_size}, SGD with learning "
         f"rate {training.learning_rate:g} ({schedule.kind}, warm-up {schedule.warmup:g} epochs), "
         f"momentum {training.momentum:g}, weight decay {training.weight_decay:g}, "
         f"{training.precision} on {training.device}, {training.threads} thread(s)"),
    ]  # fmt: skip


def _data_fact(folder: Path, spec_hash: str) -> str:
    manifest = read_record(folder / "manifest.json", Manifest)
    if not manifest.usable:
        return "not prepared" if manifest.status == "not run" else manifest.reason
    record = manifest.record
    text = (
        f"{record.get('kind')}, {record.get('images'):,} images of "
        f"{record.get('identities'):,} identities, {record.get('image_size')} pixels, alignment "
        f"{record.get('alignment')}, sha256 {str(record.get('content_sha256'))[:12]}"
    )
    if record.get("skipped"):
        text += f"; {len(record['skipped'])} files left out"
    if record.get("spec_hash") != spec_hash:
        text += "; stale: prepared for another version of the study"
    return text + "".join(f"; {warning}" for warning in record.get("warnings") or [])


def _environment(summary: Summary) -> list[tuple[str, str]]:
    """Versions and devices of the rows; several values where the runs differ."""
    names = {
        "commit": "Commit", "platform": "Platform", "cpu": "Processor", "cores": "Cores",
        "device": "Device", "gpu_name": "GPU", "gpu_driver": "Driver",
        "gpu_power_limit_watts": "Power limit [W]",
    }  # fmt: skip
    frame = summary.rows.training if summary.study.trains else summary.rows.evaluation
    data = "Training data" if summary.study.trains else "Benchmarks"
    names["data_sha256"] = f"{data} sha256"
    lines = [(title, _values(frame[name])) for name, title in names.items() if name in frame]
    versions = [str(name) for name in frame if str(name).startswith("version_")]
    lines += [(name.removeprefix("version_"), _values(frame[name])) for name in versions]
    return [(title, text) for title, text in lines if text]


def _commit(summary: Summary) -> str:
    """The commit that all rows come from; empty where there are several, or none."""
    trains = summary.study.trains
    frame = summary.rows.training if trains else summary.rows.evaluation
    found = set(frame["commit"].dropna()) if "commit" in frame else set()
    (commit,) = found if len(found) == 1 else ("",)
    return "" if str(commit).endswith("+") else str(commit)


def _values(column: Any) -> str:
    return ", ".join(dict.fromkeys(map(str, column.dropna())))
