"""Memory and throughput: lines are the plan's, open points are published, crosses are OOM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcore.planning import Workload, get_device, memory_of, plan_step
from frcore.reporting.figures.canvas import look
from frcore.reporting.figures.identities import memory, throughput
from frcore.reporting.figures.palette import Palette
from frcore.reporting.tables.published_figures import cost_text, published_costs
from frcore.results.rows import Rows, collect
from frcore.study import expansion
from frcore.study.config import Study
from tests.reporting.tree import Tree, make_study

SIZES = [100_000, 1_000_000, 10_000_000]
TENTH = {"name": "partial_fc", "rate": 0.1, "label": "tenth"}
HALF = {"name": "partial_fc", "rate": 0.5, "label": "half"}


def measured(
    root: Path, told: dict[str, Any], *, oom: str = "", **settings: Any
) -> tuple[Study, Rows]:
    """A study measured at `SIZES`, on the device and backend of `told`."""
    settings = {"identities": SIZES, "batch_size": 16, **settings}
    study = make_study(samplers=["full", TENTH, HALF], measurement=settings)
    tree = Tree(study, root)
    for name in expansion.measurements(study):
        tree.measure(name, oom_at=SIZES[-1] if name == oom else None)
        path = root / f"measurement/{name}.json"
        record = json.loads(path.read_text())
        gpu = {"name": told["gpu_name"]} if "gpu_name" in told else None
        record["environment"] = {**record["environment"], "gpu": gpu}
        for row in record["rows"]:
            if gpu and row["status"] == "ok":
                row |= {"allocated_peak_mib": row["rss_extra_mib"]}
            row["backend"] = told.get("backend")
        path.write_text(json.dumps(record))
    return study, collect(study, root)


def drawn(figure: Figure, panel: int, word: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The lines of a panel whose hover text has `word` in it."""
    found = []
    for line in axes_of(figure)[panel].lines:
        text = bytes.fromhex((line.get_gid() or "").removeprefix("title:")).decode()
        if word in text:
            found.append((np.asarray(line.get_xdata()), np.asarray(line.get_ydata())))
    return found


def axes_of(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.get_title(loc="left")]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.fixture(autouse=True)
def _look():
    with look():
        yield


def test_planned_throughput_is_that_of_frcore_plan(tmp_path):
    told = {"gpu_name": "NVIDIA H200", "backend": "triton"}
    figure = throughput(*measured(tmp_path, told))
    for panel, rate in enumerate((1.0, 0.1, 0.5)):
        [(identities, values)] = drawn(figure, panel, "planned")
        workload = Workload(int(identities[-1]), batch=16, rate=rate)
        expected = 16e3 / plan_step(workload, get_device("h200")).step_ms
        assert values[-1] == pytest.approx(expected)
    assert labels(figure).count("planned") == 1


@pytest.mark.slow
def test_a_cpu_has_its_memory_planned_and_no_time(tmp_path):
    study, rows = measured(tmp_path, {"backend": "dense"})
    [(identities, values)] = drawn(memory(study, rows), 0, "planned")
    # What a step adds: the reading leaves out what exists before it.
    planned = memory_of(Workload(int(identities[0]), batch=16, backend="dense"))
    assert set(planned) == {"centres and momentum", "embeddings and gradient", "temporaries"}
    added = planned["embeddings and gradient"] + planned["temporaries"]
    assert values[0] == pytest.approx(added / 2**20)
    assert drawn(throughput(study, rows), 0, "planned") == []
    assert "planned" not in labels(throughput(study, rows))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("told", "settings"),
    [({"backend": "streamed"}, {}),
     ({"gpu_name": "NVIDIA A100", "backend": "triton"}, {}),
     ({"gpu_name": "NVIDIA H200", "backend": "triton"}, {"backbone": "tiny"})],
)  # fmt: skip
def test_what_the_plan_does_not_know_has_no_line(told, settings, tmp_path):
    study, rows = measured(tmp_path, told, **settings)
    assert drawn(throughput(study, rows), 0, "planned") == []


@pytest.mark.slow
def test_published_points_stand_beside_a_gpu_at_their_rate_only(tmp_path):
    gpu = {"gpu_name": "NVIDIA H200", "backend": "triton"}
    figure = throughput(*measured(tmp_path / "gpu", gpu))
    # Typed from the table of arcface_torch's docs/speed_benchmark.md, at a million identities.
    points = {(int(x[0]), int(y[0])) for x, y in drawn(figure, 0, "published by")}
    assert {(1_000_000, 2090), (1_000_000, 3449)} <= points
    assert (8_000_000, 3565) in {(int(x[0]), int(y[0])) for x, y in drawn(figure, 1, "published")}
    assert drawn(figure, 2, "published by") == []  # nobody has published the rate 0.5
    sizes = [x for panel in (0, 1) for x, _ in drawn(figure, panel, "published by")]
    assert min(sizes) >= SIZES[0]
    assert max(sizes) <= SIZES[-1]
    beside_cpu = throughput(*measured(tmp_path / "cpu", {"backend": "dense"}))
    assert not any("published" in label for label in labels(beside_cpu))


def test_published_points_are_open_and_of_no_heads_colour(tmp_path):
    study, rows = measured(tmp_path, {"gpu_name": "NVIDIA H200", "backend": "triton"})
    colours = set(Palette(study).heads.values())
    for line in axes_of(memory(study, rows))[0].lines:
        if "published by" in bytes.fromhex((line.get_gid() or "")[len("title:") :]).decode():
            assert line.get_fillstyle() == "none"
            assert line.get_color() not in colours


def test_every_published_cost_is_a_row_of_the_table():
    table = pd.read_csv("frcore/reporting/published.csv", dtype=str)
    rows = table[table["table"].isin(["speed benchmark", "memory benchmark"])]
    assert len(published_costs()) == len(rows) == 48
    assert all("speed_benchmark.md" in cost_text(row) for _, row in published_costs().iterrows())


@pytest.mark.slow
def test_what_has_no_room_is_marked_at_the_edge(tmp_path):
    figure = throughput(*measured(tmp_path, {"backend": "dense"}, oom="arcface-full"))
    [(identities, height)] = drawn(figure, 0, "out of memory")
    assert identities == SIZES[-1]
    assert 0.9 < height <= 1  # a share of the panel
    texts = [text.get_text() for text in axes_of(figure)[0].texts]
    assert texts == ["OOM at C = 10,000,000\n(9,663,676,416 bytes asked)\n1 of 2 heads"]
    assert drawn(figure, 1, "out of memory") == []
