"""Classes with many and few images, and those of one person: what is drawn is what runs told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from frcore.reporting.figures.canvas import Message, look
from frcore.reporting.figures.classes import center_cosines, center_pairs, long_tail
from frcore.reporting.figures.palette import Palette
from frcore.results.rows import Rows, collect
from frcore.study import expansion
from frcore.study.config import Study
from tests.reporting.tree import Tree, make_study


@pytest.fixture(autouse=True)
def _look():
    with look():
        yield


def trained(
    root: Path, edit: Callable[[dict[str, Any]], Any] = lambda _: None
) -> tuple[Study, Rows]:
    """Two heads, two samplers, two seeds; `edit` changes what each run told of its centres."""
    study = make_study(measurement=None)
    tree = Tree(study, root)
    for name in expansion.runs(study):
        tree.run(name)
        path = root / f"runs/{name}/diagnostics.json"
        record = json.loads(path.read_text())
        edit(record)
        path.write_text(json.dumps(record))
    return study, collect(study, root)


def panel(figure: Figure, head: str) -> int:
    """The place of a head's upper panel."""
    return next(i for i, ax in enumerate(figure.axes) if ax.get_title(loc="left") == head)


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [one for one in ax.containers if isinstance(one, ErrorbarContainer)]


def test_points_are_means_over_seeds_and_bars_the_spread_over_identities(tmp_path):
    study, rows = trained(tmp_path)
    figure = long_tail(study, rows)
    upper = figure.axes[panel(figure, "softmax")]
    of_full, of_sampled = bars(upper)
    assert list(of_full.lines[0].get_ydata()) == [51.0, 40.0]  # the tail comes first
    assert of_full.lines[0].get_xdata() == pytest.approx([2.0, 8.0], rel=0.05)
    assert (of_full.lines[0].get_xdata() < of_sampled.lines[0].get_xdata()).all()
    ends = [segment[:, 1].tolist() for segment in of_full.lines[2][0].get_segments()]
    assert ends == [[30.0, 60.0], [30.0, 60.0]]
    lower = figure.axes[panel(figure, "softmax") + 2]
    assert list(bars(lower)[0].lines[0].get_ydata()) == [5.5, 0.5]
    assert bars(lower)[0].lines[0].get_color() == Palette(study).heads["softmax"]


def test_equal_classes_have_no_long_tail(tmp_path):
    def equal(record: dict[str, Any]) -> None:
        record["groups"] = [{**record["groups"][0], "group": "all"}]

    figure = long_tail(*trained(tmp_path, equal))
    assert isinstance(figure, Message)
    assert "equally many images" in figure.message


def test_runs_from_before_the_angles_still_show_their_passive_updates(tmp_path):
    def old(record: dict[str, Any]) -> None:
        for group in record["groups"]:
            for name in [name for name in group if name.startswith("target_angle")]:
                del group[name]

    figure = long_tail(*trained(tmp_path, old))
    place = panel(figure, "softmax")
    assert bars(figure.axes[place]) == []
    assert len(bars(figure.axes[place + 2])) == 2


def outlines(ax: Axes) -> list[np.ndarray]:
    return [patch.get_data().values for patch in ax.patches
            if isinstance(patch, StepPatch) and not patch.get_fill()]  # fmt: skip


def test_cosines_of_one_person_stand_beside_those_of_all(tmp_path):
    study, rows = trained(tmp_path)
    found = center_pairs(study, rows)
    assert set(found) == {(h, s) for h in ("arcface", "softmax") for s in ("full", "partial_fc")}
    figure = center_cosines(study, found)
    every, of_one = outlines(figure.axes[panel(figure, "arcface")])
    # Summed over both seeds, and of area 1: bins are half as wide as the unit.
    assert every / 2 == pytest.approx(np.array([0, 40, 13, 3]) / 56)
    assert of_one / 2 == pytest.approx([0, 0, 0.5, 0.5])


def test_where_the_truth_is_not_known_all_pairs_stand_alone(tmp_path):
    def unknown(record: dict[str, Any]) -> None:
        record["conflicts"]["histogram"]["same_person"] = None

    study, rows = trained(tmp_path, unknown)
    figure = center_cosines(study, center_pairs(study, rows))
    assert len(outlines(figure.axes[0])) == 1


def test_a_study_without_conflicts_says_so(tmp_path):
    def none(record: dict[str, Any]) -> None:
        record["conflicts"]["histogram"]["same_person"] = [0, 0, 0, 0]

    study, rows = trained(tmp_path / "none", none)
    figure = center_cosines(study, center_pairs(study, rows))
    assert isinstance(figure, Message)
    assert "no person" in figure.message
    study, rows = trained(tmp_path / "old", lambda record: record["conflicts"].pop("histogram"))
    assert isinstance(center_cosines(study, center_pairs(study, rows)), Message)
