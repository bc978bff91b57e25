"""What runs say of their class centres: rows, tables and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from frcore.data.prepare import prepare
from frcore.reporting.figures import angles
from frcore.reporting.figures import training as plot_training
from frcore.reporting.figures.canvas import look
from frcore.reporting.figures.drift import drift
from frcore.reporting.report import report
from frcore.reporting.tables.all import all_tables
from frcore.reporting.tables.table import Table
from frcore.results.reading import ABSENT
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study import expansion
from frcore.study.config import Study
from frcore.training.train import train
from tests.reporting.made import Made
from tests.reporting.told import diagnosed
from tests.reporting.tree import Tree, make_study

pytestmark = pytest.mark.slow


def tables_of(study: Study, root: Path) -> dict[str, Table]:
    rows = collect(study, root)
    return all_tables(Summary(study, rows, Scores(root, rows)))


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture
def small(tmp_path: Path) -> tuple[Study, Path]:
    """One head and sampler, two seeds, nothing evaluated."""
    study = make_study(heads=["arcface"], samplers=["full"], measurement=None)
    tree = Tree(study, tmp_path)
    tree.data()
    for name in expansion.runs(study):
        tree.run(name)
    return study, tmp_path


def change(root: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the `diagnostics.json` of every run."""
    for path in root.glob("runs/*/diagnostics.json"):
        record = json.loads(path.read_text())
        edit(record)
        path.write_text(json.dumps(record))


@pytest.mark.slow
def test_there_is_a_row_for_each_number(complete: Made):
    frame = pd.read_parquet(complete.reported / "rows/diagnostics.parquet")
    assert set(frame["run"]) == set(expansion.runs(complete.study))
    assert not frame.duplicated(["run", "quantity", "group", "cosine"]).any()
    own = frame[frame["run"] == "tiny-softmax-partial_fc-s1"]
    record = diagnosed(1)

    def value(quantity: str, group: str = "all", cosine: float | None = None) -> float:
        at = own["cosine"].isna() if cosine is None else own["cosine"] == cosine
        [found] = own[(own["quantity"] == quantity) & (own["group"] == group) & at]["value"]
        return float(found)

    assert value("classes") == record["classes"]
    for name, number in record["centers"].items():
        assert value(name) == number
    for group in record["groups"]:
        for name, number in group.items():
            if name != "group":
                assert value(name, group["group"]) == number
    for row in record["conflicts"]["rows"]:
        for name in ("pairs", "same_person", "recall"):
            assert value(name, cosine=row["cosine"]) == row[name]
    assert np.isnan(value("precision", cosine=0.6))


@pytest.mark.slow
def test_a_run_from_before_the_diagnostics_is_reported(small: tuple[Study, Path]):
    study, root = small
    for path in root.glob("runs/*/diagnostics.json"):
        path.unlink()
    page = report(study, root).read_text(encoding="utf-8")
    frame = pd.read_csv(root / "rows/diagnostics.csv")
    assert list(frame["status"]) == ["not run", "not run"]
    assert set(frame["reason"]) == {ABSENT}
    assert page.count("No run has recorded diagnostics of its class centres.") >= 2
    assert (root / "tables/conflicts.csv").stat().st_size > 0


@pytest.mark.slow
def test_a_stale_or_failed_run_has_no_numbers(broken: Made):
    frame = broken.rows.diagnostics.set_index("run")
    assert frame.loc["tiny-arcface-full-s0", "status"] == "failed"
    assert frame.loc["tiny-softmax-full-s0", "status"] == "stale"
    assert frame.loc["tiny-softmax-full-s0", "reason"].startswith("training: stale")


def test_diagnostics_of_another_spec_are_stale(small: tuple[Study, Path]):
    study, root = small
    change(root, lambda record: record.update(spec_hash="old"))
    assert set(collect(study, root).diagnostics["status"]) == {"stale"}


