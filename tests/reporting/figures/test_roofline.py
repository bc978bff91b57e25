"""The roofline: lines are the plan, points the rows, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from frcore.errors import UserError
from frcore.planning import Workload, get_device, plan_step
from frcore.planning.measured import Measured
from frcore.reporting.figures.planned import POINTS, planned_workload
from frcore.reporting.figures.roofline import roofline, session_roofline, write_figure
from frcore.results.rows import Rows, collect
from frcore.study.config import Study
from frcore.study.parts import Component
from tests.reporting.tree import Tree, make_study

H200 = get_device("h200")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts] + [
        text.get_text() for text in figure.texts
    ]


def lines(ax) -> list[tuple[np.ndarray, np.ndarray]]:
    found = [line for line in ax.lines if len(line.get_xdata()) == POINTS]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in found]


def measured_study(root: Path, gpu: str | None) -> tuple[Study, Rows]:
    study = make_study(samplers=["full", {"name": "partial_fc", "rate": 0.25}])
    tree = Tree(study, root)
    for name in ("arcface-full", "arcface-partial_fc"):
        tree.measure(name)
    rows = collect(study, root)
    rows.measurement["gpu_name"] = gpu
    return study, rows


def test_lines_are_planned_and_points_measured(tmp_path):
    study, rows = measured_study(tmp_path, "NVIDIA H200")
    figure = roofline(study, rows)
    for ax, rate in zip(figure.axes, (1.0, 0.25), strict=False):
        ((x, y),) = lines(ax)
        assert (x[0], x[-1]) == (100, 10_000)
        planned = plan_step(Workload(10_000, batch=16, rate=rate), H200).step_ms
        assert y[-1] == pytest.approx(planned)
    own = rows.measurement.query("sampler == 'full' and head == 'arcface'")
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert sorted(points[0].get_ydata()) == sorted(own["step_ms"])


def test_nothing_is_planned_for_a_cpu(tmp_path):
    study, rows = measured_study(tmp_path, None)
    figure = roofline(study, rows)
    assert lines(figure.axes[0]) == []
    assert "nothing is planned for this device" in texts(figure)


def test_a_study_that_measured_nothing_says_so(tmp_path):
    study = make_study()
    assert texts(roofline(study, collect(study, tmp_path)))[-1].endswith("not measured.")


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [({"name": "full"}, Workload(2, batch=16)),
     ({"name": "partial_fc", "rate": 0.1, "update": "dense"},
      Workload(2, batch=16, rate=0.1, update="dense")),
     ({"name": "broadface", "size": 99}, Workload(2, batch=16, queue=99)),
     ({"name": "partial_fc", "rate": 0}, None),
     ({"name": "broadface", "size": 9, "over": "partial_fc"}, None),
     ({"name": "mine:Own"}, None)],
)  # fmt: skip
def test_what_a_sampler_is_planned_as(sampler, expected):
    measurement = make_study().measurement
    assert measurement is not None
    assert planned_workload(Component.model_validate(sampler), measurement) == expected


def test_a_session_has_a_panel_for_each_rate(tmp_path):
    plan = plan_step(Workload(10**6, state="split"), H200)

    def row(subject: str, rate: float, batch: int = 1024) -> Measured:
        workload = Workload(10**6, rate=rate, batch=batch, state="split")
        return Measured(subject, "cosface", workload, 9.0, None, tmp_path)

    figure = session_roofline(plan, [row("triton", 0.1), row("triton", 0.5, batch=64)])
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == [
        "full softmax",
        "rate 0.1",
    ]
    assert texts(figure).count("no measured steps") == 1
    (_, y), (_, sampled) = lines(figure.axes[0])[0], lines(figure.axes[1])[0]
    assert y[-1] > 9 * sampled[-1]


def test_a_figure_is_written_twice(tmp_path):
    plan = plan_step(Workload(10**6), H200)
    write_figure(plan, [], tmp_path / "plan.svg")
    assert (tmp_path / "plan.png").stat().st_size > 1000
    assert "no measured step" in (tmp_path / "plan.svg").read_text()
    with pytest.raises(UserError, match=r"ends in \.svg"):
        write_figure(plan, [], tmp_path / "plan.pdf")
