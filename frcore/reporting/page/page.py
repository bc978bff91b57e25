"""The report page: everything about a study in a single file that needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from frcore.files import sha256_of_json, write_text
from frcore.preflight.load import study_to_yaml
from frcore.records.manifest import Manifest
from frcore.reporting import outputs
from frcore.reporting.figures.all import Drawn
from frcore.reporting.figures.inlined import dark_variables, inline
from frcore.reporting.page.answer import Answer, answer
from frcore.reporting.page.pages import asset, described, template
from frcore.reporting.page.samples import samples
from frcore.reporting.page.sections import PARTS, SECTIONS, shown
from frcore.reporting.tables.claims import claims_sentence
from frcore.reporting.tables.table import Table
from frcore.results.frames import provenance_of
from frcore.results.reading import Finding
from frcore.results.summary import Summary
from frcore.study import expansion
from frcore.study.config import Study

LAST = ("published", "missing")
"""The sections below the faces."""

ALWAYS = ("overview", "accuracy", "missing")
"""Tables that are shown even when empty."""

Facts = list[tuple[str, str]]
"""Name and text of each entry of a list on the page."""


def write_page(
    summary: Summary, tables: Mapping[str, Table], drawn: Mapping[str, Drawn], root: Path
) -> None:
    """Write `report.html` under `root`.

    Args:
        summary: the study's numbers.
        tables: by name.
        drawn: the figures by name.
        root: `results/<study>`.
    """
    script = asset("report.js")
    svgs = {name: one.svg for name, one in drawn.items() if not one.absent}
    absent = {("figure", name): one.absent for name, one in drawn.items() if one.absent}
    absent |= {("table", name): " ".join(table.notes) for name, table in tables.items()
               if not table.rows and name not in ALWAYS}  # fmt: skip
    sections = shown(absent.keys())
    titles = {part.name: part.title for part in PARTS if part.kind == "figure"}
    study = summary.study
    rows = summary.rows.training if study.trains else summary.rows.evaluation
    data = "Training data" if study.trains else "Benchmarks"
    context: dict[str, Any] = {
        "before": [section for section in sections if section.id not in LAST],
        "after": [section for section in sections if section.id in LAST],
        "absent": _absent(study, absent),
        "study": study,
        "answer": _with_claims(answer(summary), tables["claims"]),
        "tables": tables,
        "figures": {name: inline(svg, name, titles[name]) for name, svg in svgs.items()},
        "samples": samples(study, root),
        "facts": _facts(study, summary.rows.found.data if summary.rows.found else {}),
        "environment": list(provenance_of(rows, data_sha256=f"{data} sha256").items()),
        "commit": _commit(rows),
        "yaml": study_to_yaml(study),
        "style": asset("report.css"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "dark": Markup(dark_variables(svgs.values())),
        "files": {name: quote(place) for name, place in outputs.OUTPUTS.items()},
        "rows": outputs.ROWS,
    }  # fmt: skip
    write_text(outputs.paths(root)["page"], template("report.html.j2").render(context))


def _with_claims(found: Answer, claims: Table) -> Answer:
    """The answer, which begins with the verdicts on the study's claims."""
    said = claims_sentence([*claims.data["verdict"]])
    return replace(found, sentences=tuple(filter(None, (said, *found.sentences))))


def _absent(study: Study, absent: Mapping[tuple[str, str], str]) -> Facts:
    """What the page omits and why, in the order of its sections."""
    found = [
        (part.title, absent[part.key])
        for section in SECTIONS
        if study.trains or not section.needs_training
        for part in section.parts
        if part.key in absent
    ]
    if not study.trains:
        found.append(("Training", "The study trains nothing: no cost, curves or class centres."))
    return found


def _facts(study: Study, prepared: Mapping[str, Finding[Manifest]]) -> Facts:
    """What was trained on which data: entries of the protocol section."""
    facts = [
        ("Study", f"{study.name}, spec {sha256_of_json(study.model_dump(mode='json'))[:12]}"),
        *((f"Benchmark {name}", _data_fact(prepared[name], spec.hash))
          for name, spec in expansion.benchmarks(study).items()),
    ]  # fmt: skip
    for model in study.models:
        parts = [f"{model.kind}, {', '.join(model.paths.values())}",
                 f"trained on: {model.trained_on or 'not stated'}",
                 model.source and f"source: {model.source}",
                 model.licence and f"licence: {model.licence}"]  # fmt: skip
        facts.append((f"Model {model.label}", "; ".join(filter(None, parts))))
    training = study.training
    if training is None:
        return facts
    schedule = training.schedule
    return [
        *facts,
        ("Training data", _data_fact(prepared["train"], expansion.train_data(study).hash)),
        ("Backbones", ", ".join(map(described, study.backbones))),
        ("Heads", ", ".join(map(described, study.heads))),
        ("Samplers", ", ".join(map(described, study.samplers))),
        ("Seeds", ", ".join(map(str, study.seeds))),
        ("Training", f"{training.epochs} epochs, batch {training.batch_size}, SGD with learning "
         f"rate {training.learning_rate:g} ({schedule.kind}, warm-up {schedule.warmup:g} epochs), "
         f"momentum {training.momentum:g}, weight decay {training.weight_decay:g}, "
         f"{training.precision} on {training.device}, {training.threads} thread(s)"),
    ]  # fmt: skip


def _data_fact(found: Finding[Manifest], spec_hash: str) -> str:
    if not (manifest := found.usable):
        return "not prepared" if found.status == "not run" else found.reason
    text = (
        f"{manifest.kind}, {manifest.images:,} images of {manifest.identities:,} identities, "
        f"{manifest.image_size} pixels, alignment {manifest.alignment}, "
        f"sha256 {manifest.content_sha256[:12]}"
    )
    if manifest.skipped:
        text += f"; {len(manifest.skipped)} files left out"
    if manifest.spec_hash != spec_hash:
        text += "; stale: prepared for another version of the study"
    return text + "".join(f"; {warning}" for warning in manifest.warnings)


def _commit(rows: pd.DataFrame) -> str:
    """The commit that all rows come from; empty if there are several or none."""
    found = set(rows["commit"].dropna()) if "commit" in rows else set()
    (commit,) = found if len(found) == 1 else ("",)
    return "" if str(commit).endswith("+") else str(commit)
