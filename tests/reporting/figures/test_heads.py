"""The picture of docs/heads.md: every head has its panel, and the file is the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from frcore.heads import HEADS
from frcore.heads.probability import NUM_CLASSES
from frcore.reporting.figures.canvas import look, save
from frcore.reporting.figures.head_curves import head_curves
from frcore.reporting.figures.heads import plot_heads
from frcore.reporting.figures.palette import HEAD_COLOURS


def test_each_panel_shows_its_heads_curve_and_the_reference():
    names = ["arcface", "adacos_fixed", "normface", "cosface", "softmax", "adacos", "combined"]
    with look():
        figure = plot_heads(names)
    panels = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in panels] == names
    curves = head_curves(names, num_classes=NUM_CLASSES)
    for ax, name in zip(panels, names, strict=True):
        reference, own = ax.get_lines()[:2]
        expected = curves.loc[curves["head"] == name, "probability"].to_numpy()
        assert (own.get_ydata() == expected).all()
        assert own.get_color() == HEAD_COLOURS[name]
        assert reference.get_linestyle() != "-"
        # P = ½ where 64 cos θ = log(C − 1)
        half = math.acos(math.log(NUM_CLASSES - 1) / 64)
        found = np.interp(math.degrees(half), reference.get_xdata(), reference.get_ydata())
        assert found == pytest.approx(0.5, abs=0.01)
    assert "½ at 45°" in panels[1].texts[0].get_text()
    assert "s = 13.1" in panels[1].texts[0].get_text()


@pytest.mark.slow
def test_the_same_heads_give_the_same_bytes(tmp_path):
    for name in ("a.svg", "b.svg"):
        with look():
            save(plot_heads(list(HEADS)[:3]), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text(encoding="utf-8")
