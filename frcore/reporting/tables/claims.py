"""The claims of a study with their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from frcore.preflight.claims import published_rows
from frcore.records.claims import ClaimRow
from frcore.reporting.tables.table import Cell, Column, Table, text_column
from frcore.results.claims import claim_rows
from frcore.results.summary import Summary
from frcore.study.claims import Claim

NO_CLAIMS = "The study states no claims."

NOTES = (
    "Reproduced: the interval is clear of zero, or of the smallest effect claimed, in the claimed "
    "direction; for a claim of no difference, within what is stated. Not reproduced: the same for "
    "the opposite, or an effect that is surely negligible as stated. Needs: no test here.",
    "Intervals of metrics are those of paired differences over the same pairs and seeds; of what a "
    "training recorded, Student's over seeds, paired by seed; all of them hold jointly at 95 % "
    "(Bonferroni). A trend is linear in the rank of the dose: a weighted mean of the upper half of "
    "the doses minus one of the lower half. × is a ratio, with its span from the 20th to the 80th "
    "percentile of the steps.",
)

IN_A_SENTENCE = {
    "reproduced": ("is reproduced", "are reproduced"),
    "not reproduced": ("is not reproduced", "are not reproduced"),
    "cannot be told": ("cannot be told", "cannot be told"),
    "needs": ("needs what is not here", "need what is not here"),
}
"""Each verdict, of one claim and of several."""


def claims_table(summary: Summary) -> Table:
    """One row per claim."""
    rows = claim_rows(summary)
    claims = summary.study.claims
    rows = [row.but(published=evidence(claims[row.claim])) for row in rows]
    columns: list[Column[ClaimRow]] = [
        text_column("claim", lambda row: Cell(row.says, f"({row.source})")),
        text_column("verdict", verdict_text),
        text_column("ours", lambda row: replace(ours(row), detail=detail(row))),
        text_column("tested", lambda row: Cell(row.number or "—", tested(row))),
        text_column("published", lambda row: row.published or "—"),
    ]
    data = pd.DataFrame([row.model_dump() for row in rows], columns=[*ClaimRow.model_fields])
    notes = list(NOTES) if rows else [NO_CLAIMS]
    return Table.of("claims", "Claims and verdicts", columns, rows, notes, data)


def evidence(claim: Claim) -> str:
    """Published evidence in words: rows of published.csv with their values, and the text."""
    told = [
        f"{row['method']}: {row['benchmark']} {row['metric']} {row['value']} {row['unit']}"
        for asked in claim.published
        for row in published_rows(asked)
    ]
    return "; ".join([*filter(None, [claim.evidence]), *told])


def verdict_text(row: ClaimRow) -> Cell:
    """The verdict, and what it would take."""
    if row.verdict == "needs":
        return Cell(f"needs {row.why}")
    return Cell(row.verdict, f"(it takes {row.why})" if row.level and row.why else row.why)


def ours(row: ClaimRow) -> Cell:
    """The number with its interval."""
    if row.value is None:
        return Cell()
    unit = {"×": " ×", "degrees": "°", "": ""}.get(row.unit, f" {row.unit}")
    if row.low == row.high:
        return Cell(f"{digits(row, row.value)}{unit}")
    return Cell(f"{digits(row, row.value)}{unit}",
                f"[{digits(row, row.low)}, {digits(row, row.high)}]")  # fmt: skip


def tested(row: ClaimRow) -> str:
    """What is compared and expected, and the numbers behind it."""
    return f"{row.tested} ({row.values})" if row.values else row.tested


def detail(row: ClaimRow) -> str:
    """The interval of the number, and which contrast it is of."""
    return " ".join(filter(None, [ours(row).detail, row.shown and f"({row.shown})"]))


def digits(row: ClaimRow, value: float | None) -> str:
    """A number of a row."""
    if value is None:
        return "—"
    return f"{value:.2f}" if row.unit in ("points", "degrees", "×") else f"{value:.4g}"


def claims_sentence(verdicts: Sequence[str]) -> str:
    """How many claims have which verdict; empty without claims.

    >>> claims_sentence(["reproduced", "reproduced", "needs"])
    'Of 3 claims, 2 are reproduced and 1 needs what is not here.'
    """
    counted = Counter(verdicts)
    told = [f"{counted[one]} {words[counted[one] > 1]}" for one, words in IN_A_SENTENCE.items()
            if counted[one]]  # fmt: skip
    if not told:
        return ""
    listed = " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))
    return f"Of {len(verdicts):,} claim{'s' * (len(verdicts) > 1)}, {listed}."
