import csv
import dataclasses
import re

import numpy as np
import pytest

from frcore.reporting.page.answer import answer, over_all
from frcore.reporting.tables.all import all_tables
from frcore.reporting.tables.cost import cost_table, significant
from frcore.results.summary import Summary
from tests.reporting.made import HOSTILE, Made
from tests.results.test_summary import ACCURACY, FEW, TAR, values


def column(table, text: str) -> int:
    return [heading.text for heading in table.headings].index(text)


def test_accuracy_table_prints_the_means(complete: Made, summary: Summary):
    table = all_tables(summary)["accuracy"]
    assert [heading.text for heading in table.headings] == [
        "head", "sampler", "accuracy [%]", "TAR at FAR 0.1 [%]", "TAR at FAR 0.01 [%]"
    ]  # fmt: skip
    for row in table.rows:
        for shown, place in ((ACCURACY, 2), (TAR, 3), (FEW, 4)):
            mean = np.mean(values(complete, row[0].text, row[1].text, shown))
            assert row[place].text == f"{100 * mean:.2f}"
            assert row[place].detail.startswith("[") == (shown is not FEW)
            assert shown is not FEW or (row[place].mark, row[place].detail) == ("", "")
    why = "templates: TAR at FAR 0.01: no interval and no mark, FAR 0.01 allows 2 false accepts"
    assert sum(note.startswith(why) for note in table.notes) == 1


def test_the_headline_is_the_lowest_far_with_an_interval(complete: Made, summary: Summary):
    tables = all_tables(summary)
    assert [heading.text for heading in tables["overview"].headings][2:4] == [
        "accuracy [%]", "TAR at FAR 0.1 [%]"
    ]  # fmt: skip
    [note] = [note for note in tables["overview"].notes if "the lowest FAR" in note]
    assert note.startswith("templates: TAR at FAR 0.1")
    assert "the 10 false accepts" in note
    assert set(tables["differences"].data["far"].dropna()) == {0.1}


