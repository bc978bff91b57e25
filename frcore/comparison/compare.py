"""`frcore compare`: from the results of a study to verdicts, files and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from frcore.comparison.cost import costs
from frcore.comparison.output import write
from frcore.comparison.paired import paired_numbers
from frcore.comparison.reference import reference_numbers, same_data
from frcore.comparison.spec import ComparisonSpec
from frcore.comparison.verdict import name_of, outcome
from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.provenance.environment import environment
from frcore.records.base import Environment
from frcore.records.comparison import ComparedCost, ComparedNumber, ComparisonRecord
from frcore.reporting.tables.accuracy import unmarked, unresolved
from frcore.reporting.tables.cost import missing_table
from frcore.results.frames import provenance_of
from frcore.results.kept import read_evaluation, read_reference
from frcore.results.reading import check_hash
from frcore.results.reading import read as read_record
from frcore.results.rows import Rows, collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study import expansion


def compare(spec: ComparisonSpec, root: Path) -> ComparisonRecord:
    """Compare the results of a study so far, and write the comparison, including what is missing.

    Args:
        spec: what is compared, and what fails.
        root: `results/<study>`.

    Raises:
        UserError: the study has no results, kept rows cannot be read, or the rule names a number
            that does not exist.
    """
    rows = collect(spec.study, root)
    # Other heads in the folder belong to the study and are not strays of this comparison.
    rows = replace(rows, found=replace(rows.found, strays=()))
    if rows.usable("evaluation").empty:
        sides = ("candidate", "baseline", "against")
        wanted = " ".join(f"{s}={label}" for s in sides if (label := getattr(spec, s)) is not None)
        heads = ", ".join(head.label for head in spec.study.heads)
        raise UserError(
            f"'{root}' has no finished evaluation of {heads}; run them first: snakemake --cores "
            f"all compare --config {wanted}"
        )
    refuse_other_file(spec.file(root, "json"), '"spec_hash"', "a comparison")
    refuse_other_file(spec.file(root, "svg"), "frcore", "the figure of a comparison")
    summary = Summary(spec.study, rows, Scores(root, rows, _further(spec, root)))
    found = _paired(spec, summary) if spec.against is None else _kept(spec, summary)
    write(found, spec, root)
    return found


def _further(spec: ComparisonSpec, root: Path) -> pd.DataFrame | None:
    """The rows of other methods, whose spread over seeds joins that of the compared ones: of the
    study's report, if there is one, and of the folder that the rule names."""
    folders = [root] if (root / "rows" / "evaluation.csv").exists() else []
    folders += [Path(spec.rule.pool)] if spec.rule.pool else []
    return pd.concat(map(read_evaluation, folders)) if folders else None


def read(spec: ComparisonSpec, root: Path) -> ComparisonRecord:
    """The comparison that `compare` wrote, if it was made for `spec`.

    Raises:
        UserError: it does not exist, cannot be read, or was made for another spec.
    """
    file = spec.file(root, "json")
    found = check_hash(read_record(file, ComparisonRecord), spec.hash)
    if not found.usable:
        raise UserError(f"'{file}': {found.reason}; compare again, without --judge")
    return found.usable


def _paired(spec: ComparisonSpec, summary: Summary) -> ComparisonRecord:
    """A candidate and a baseline of one study."""
    sides = str(spec.candidate), str(spec.baseline)
    one, other = (_of_head(summary.rows, head) for head in sides)
    # Both sides must be evaluated on the same benchmark content; the pairs are checked as well.
    judged = (one.usable("evaluation"), other.usable("evaluation"))
    lines = [
        *differing(one.training, other.training, sides),
        *(f"{name}: evaluated on different benchmark content" for name in other_data(*judged)),
    ]
    found = costs(one.measurement, other.measurement, spec.rule.max_slowdown)
    return _comparison(spec, summary, paired_numbers(spec, summary), found, lines)


def _kept(spec: ComparisonSpec, summary: Summary) -> ComparisonRecord:
    """Heads of a study against the rows kept of them."""
    rows, then = summary.rows, read_reference(Path(str(spec.against)))
    found = [
        cost
        for head in spec.study.heads
        for cost in costs(
            _of_head(rows, head.label).measurement,
            _of_head(then, head.label).measurement,
            spec.rule.max_slowdown,
        )
    ]
    training = rows.usable("training"), then.usable("training")
    judged = rows.usable("evaluation"), then.usable("evaluation")
    both = training[0].merge(training[1], on="run", suffixes=("", "_then"))
    changed = int((both["spec_hash"] != both["spec_hash_then"]).sum())
    recipe = (
        f"recipe: {changed} of {len(both)} runs of the same name have another spec; the study has "
        "changed since, or this version of frcore has more settings"
    )
    lines = [
        *differing(*training, ("now", "reference")),
        *([recipe] if changed else []),
        *(f"{name}: different benchmark content, so different test people"
          for name in other_data(*judged)),
    ]  # fmt: skip
    numbers = reference_numbers(spec, summary, Summary(spec.study, then, Scores(Path(), then)))
    return _comparison(spec, summary, numbers, found, lines)