def test_conflicts_are_means_over_seeds(small: tuple[Study, Path]):
    table = tables_of(*small)["conflicts"]
    [row] = texts(table)
    # At 0.5 only seed 0 has a pair, so it alone has a precision; at 0.6 there is none at all.
    assert row == ["arcface", "full", "4", "2", "0.500", "0"]
    shares = [cell.detail for cell in table.rows[0][2:]]
    assert shares == ["25.00 · 100.00", "50.00 · 100.00", "0.00 · 0.00", "— · 0.00"]
    assert [h.text for h in table.headings[2:]] == [
        "cosine > 0.3", "cosine > 0.4", "cosine > 0.5", "cosine > 0.6"
    ]  # fmt: skip
    # One of 8 · 7 / 2 pairs.
    assert table.notes[0].startswith("1 pair of labels belongs to one person")
    assert "3.57 %" in table.notes[0]


@pytest.mark.slow
def test_conflicts_that_cannot_be_judged_are_not(small: tuple[Study, Path]):
    change(small[1], lambda record: record["conflicts"].update(split_pairs=None))
    table = tables_of(*small)["conflicts"]
    assert (texts(table), len(table.notes)) == ([], 1)
    assert "is unknown" in table.notes[0]
    change(small[1], lambda record: record["conflicts"].update(split_pairs=0))
    [note] = tables_of(*small)["conflicts"].notes
    assert "No person of the training set has two labels" in note


def test_what_was_not_computed_is_said(small: tuple[Study, Path]):
    note = "Angles were not computed: 200,000 classes."

    def forget(record: dict[str, Any]) -> None:
        record.update(centers=None, conflicts=None, notes=[note])
        for group in record["groups"]:
            group.update(dict.fromkeys(diagnosed(0)["centers"]))

    change(small[1], forget)
    tables = tables_of(*small)
    assert texts(tables["conflicts"]) == []
    assert note in tables["conflicts"].notes
    assert note in tables["passive_updates"].notes
    assert [row[-1] for row in texts(tables["passive_updates"])] == ["—", "—"]


def test_passive_updates_by_group(small: tuple[Study, Path]):
    table = tables_of(*small)["passive_updates"]
    assert texts(table) == [
        ["arcface", "full", "most images (head)", "4", "8", "24.5", "0", "12", "0.500", "60"],
        ["arcface", "full", "fewest images (tail)", "4", "2", "6", "1.50", "32", "5.50", "60"],
    ]
    assert "seeds 0, 1" in table.notes[0]

    def one_group(record: dict[str, Any]) -> None:
        record["groups"] = [{**record["groups"][0], "group": "all"}]

    change(small[1], one_group)
    [row] = texts(tables_of(*small)["passive_updates"])
    assert row[2:] == ["equally many images", "8", "8", "24.5", "0", "12", "0.500", "60"]


def drawn(made: Made, draw: Callable[..., Figure]) -> Figure:
    curves = made.rows.found.events
    with look():
        return draw(made.study, curves)


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_whatever_a_head_offers_has_a_panel(complete: Made, broken: Made):
    figure = drawn(complete, plot_training.head_state)
    assert titles(figure) == ["arcface: t"]
    lines = {line.get_linestyle(): line for line in figure.axes[0].lines}
    assert len(lines) == 2  # one per sampler
    np.testing.assert_allclose(lines["-"].get_ydata(), 0.5 * np.arange(1, 61) / 60)
    nothing = make_study(heads=["softmax"])
    with look():
        assert "no finished run" in plot_training.head_state(nothing, {}).texts[0].get_text()


def test_center_angles_show_what_the_epochs_say(complete: Made):
    figure = drawn(complete, plot_training.center_angles)
    assert titles(figure) == ["arcface", "softmax"]
    shown = {tuple(line.get_ydata()) for line in figure.axes[0].lines}
    assert shown == {(90.0,), (55.0,), (60.0,)}


