"""Who somebody is: the shape and colours of a face, drawn once per identity.

Lengths are in head units: the eyes' line is y = 0, x grows to the image's right, y downwards, z
towards the viewer; the half-width of an average head is 1. Colours are RGB in 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Mark:
    """A mole or a scar on the skin: position on the head, size and direction."""

    kind: str
    x: float
    y: float
    size: float
    angle: float


@dataclass(frozen=True)
class Identity:
    """The parameters of one face."""

    skin: Colour
    hair: Colour
    brow: Colour
    iris: Colour
    lip: Colour
    # Outline: half-widths at three heights, and where the chin ends.
    cheek_width: float
    jaw_width: float
    chin_width: float
    chin_y: float
    forehead_width: float
    ear_size: float
    # Eyes
    eye_x: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    iris_size: float
    lid_crease: float
    eye_bags: float
    # Brows
    brow_y: float
    brow_thickness: float
    brow_tilt: float
    brow_arch: float
    brow_length: float
    # Nose
    nose_y: float
    nose_width: float
    nose_bridge: float
    nose_depth: float
    # Mouth
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    mouth_bow: float
    # Relief
    cheek_relief: float
    socket_depth: float
    brow_ridge: float
    fold: float
    chin_cleft: float
    # Hair
    style: str
    hairline: float
    hair_volume: float
    parting: float
    beard: str
    beard_density: float
    # Skin
    freckles: float
    wrinkles: float
    rosy: float
    glasses: float
    marks: tuple[Mark, ...]
    texture: int
    """Seed of hair strands and freckles."""


def identity(seed: int, split: str, index: int) -> Identity:
    """The identity number `index` of `split`, a function of its three arguments alone.

    `split` is "train" or the name of a kind of benchmark, so that the people of a benchmark are
    never those of a training set.
    """
    rng = stream("identity", seed, split, index)
    tone = float(rng.beta(1.1, 1.3))
    male = rng.random() < 0.5
    age = float(rng.random())
    skin = _blend(_SKIN, tone) + rng.normal(0, 6, 3)
    hair = _hair_colour(rng, tone, age)
    lip = skin * (0.84, 0.58, 0.58) + rng.normal(0, 12, 3) + (0 if male else 14, 0, 4)

    def around(mean: float, spread: float) -> float:
        # Cut at 2.2 standard deviations: caricatures would be trivially recognised.
        return mean + spread * float(np.clip(rng.normal(), -2.2, 2.2))

    return Identity(
        skin=_rgb(skin),
        hair=_rgb(hair),
        brow=_rgb(np.minimum(hair, skin * 0.8) * 0.72),
        iris=_rgb(_IRIS[_iris_kind(rng, tone)] + rng.normal(0, 8, 3)),
        lip=_rgb(lip),
        cheek_width=around(0.96, 0.045),
        jaw_width=around(0.80 if male else 0.74, 0.06),
        chin_width=around(0.38 if male else 0.32, 0.055),
        chin_y=around(1.40, 0.075),
        forehead_width=around(0.90, 0.045),
        ear_size=around(0.24, 0.04),
        eye_x=around(0.42, 0.026),
        eye_width=around(0.205, 0.02),
        eye_open=around(0.078 if male else 0.09, 0.017),
        eye_tilt=around(0.05, 0.09),
        iris_size=around(0.085, 0.007),
        lid_crease=float(rng.random()),
        eye_bags=max(0.0, around(age * 0.6, 0.2)),
        brow_y=around(-0.27 if male else -0.31, 0.032),
        brow_thickness=around(0.062 if male else 0.043, 0.014),
        brow_tilt=around(0.0, 0.10),
        brow_arch=around(0.045 if male else 0.06, 0.025),
        brow_length=around(0.27, 0.026),
        nose_y=around(0.52, 0.05),
        nose_width=around(0.205 + 0.04 * tone, 0.03),
        nose_bridge=around(0.085, 0.016),
        nose_depth=around(0.34, 0.06),
        mouth_y=around(0.93, 0.045),
        mouth_width=around(0.34, 0.032),
        upper_lip=around(0.05 + 0.02 * tone, 0.014),
        lower_lip=around(0.075 + 0.02 * tone, 0.017),
        mouth_bow=around(0.0, 0.022),
        cheek_relief=around(0.10, 0.04),
        socket_depth=around(0.11, 0.035),
        brow_ridge=around(0.07 if male else 0.03, 0.025),
        fold=max(0.0, around(0.25 + 0.5 * age, 0.2)),
        chin_cleft=max(0.0, around(0.0, 0.35)) if male else 0.0,
        style=_style(rng, male, age),
        hairline=around(-0.72 - (0.06 if male and age > 0.6 else 0.0), 0.065),
        hair_volume=around(0.16, 0.045),
        parting=around(0.0, 0.28),
        beard=str(rng.choice(BEARDS, p=(0.5, 0.18, 0.1, 0.08, 0.14))) if male else "none",
        beard_density=float(rng.uniform(0.35, 0.95)),
        freckles=float(rng.random() < 0.15) * float(rng.uniform(0.3, 1.0)) * float(tone < 0.5),
        wrinkles=max(0.0, age - 0.45) * 1.6,
        rosy=float(rng.random()) * (1 - tone),
        glasses=float(rng.choice((0.03, 0.9), p=(0.82, 0.18))),
        marks=_marks(rng),
        texture=int(rng.integers(2**31)),
    )


def _blend(colours: NDArray[np.float64], place: float) -> NDArray[np.float64]:
    at = place * (len(colours) - 1)
    low = min(int(at), len(colours) - 2)
    return colours[low] + (at - low) * (colours[low + 1] - colours[low])


def _rgb(colour: NDArray[np.float64]) -> Colour:
    red, green, blue = np.clip(colour, 4, 250).tolist()
    return red, green, blue


def _hair_colour(rng: np.random.Generator, tone: float, age: float) -> NDArray[np.float64]:
    if age > 0.75 and rng.random() < 0.6:
        colour = _HAIR[6 + rng.integers(2)]
    elif tone > 0.55 or rng.random() < 0.25:
        colour = _HAIR[rng.integers(2)]
    else:
        colour = _HAIR[rng.integers(1, 6)]
    return np.asarray(colour + rng.normal(0, 7, 3))


def _iris_kind(rng: np.random.Generator, tone: float) -> int:
    return int(rng.integers(2)) if tone > 0.5 else int(rng.integers(len(_IRIS)))


def _style(rng: np.random.Generator, male: bool, age: float) -> str:
    male_weights = (0.12 + 0.2 * age, 0.26, 0.26, 0.18, 0.08, 0.03, 0.03, 0.04)
    female_weights = (0.0, 0.04, 0.1, 0.2, 0.18, 0.24, 0.18, 0.06)
    weights = np.array(male_weights if male else female_weights)
    return str(rng.choice(STYLES, p=weights / weights.sum()))


def _marks(rng: np.random.Generator) -> tuple[Mark, ...]:
    marks = [
        Mark("mole", *_place(rng), size=float(rng.uniform(0.018, 0.04)), angle=0.0)
        for _ in range(int(rng.poisson(0.7)))
    ]
    if rng.random() < 0.1:
        marks.append(
            Mark("scar", *_place(rng), float(rng.uniform(0.1, 0.25)), float(rng.uniform(0, np.pi)))
        )
    return tuple(marks)


def _place(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(-0.7, 0.7)), float(rng.uniform(-0.6, 1.15))