def differing(candidate: pd.DataFrame, baseline: pd.DataFrame, sides: tuple[str, str]) -> list[str]:
    """One line for each condition, besides the head, that differs between the rows of two sides.

    Args:
        candidate, baseline: rows with provenance, such as those of training.
        sides: what to call them.
    """
    one, other = provenance_of(candidate), provenance_of(baseline)
    return [
        f"{title}: {one.get(title, '—')} ({sides[0]}), {other.get(title, '—')} ({sides[1]})"
        for title in one | other
        if one.get(title) != other.get(title)
    ]


def other_data(candidate: pd.DataFrame, baseline: pd.DataFrame) -> list[str]:
    """The benchmarks whose content differs between the evaluation rows of two sides."""
    shared = sorted({*candidate["benchmark"].dropna()} & {*baseline["benchmark"].dropna()})
    return [name for name in shared if not same_data(candidate, baseline, str(name))]


def _of_head(rows: Rows, head: str) -> Rows:
    """The rows of one head."""
    frames = {
        name: frame[frame["head"] == head]
        for name in ("evaluation", "training", "measurement")
        if (frame := getattr(rows, name)) is not None
    }
    return replace(rows, **frames)


def _comparison(
    spec: ComparisonSpec, summary: Summary, numbers: list[ComparedNumber],
    found: list[ComparedCost], conditions: list[str],
) -> ComparisonRecord:  # fmt: skip
    result = outcome(
        [(name_of(number), number.verdict) for number in numbers],
        [(name_of(cost), cost.verdict) for cost in found],
        _gaps(spec, summary.rows, numbers),
        spec.rule,
    )
    heads = {head.label: head.model_dump(mode="json") for head in spec.study.heads}
    return ComparisonRecord(
        id=spec.id,
        spec_hash=spec.hash,
        study=spec.study.name,
        candidate=heads.get(str(spec.candidate)),
        baseline=heads.get(str(spec.baseline)),
        against=spec.against,
        rule=spec.rule.model_dump(mode="json"),
        runs=list(expansion.runs(spec.study)),
        measurements=list(expansion.measurements(spec.study)),
        environment=Environment(**environment()),
        outcome=result.word,
        exit_code=int(result.code),
        failures=result.failures,
        gaps=result.gaps,
        numbers=numbers,
        costs=found,
        conditions=conditions,
        notes=[*_notes(spec, numbers), *unresolved(summary), *unmarked(summary, summary.columns)],
    )


def _gaps(spec: ComparisonSpec, rows: Rows, numbers: Sequence[ComparedNumber]) -> list[str]:
    """What is missing, and what has values but no verdict."""
    data = missing_table(rows).data
    runs = data[data["what"].isin(["training", "evaluation"])]
    gaps = [f"{row.what} of {row.name}: {row.reason}" for row in runs.itertuples(index=False)]
    for number in numbers:
        # A head added since the rows were kept has nothing to be compared with.
        new = spec.against is not None and spec.candidate is None and number.baseline is None
        if number.verdict == "not compared" and not new:
            gaps.append(f"{name_of(number)}: {number.why}")
    without = set(spec.rule.metrics) - {number.key for number in numbers}
    return gaps + [f"{key}: no head has a value for it" for key in sorted(without)]


def _notes(spec: ComparisonSpec, numbers: Sequence[ComparedNumber]) -> list[str]:
    """How to read the numbers."""
    compared = [number for number in numbers if number.verdict != "not compared"]
    methods = dict.fromkeys(number.method for number in compared)
    level = f"{100 * compared[0].level:.2f} %" if compared and compared[0].level else "95 %"
    side = "kept rows" if spec.against else "the baseline"
    return [
        f"Difference: candidate minus {side}, in points; above 0 the candidate is better.",
        f"Each interval is at {level}, so that all {len(compared)} hold jointly at 95 % "
        "(Bonferroni).",
        *(f"Intervals: {method}." for method in methods if method),
        "'Statistically tied' does not prove that nothing was lost: the lower end of the interval "
        "shows how large a loss is possible.",
    ]
