"""The identity: the shape and colours of a face, the same in all images of a person.

Lengths are in head units: the eyes' line is y = 0, x grows to the image's right, y downwards, z
towards the viewer; the half-width of an average head is 1. Colours are RGB in 0..255.
"""

# ruff: noqa: RUF009 (the functions that make fields give new ones)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces.streams import stream

Colour = tuple[float, float, float]

# From pale to dark; a person's skin lies between two neighbours.
_SKIN = np.array(
    [(247, 216, 196), (233, 190, 160), (214, 165, 128), (182, 130, 92), (138, 92, 64),
     (92, 60, 44)], np.float64,
)  # fmt: skip
_HAIR = np.array(
    [(28, 24, 24), (52, 36, 28), (92, 62, 40), (140, 98, 58), (196, 158, 98), (150, 64, 30),
     (150, 150, 152), (218, 214, 208)], np.float64)  # fmt: skip
_IRIS = np.array(
    [(58, 36, 22), (92, 58, 30), (110, 96, 48), (82, 108, 70), (80, 120, 156), (118, 134, 146)],
    np.float64,
)
STYLES = ("bald", "crop", "short", "side", "fringe", "long", "middle", "afro")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")


class _Person:
    """What several traits of a person depend on."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.tone = float(rng.beta(1.1, 1.3))
        self.male = rng.random() < 0.5
        self.age = float(rng.random())
        place = self.tone * (len(_SKIN) - 1)
        low = min(int(place), len(_SKIN) - 2)
        skin = _SKIN[low] + (place - low) * (_SKIN[low + 1] - _SKIN[low])
        self.skin = skin + rng.normal(0, 6, 3)
        self.hair = self._hair_kind() + rng.normal(0, 7, 3)
        self.lip = (self.skin * (0.84, 0.58, 0.58) + rng.normal(0, 12, 3)
                    + (0 if self.male else 14, 0, 4))  # fmt: skip

    def _hair_kind(self) -> NDArray[np.float64]:
        rng = self.rng
        if self.age > 0.75 and rng.random() < 0.6:
            return _HAIR[6 + rng.integers(2)]
        if self.tone > 0.55 or rng.random() < 0.25:
            return _HAIR[rng.integers(2)]
        return _HAIR[rng.integers(1, 6)]

    def around(self, mean: float, spread: float) -> float:
        # Cut at 2.2 standard deviations: caricatures would be trivially recognised.
        return mean + spread * float(np.clip(self.rng.normal(), -2.2, 2.2))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return float(self.rng.uniform(low, high))

    def iris(self) -> NDArray[np.float64]:
        kind = self.rng.integers(2 if self.tone > 0.5 else len(_IRIS))
        return _IRIS[kind] + self.rng.normal(0, 8, 3)

    def style(self) -> str:
        of_men = (0.12 + 0.2 * self.age, 0.26, 0.26, 0.18, 0.08, 0.03, 0.03, 0.04)
        weights = np.array(of_men if self.male else (0.0, 0.04, 0.1, 0.2, 0.18, 0.24, 0.18, 0.06))
        return str(self.rng.choice(STYLES, p=weights / weights.sum()))

    def beard(self) -> str:
        chances = (0.5, 0.18, 0.1, 0.08, 0.14)
        return str(self.rng.choice(BEARDS, p=chances)) if self.male else "none"

    def freckles(self) -> float:
        return float(self.rng.random() < 0.15) * self.uniform(0.3, 1.0) * float(self.tone < 0.5)

    def marks(self) -> tuple[Mark, ...]:
        marks = [Mark("mole", self.uniform(-0.7, 0.7), self.uniform(-0.6, 1.15),
                      self.uniform(0.018, 0.04), 0.0)
                 for _ in range(int(self.rng.poisson(0.7)))]  # fmt: skip
        if self.rng.random() < 0.1:
            marks.append(Mark("scar", self.uniform(-0.7, 0.7), self.uniform(-0.6, 1.15),
                              self.uniform(0.1, 0.25), self.uniform(0, np.pi)))  # fmt: skip
        return tuple(marks)


@dataclass(frozen=True)
class Mark:
    """A mole or a scar on the skin: position on the head, size and direction."""

    kind: str
    x: float
    y: float
    size: float
    angle: float


def _trait(of: Callable[[_Person], Any]) -> Any:
    return field(metadata={"of": of})


def _colour(of: Callable[[_Person], NDArray[np.float64]]) -> Any:
    return _trait(lambda p: tuple(np.clip(of(p), 4, 250).tolist()))


def _around(mean: float, spread: float, *, women: float | None = None, tone: float = 0.0) -> Any:
    """A length, normal around `mean` or, for women, `women`; greater for darker skin."""

    def of(p: _Person) -> float:
        own = mean if p.male or women is None else women
        return p.around(own + tone * p.tone, spread)

    return _trait(of)


@dataclass(frozen=True)
class Identity:
    """The parameters of one face, each with its distribution."""

    skin: Colour = _colour(lambda p: p.skin)
    hair: Colour = _colour(lambda p: p.hair)
    brow: Colour = _colour(lambda p: np.minimum(p.hair, p.skin * 0.8) * 0.72)
    iris: Colour = _colour(_Person.iris)
    lip: Colour = _colour(lambda p: p.lip)
    # Outline: half-widths at three heights, and where the chin ends.
    cheek_width: float = _around(0.96, 0.045)
    jaw_width: float = _around(0.80, 0.06, women=0.74)
    chin_width: float = _around(0.38, 0.055, women=0.32)
    chin_y: float = _around(1.40, 0.075)
    forehead_width: float = _around(0.90, 0.045)
    ear_size: float = _around(0.24, 0.04)
    # Eyes
    eye_x: float = _around(0.42, 0.026)
    eye_width: float = _around(0.205, 0.02)
    eye_open: float = _around(0.078, 0.017, women=0.09)
    eye_tilt: float = _around(0.05, 0.09)
    iris_size: float = _around(0.085, 0.007)
    lid_crease: float = _trait(_Person.uniform)
    eye_bags: float = _trait(lambda p: max(0.0, p.around(p.age * 0.6, 0.2)))
    # Brows
    brow_y: float = _around(-0.27, 0.032, women=-0.31)
    brow_thickness: float = _around(0.062, 0.014, women=0.043)
    brow_tilt: float = _around(0.0, 0.10)
    brow_arch: float = _around(0.045, 0.025, women=0.06)
    brow_length: float = _around(0.27, 0.026)
    # Nose
    nose_y: float = _around(0.52, 0.05)
    nose_width: float = _around(0.205, 0.03, tone=0.04)
    nose_bridge: float = _around(0.085, 0.016)
    nose_depth: float = _around(0.34, 0.06)
    # Mouth
    mouth_y: float = _around(0.93, 0.045)
    mouth_width: float = _around(0.34, 0.032)
    upper_lip: float = _around(0.05, 0.014, tone=0.02)
    lower_lip: float = _around(0.075, 0.017, tone=0.02)
    mouth_bow: float = _around(0.0, 0.022)
    # Relief
    cheek_relief: float = _around(0.10, 0.04)
    socket_depth: float = _around(0.11, 0.035)
    brow_ridge: float = _around(0.07, 0.025, women=0.03)
    fold: float = _trait(lambda p: max(0.0, p.around(0.25 + 0.5 * p.age, 0.2)))
    chin_cleft: float = _trait(lambda p: max(0.0, p.around(0.0, 0.35)) if p.male else 0.0)
    # Hair
    style: str = _trait(_Person.style)
    hairline: float = _trait(
        lambda p: p.around(-0.72 - (0.06 if p.male and p.age > 0.6 else 0.0), 0.065)
    )
    hair_volume: float = _around(0.16, 0.045)
    parting: float = _around(0.0, 0.28)
    beard: str = _trait(_Person.beard)
    beard_density: float = _trait(lambda p: p.uniform(0.35, 0.95))
    # Skin
    freckles: float = _trait(_Person.freckles)
    wrinkles: float = _trait(lambda p: max(0.0, p.age - 0.45) * 1.6)
    rosy: float = _trait(lambda p: p.uniform() * (1 - p.tone))
    glasses: float = _trait(lambda p: float(p.rng.choice((0.03, 0.9), p=(0.82, 0.18))))
    marks: tuple[Mark, ...] = _trait(_Person.marks)
    texture: int = _trait(lambda p: int(p.rng.integers(2**31)))
    """Seed of hair strands and freckles."""


def identity(seed: int, split: str, index: int) -> Identity:
    """Identity number `index` of `split`, a function of the three arguments alone.

    `split` is "train" or the name of a kind of benchmark, so that the people of a benchmark are
    never in a training set.
    """
    person = _Person(stream("identity", seed, split, index))
    return Identity(**{one.name: one.metadata["of"](person) for one in fields(Identity)})
