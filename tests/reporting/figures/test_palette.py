import itertools

import numpy as np
import pytest

from frcore.heads import HEADS
from frcore.reporting.figures.palette import GRID, HEAD_COLOURS, INK, MUTED, Palette
from tests.reporting.tree import make_study

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                        [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip


def seen(colour: str, sight: np.ndarray) -> np.ndarray:
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    x, y, z = np.cbrt(np.clip(to_xyz @ np.clip(sight @ linear, 0, 1), 1e-9, None)
                      / [0.95047, 1, 1.08883])  # fmt: skip
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_heads_are_told_apart_by_colour(sight):
    for (_, one), (_, other) in itertools.combinations(HEAD_COLOURS.items(), 2):
        distance = np.linalg.norm(seen(one, SIGHT[sight]) - seen(other, SIGHT[sight]))
        assert distance > 10  # 2.3 is just noticeable


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2)."""

    def luminance(colour: str) -> float:
        encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
        return float(np.array([0.2126, 0.7152, 0.0722]) @ linear)

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_from_the_page():
    """Those of the dark are looked at in a browser (`test_browser`), which computes them."""
    for colour in (*HEAD_COLOURS.values(), INK, MUTED):
        assert contrast(colour, "#ffffff") >= 3
    assert contrast(INK, "#ffffff") >= 7
    assert contrast(GRID, "#ffffff") < 3


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WCAG's own example


def test_a_head_has_its_colour_in_every_study():
    small = Palette(make_study(heads=["arcface"]))
    large = Palette(make_study(heads=["softmax", "adacos", "arcface"]))
    assert small.heads["arcface"] == large.heads["arcface"] == HEAD_COLOURS["arcface"]


def test_variants_and_own_heads_get_colours_of_their_own():
    heads = [
        "arcface",
        {"name": "arcface", "label": "arc03", "margin": 0.3},
        {"name": "mine.heads:New", "label": "new"},
    ]
    colours = Palette(make_study(heads=heads)).heads
    assert len(set(colours.values())) == 3
    assert colours["arcface"] == HEAD_COLOURS["arcface"]
    alone = Palette(make_study(heads=[{"name": "arcface", "label": "arc03"}])).heads
    assert alone["arc03"] == HEAD_COLOURS["arcface"]


def test_samplers_differ_in_filling_and_line():
    samplers = ["full", "partial_fc", "broadface", {"name": "partial_fc", "label": "pfc01"}]
    palette = Palette(make_study(samplers=samplers))
    labels = ("full", "partial_fc", "broadface", "pfc01")
    assert len({palette.fill(label) for label in labels}) == 4
    assert len({palette.line(label) for label in labels}) == 4


def test_heads_of_the_catalogue_differ_in_colour_and_in_shape():
    names = list(HEADS)
    palette = Palette(make_study(heads=names))
    assert len({palette.heads[name] for name in names}) == len(names)
    assert len({palette.marker(name) for name in names}) == len(names)  # for grey print