@pytest.mark.slow
def test_accuracy_csv_has_full_precision(complete: Made, summary: Summary):
    with (complete.reported / "tables/accuracy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        mean = np.mean(values(complete, row["head"], row["sampler"], ACCURACY))
        assert float(row["pairs.accuracy.value"]) == mean
        assert row["pairs.accuracy.seeds"] == "0 1"
        assert row["pairs.accuracy.n"] == "400"


def test_accuracy_notes_state_protocol_n_interval_and_seeds(complete: Made, summary: Summary):
    notes = "\n".join(all_tables(summary)["accuracy"].notes)
    assert "400 pairs (pairs); 200 genuine pairs (templates)" in notes
    assert "Mean over seeds 0, 1" in notes
    assert "clustered by" in notes
    assert "checkpoint: the last one" in notes
    assert "200 impostor pairs cannot resolve a FAR of 0.0001" in notes


@pytest.mark.slow
def test_one_seed_is_said_to_be_one_seed(broken: Made, broken_summary: Summary):
    notes = "\n".join(all_tables(broken_summary)["accuracy"].notes)
    assert "One seed per method" in notes
    assert HOSTILE in notes
    assert "one seed each" in answer(broken_summary).sentences[-1]


def test_cost_table_shows_medians_with_spread(complete: Made, summary: Summary):
    table = all_tables(summary)["cost"]
    first = table.rows[0]
    step = (1.0 + 0.3 + 0.1 * 7 / 10) * 2.1  # as in tree.measure for arcface, full, 100
    assert [cell.text for cell in first[:4]] == ["arcface", "full", "100", f"{step:.2f}"]
    assert first[3].detail == f"[{0.95 * step:.2f}, {1.1 * step:.2f}]"
    titles = [heading.text for heading in table.headings]
    assert "RSS extra [MiB]" in titles
    # Nothing measured these, so there are no columns of dashes.
    assert not {"NVML process [MiB]", "power [W]", "energy [mJ/step]"} & set(titles)


def test_cost_notes_name_an_unusual_format_of_the_centres(complete: Made, summary: Summary):
    assert "stored as" not in " ".join(all_tables(summary)["cost"].notes)
    frame = complete.rows.measurement.assign(center_format="split")
    rows = dataclasses.replace(complete.rows, measurement=frame)
    assert "stored as `split`" in " ".join(cost_table(complete.study, rows).notes)


def test_cost_notes_name_operands_that_were_rounded(complete: Made, summary: Summary):
    assert "operands" not in " ".join(all_tables(summary)["cost"].notes)
    frame = complete.rows.measurement.assign(backend="triton", operands="bf16")
    rows = dataclasses.replace(complete.rows, measurement=frame)
    assert "from bf16 operands with triton" in " ".join(cost_table(complete.study, rows).notes)


@pytest.mark.slow
def test_out_of_memory_is_shown_as_such(broken: Made, broken_summary: Summary):
    table = all_tables(broken_summary)["cost"]
    [row] = [r for r in table.rows if [c.text for c in r[:3]] == ["arcface", "full", "10,000"]]
    assert row[3].text == "OOM at C = 10,000"
    assert row[3].detail == "(9,663,676,416 bytes asked)"


def test_missing_table_lists_each_gap_once(broken: Made, broken_summary: Summary):
    table = all_tables(broken_summary)["missing"]
    found = {(row["what"], row["name"]): row["status"] for _, row in table.data.iterrows()}
    together = [row[1].text for row in table.rows if row[2].text == "not run"]
    assert together == ["softmax-full · 100, softmax-full · 1000, softmax-full · 10000"]
    assert found == {
        ("training", "tiny-arcface-full-s0"): "failed",
        ("training", "tiny-softmax-full-s0"): "stale",
        ("evaluation", "tiny-softmax-partial_fc-s0 · pairs"): "unreadable",
        ("measurement", "arcface-full · 10000"): "oom",
        ("measurement", "softmax-full · 100"): "not run",
        ("measurement", "softmax-full · 1000"): "not run",
        ("measurement", "softmax-full · 10000"): "not run",
        ("not part of the study", "runs/tiny-old-full-s0"): "not used",
    }


def test_missing_table_of_a_complete_study_is_empty(complete: Made, summary: Summary):
    table = all_tables(summary)["missing"]
    assert (list(table.rows), table.notes) == ([], ["Nothing is missing."])


def test_the_answer_names_the_best_and_calls_noise_noise(summary: Summary):
    told = answer(summary)
    first, cost, basis = told.sentences
    assert first.startswith("On both benchmarks, 2 of 4 methods are best or statistically tied")
    assert first.endswith("arcface + full and arcface + partial_fc.")
    accuracy, _ = told.details
    best = summary.differences(ACCURACY)[0].method
    twin = "full" if best.sampler == "partial_fc" else "partial_fc"
    value = f"{100 * summary.cell(best, ACCURACY).value:.2f}\u00a0%"
    assert accuracy.startswith(
        f"On pairs, arcface + {best.sampler} has the highest accuracy, {value}"
    )
    assert f"statistically tied with arcface + {twin}" in accuracy
    assert "above softmax + " in accuracy
    # 10 000 identities: (2 + 10) ms times the factor of tree.measure.
    assert "At 10,000 identities" in cost
    assert f"{12 * 1.07:.1f}\u00a0ms (arcface + partial_fc)" in cost
    assert "8 of 8 training runs, 2 seeds per method" in basis


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.500"), (99.96, "100."), (1234.4, "1,234"), (0, "0")]
)
def test_three_significant_digits(value, text):
    assert significant(value).rstrip(".") == text.rstrip(".")


@pytest.mark.parametrize(
    ("on_top", "told"),
    [
        ({"a": 3, "b": 3}, "both methods are statistically tied"),
        (
            {"a": 2, "b": 1, "c": 2},
            "None of the 3 methods .* on all 3 benchmarks; a and c are on 2",
        ),
        ({"a": 0, "b": 1}, "None of the 2 methods .*; b is on 1"),
        ({"a": 3, "b": 3, "c": 3, "d": 1}, "3 of 4 methods .*: all but d[.]"),
        ({"a": 3, "b": 3, "c": 0, "d": 1}, "2 of 4 methods .*: a and b[.]"),
        (dict.fromkeys("abcdef", 3) | dict.fromkeys("ghijklm", 0), ": a, b, c, d, e and 1 more[.]"),
    ],
)
def test_the_answer_over_all_benchmarks(on_top, told):
    assert re.search(told, over_all(on_top, 3, "methods"))