def test_quantiles_of_counts_are_those_of_the_values():
    rng = np.random.default_rng(0)
    values = rng.normal(60, 9, 200_000)
    edges = np.linspace(0, 180, 91)
    counts = np.histogram(values, edges)[0].astype(float)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        found = angles.quantile_of_counts(edges, counts, share)
        assert found == pytest.approx(np.quantile(values, share), abs=0.1)
    # All values in one bin: the quantiles stay inside it.
    alone = np.zeros(90)
    alone[10] = 3
    assert angles.quantile_of_counts(edges, alone, 0.0) == 20
    assert angles.quantile_of_counts(edges, alone, 1.0) == 22


def test_distributions_cover_every_epoch(complete: Made):
    first = next(iter(expansion.runs(complete.study)))
    path = complete.root / "runs" / first / "metrics.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    [epoch] = [event for event in events if event["event"] == "epoch"]
    later = {**epoch, "epoch": 3, "target_histogram": epoch["negative_histogram"]}
    found = angles.read_histograms(complete.study, {first: [*events, later]})
    [histograms] = found.values()
    assert sorted(histograms.target) == [2, 3]
    with look():
        figure = angles.angle_distributions(complete.study, {first: [*events, later]})
    median = figure.axes[0].lines[-1].get_ydata()  # the target's is drawn last
    assert median[0] == pytest.approx(55, abs=1.5)
    assert median[1] == pytest.approx(90, abs=1.5)


@pytest.mark.slow
def test_a_real_study_with_split_people_has_its_conflicts_in_the_tables(tmp_path: Path):
    study = make_study(
        heads=["normface"], samplers=[{"name": "partial_fc", "rate": 0.5}], seeds=[0],
        image={"size": 16, "alignment": "synthetic"}, measurement=None,
        backbones=[{"name": "tiny", "dim": 8, "width": 4}],
        train={"kind": "synthetic", "identities": 10, "images": 4, "conflicts": 0.4},
    )  # fmt: skip
    prepare(expansion.train_data(study), tmp_path / "data/train")
    [(name, spec)] = expansion.runs(study).items()
    train(spec, tmp_path / "data/train", tmp_path / "runs" / name)
    tables = tables_of(study, tmp_path)
    record = json.loads((tmp_path / "runs" / name / "diagnostics.json").read_text())
    assert record["conflicts"]["split_pairs"] == 4
    shown = tables["conflicts"].data.to_dict("records")
    for row, want in zip(shown, record["conflicts"]["rows"], strict=True):
        assert [row[k] for k in ("cosine", "pairs", "recall")] == [
            want[k] for k in ("cosine", "pairs", "recall")
        ]
    assert "4 pairs of labels belong to one person" in tables["conflicts"].notes[0]
    # Split people have two images per label, the others four; there are three epochs.
    groups = tables["passive_updates"].data.set_index("group")
    assert (groups.loc["head", "images"], groups.loc["tail", "images"]) == (4, 2)
    assert (groups.loc["head", "positive"], groups.loc["tail", "positive"]) == (12, 6)


def test_drift_is_drawn_against_age(small: tuple[Study, Path]):
    """A panel for each start; means over the two seeds, known beforehand."""
    study, root = small
    kept = (0.4, 0.6)

    def edit(record: dict[str, Any]) -> None:
        seed = int(record["id"][-1])
        record["drift"] = [
            {"start": start, "age": age, "images": 8, "queued": kept[seed] / age,
             "compensated": 0.9}
            for start in (0.1, 0.6) for age in (1, 4)
        ]  # fmt: skip

    assert drift(study, collect(study, root)).message.startswith("Drift of queued embeddings: not")
    change(root, edit)
    rows = collect(study, root)
    queued = rows.diagnostics[rows.diagnostics["quantity"] == "queued"]
    assert len(queued) == 2 * 2 * 2
    assert set(queued["start"]) == {0.1, 0.6}
    with look():
        figure = drift(study, rows)
    first, second = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "10 % of training", "60 % of training"
    ]  # fmt: skip
    for ax in (first, second):
        grey, coloured = (line.get_xydata() for line in ax.lines)
        np.testing.assert_allclose(grey, [[1, 0.5], [4, 0.125]])
        np.testing.assert_allclose(coloured, [[1, 0.9], [4, 0.9]])
