"""One look in all figures: a head has its colour wherever it is drawn or named."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from frcore.heads import HEADS as BUILT_IN
from frcore.reporting.figures import angles, classes, identities
from frcore.reporting.figures import cost as plot_cost
from frcore.reporting.figures import roc as plot_roc
from frcore.reporting.figures import training as plot_training
from frcore.reporting.figures.all import curve_jobs
from frcore.reporting.figures.canvas import WIDTH, Message, legend, look, panels
from frcore.reporting.figures.palette import Palette
from frcore.results.summary import Summary
from tests.reporting.made import Made
from tests.reporting.tree import make_study

pytestmark = pytest.mark.slow

HEADS = ("arcface", "softmax")


@pytest.fixture(scope="module")
def drawn(complete: Made, summary: Summary) -> dict[str, Figure]:
    """The figures of a study that ran as a whole, laid out."""
    study, rows = complete.study, complete.rows
    curves = rows.found.events
    rates = {name: job() for name, job in curve_jobs(summary).items()}
    pairs = classes.center_pairs(study, rows)
    with look():
        figures = {
            "accuracy_cost": plot_cost.accuracy_cost(summary),
            "roc": plot_roc.roc(rates, summary),
            "det": plot_roc.det(rates, summary),
            "memory": identities.memory(study, rows),
            "throughput": identities.throughput(study, rows),
            "training": plot_training.training(study, curves),
            "angle_histograms": angles.angle_histograms(study, curves),
            "center_angles": plot_training.center_angles(study, curves),
            "center_cosines": classes.center_cosines(study, pairs),
            "long_tail": classes.long_tail(study, rows),
        }
        for figure in figures.values():
            figure.draw_without_rendering()
    return figures


def colours(figure: Figure) -> set[tuple[str, str]]:
    """(head, colour) of every curve or point that says whose it is, and of every title."""
    found = set()
    for ax in figure.axes:
        title = ax.title if ax.title.get_text() else ax._left_title  # type: ignore[attr-defined]
        if title.get_text() in HEADS:
            found.add((title.get_text(), to_hex(title.get_color())))
        for line in ax.lines:
            told = bytes.fromhex((line.get_gid() or "").removeprefix("title:")).decode()
            if told.startswith(HEADS):
                found.add((told.split()[0], to_hex(line.get_color())))
    return found


@pytest.mark.slow
def test_a_head_has_one_colour_in_all_figures(complete: Made, drawn: dict[str, Figure]):
    palette = Palette(complete.study)
    expected = {(head, palette.heads[head]) for head in HEADS}
    for name, figure in drawn.items():
        assert not isinstance(figure, Message), name
        assert colours(figure) == expected, name


def test_nothing_that_is_written_lies_outside_the_figure(drawn: dict[str, Figure]):
    for name, figure in drawn.items():
        assert figure.get_figwidth() == WIDTH
        frame = figure.bbox
        texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
        for ax in figure.axes:
            texts += [ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for text in texts:
            box = text.get_window_extent()
            if text.get_visible() and text.get_text().strip() and text.axes in (None, *figure.axes):
                assert box.x0 >= frame.x0 - 1, (name, text.get_text())
                assert box.x1 <= frame.x1 + 1, (name, text.get_text())
                assert box.y0 >= frame.y0 - 1, (name, text.get_text())
                assert box.y1 <= frame.y1 + 1, (name, text.get_text())


def test_a_legend_of_all_heads_fits_and_is_read_by_lines():
    names = list(BUILT_IN)
    study = make_study(heads=names, samplers=["full", "partial_fc", "broadface"])
    with look():
        figure, _ = panels(1, 1)
        before = figure.get_figheight()
        legend(figure, Palette(study), names, [one.label for one in study.samplers])
        figure.draw_without_rendering()
    [found] = figure.legends
    box, frame = found.get_window_extent(), figure.bbox
    assert box.x0 >= frame.x0
    assert box.x1 <= frame.x1
    assert figure.get_figheight() > before  # not at the cost of the panel
    places = {
        text.get_text(): text.get_window_extent()
        for text in found.get_texts()
        if text.get_text().strip()
    }
    read = sorted(places, key=lambda name: (-round(places[name].y0), places[name].x0))
    assert read == [*names, "full", "partial_fc", "broadface"]
