"""What docs/reproduction.md tells: the verdicts on papers' claims that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from frcore.errors import UserError
from frcore.records.claims import ClaimRow
from frcore.reporting.tables.claims import claims_sentence, detail, ours, verdict_text
from frcore.reporting.tables.table import Column, Table, text_column, to_markdown
from frcore.study.file import read_yaml

FILE = "claims.csv"


@dataclass(frozen=True)
class KeptClaims:
    """The claims of one study that `frcore reference` kept.

    Attributes:
        study: its name.
        title: of its file; its name where that is gone.
        link: the folder, relative to docs/.
        command: that repeats it; empty where its file is gone.
        rows: one per claim.
    """

    study: str
    title: str
    link: str
    command: str
    rows: Sequence[ClaimRow]

    @property
    def sentence(self) -> str:
        """How many claims have which verdict."""
        return claims_sentence([row.verdict for row in self.rows])

    @property
    def conditions(self) -> str:
        """Commits and processors of the rows."""
        told = {
            name: ", ".join(dict.fromkeys(getattr(row, name) for row in self.rows
                                          if getattr(row, name)))
            for name in ("commit", "cpu")
        }  # fmt: skip
        return f"commit {told['commit'] or 'unknown'}, {told['cpu'] or 'unknown processor'}"

    @property
    def table(self) -> str:
        """The claims as Markdown."""
        columns: list[Column[ClaimRow]] = [
            text_column("claim", lambda row: row.says),
            text_column("source and published evidence", published),
            text_column("tested", lambda row: f"{row.number}: {row.tested}" if row.tested else "—"),
            text_column("ours", with_sizes),
            text_column("verdict", verdict_text),
        ]
        table = Table.of(self.study, self.title, columns, self.rows, [], pd.DataFrame())
        return to_markdown(table).partition("\n\n")[2].strip()


def published(row: ClaimRow) -> str:
    """Source and evidence in one cell."""
    return ". ".join(filter(None, [row.source, row.published]))


def with_sizes(row: ClaimRow) -> str:
    """The number with its interval, seeds, people, and the values behind it."""
    sizes = [f"{count:,} {name}" for name, count in (("seeds", row.seeds), ("people", row.people))
             if count is not None]  # fmt: skip
    return "; ".join(filter(None, [f"{ours(row).text} {detail(row)}".strip(), ", ".join(sizes),
                                   row.values]))  # fmt: skip


def kept_claims(reference: Path, config: Path) -> list[KeptClaims]:
    """The kept claims of every study that has some.

    Args:
        reference: the folder results/reference of a checkout.
        config: its folder of studies.

    Raises:
        UserError: a file was not written by a report.
    """
    files = known_studies(config)
    found = []
    for path in sorted(reference.glob(f"*/*/{FILE}")):
        rows = read_claims(path)
        if not rows:
            continue
        name = rows[0].study
        file, scale, title = files.get(name, ("", "", name))
        asked = f" --config scale={scale}" if scale else ""
        command = f"snakemake --cores all --configfile {file}{asked}" if file else ""
        link = f"../{path.parent.relative_to(reference.parents[1]).as_posix()}"
        found.append(KeptClaims(name, title, link, command, rows))
    return found


def known_studies(config: Path) -> dict[str, tuple[str, str, str]]:
    """Name of a study -> its file relative to the checkout, its scale, its title."""
    found = {}
    for path in sorted(config.rglob("*.yaml")):
        raw = read_yaml(path)
        name, title = str(raw.get("name")), str(raw.get("title") or raw.get("name"))
        place = path.relative_to(config.parent).as_posix()
        found[name] = (place, "", title)
        for scale, changes in (raw.get("scales") or {}).items():
            if changes:
                own = str(changes.get("title") or f"{title}, {scale}")
                found[f"{name}_{scale}"] = (place, str(scale), own)
    return found


def read_claims(path: Path) -> list[ClaimRow]:
    """The rows of a kept claims.csv.

    Raises:
        UserError: it was not written by a report.
    """
    frame = pd.read_csv(path, dtype="str", keep_default_na=False)
    numbers, counts = ("value", "low", "high", "level"), ("seeds", "people", "pairs")
    rows = []
    try:
        for raw in frame.to_dict("records"):
            row: dict[str, object] = {str(key): text for key, text in raw.items()}
            row |= {key: float(raw[key]) if raw[key] else None for key in numbers}
            row |= {key: int(float(raw[key])) if raw[key] else None for key in counts}
            rows.append(ClaimRow.model_validate(row))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is not the claims of a study: {error}; keep the study again with "
                        "`frcore reference`") from error  # fmt: skip
    return rows
