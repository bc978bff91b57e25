"""Efficiency and network share of made rows, as they are drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcore.reporting.figures.canvas import Message, look
from frcore.reporting.figures.scaling import scaling
from frcore.results.rows import Rows, collect
from frcore.study import expansion
from frcore.study.config import Study
from tests.reporting.tree import Tree, make_study, measured

STEP = 12.0
TIMES = {1: STEP, 2: 8.0, 4: 6.0}
"""Milliseconds of a step by processes."""


@pytest.fixture(autouse=True)
def _look():
    with look():
        yield


def made(root: Path, how: str, **changes: Any) -> tuple[Study, Rows]:
    """Steps of `TIMES` at 1,000 identities (of one process); each rank's network share is known."""
    given = {"identities": [1000], "batch_size": 16, "processes": [*TIMES], "scaling": how}
    study = make_study(seeds=[0], measurement=given, **changes)
    tree = Tree(study, root)
    for name in expansion.measurements(study):
        tree.measure(name)
        path = root / f"measurement/{name}.json"
        record = json.loads(path.read_text())
        record |= {"rows": [], "ranks": []}
        for processes, step in TIMES.items():
            row = {**measured(1000 * (processes if how == "weak" else 1), 1.0, None),
                   "processes": processes, "step_ms": step, "step_ms_low": step / 1.25,
                   "step_ms_high": step * 1.25,
                   "efficiency": STEP / step / (1 if how == "weak" else processes)}  # fmt: skip
            if processes > 1:
                row["network_percent"] = 10.0 * processes
                for rank in range(processes):
                    share = 10.0 * processes + (rank - (processes - 1) / 2)
                    record["ranks"].append({**row, "rank": rank, "network_percent": share})
            if processes == 4:
                row["disturbed"] = "others busy"
            record["rows"].append(row)
        path.write_text(json.dumps(record))
    return study, collect(study, root)


def panel(figure: Figure, row: str, title: str) -> Axes:
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    across = figure.axes[titles.index(title)].get_subplotspec().colspan
    return next(ax for ax in figure.axes if ax.get_subplotspec().colspan == across
                and ax.get_subplotspec().rowspan.start == (row == "network"))  # fmt: skip


def points(ax: Axes) -> tuple[list[float], list[float], list[list[float]]]:
    """Of the only head: processes, heights and ends of the vertical bars."""
    (drawn,) = ax.containers
    line, _, (*_, ups) = drawn.lines
    ends = [sorted(segment[:, 1]) for segment in ups.get_segments()]
    return list(line.get_xdata()), list(line.get_ydata()), ends


@pytest.mark.parametrize(
    ("how", "title", "efficiency"),
    [
        ("strong", "full, 1k identities", [100, 75, 50]),
        ("weak", "full, N × 1k identities", [100, 150, 200]),
    ],
)
def test_the_points_by_hand(tmp_path, how, title, efficiency):
    figure = scaling(*made(tmp_path, how, heads=["arcface"], samplers=["full"]))
    above, below = (panel(figure, row, title) for row in ("efficiency", "network"))
    processes, heights, ends = points(above)
    assert (processes, heights) == ([1, 2, 4], pytest.approx(efficiency))
    for end, height in zip(ends, efficiency, strict=True):
        assert end == pytest.approx([height / 1.25, height * 1.25])
    processes, heights, ends = points(below)
    assert (processes, heights) == ([2, 4], pytest.approx([20, 40]))
    assert ends == [pytest.approx([19.5, 20.5]), pytest.approx([38.5, 41.5])]
    told = [bytes.fromhex((line.get_gid() or "").removeprefix("title:")).decode()
            for line in above.lines]  # fmt: skip
    assert [line.get_ydata()[0] for line, text in zip(above.lines, told, strict=True)
            if "ideal" in text] == [100]  # fmt: skip
    assert sum("disturbed: others busy" in text for text in told) == 1
    assert below.get_xlabel() == f"processes ({how} scaling)"


def test_a_column_of_panels_for_each_sampler_and_no_head_hides_another(tmp_path):
    figure = scaling(*made(tmp_path, "weak"))
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles == ["full, N × 1k identities", "partial_fc, N × 1k identities"]
    first, second = (drawn.lines[0].get_xdata() for drawn in figure.axes[0].containers)
    assert all(first < second)
    assert max(second / first) < 1.05


def test_what_has_nothing_to_show_says_why(tmp_path):
    study, rows = made(tmp_path, "strong")
    alone = rows.scaling[rows.scaling["processes"] == 1]
    only = Rows(rows.evaluation, rows.training, rows.measurement, rows.diagnostics, alone)
    for given, why in ((only, "no step in several processes"),
                       (Rows(*(rows.measurement,) * 4), "in one process only")):  # fmt: skip
        figure = scaling(study, given)
        assert isinstance(figure, Message)
        assert why in figure.message
