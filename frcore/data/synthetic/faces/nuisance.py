"""How a picture was taken: everything that changes between two pictures of one identity.

`difficulty` multiplies every spread and probability: 0 is the same neutral portrait each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from frcore.data.synthetic.faces.streams import stream

_OCCLUDERS = ("hand", "bar", "leaf", "microphone")


@dataclass(frozen=True)
class Nuisance:
    """The parameters of one picture; the defaults are a neutral portrait under frontal light."""

    # Pose, radians, and what alignment leaves over: shift in eye distances, log scale, radians.
    yaw: float = 0.0
    pitch: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    log_scale: float = 0.0
    roll: float = 0.0
    # Light: direction (x right, y down), share of the ambient light, gain, colour.
    light_x: float = -0.25
    light_y: float = -0.45
    ambient: float = 0.62
    gain: float = 1.0
    gamma: float = 1.0
    warmth: float = 0.0
    saturation: float = 1.0
    # Expression
    smile: float = 0.1
    jaw: float = 0.0
    lids: float = 1.0
    brows: float = 0.0
    gaze: float = 0.0
    # Dress
    glasses: str = "none"
    hat: bool = False
    hair_change: float = 0.0
    beard_change: float = 0.0
    make_up: float = 0.0
    occluder: str = "none"
    occluder_seed: int = 0
    # Camera: standard deviations in pixels of a 112-pixel image, detail kept, JPEG quality.
    blur: float = 0.0
    motion: float = 0.0
    motion_angle: float = 0.0
    detail: float = 1.0
    noise: float = 0.0
    jpeg: int = 95
    scene: int = 0
    """Seed of the background and the clothes."""
    grain: int = 0
    """Seed of the noise."""


def nuisance(
    seed: int,
    split: str,
    identity: int,
    medium: int,
    image: int,
    *,
    video: bool,
    difficulty: float,
    glasses_habit: float,
) -> Nuisance:
    """How image number `image` of `medium` was taken.

    The frames of one video share what stays the same within it (light, clothes, camera) and
    drift in pose and expression; they are also of poorer quality than stills.

    Args:
        seed: the data set's seed.
        split: see `frcore.data.synthetic.faces.identity.identity`.
        identity: the person's index.
        medium: the still or video, counted within the person.
        image: the picture, counted within the person.
        video: whether the medium is a video.
        difficulty: 0 none to 2.
        glasses_habit: the probability that this person wears glasses.
    """
    shared = stream("medium", seed, split, identity, medium)
    taken = _medium(shared, difficulty, glasses_habit, video)
    if not video:
        return taken
    frame = stream("frame", seed, split, identity, medium, image)
    return _drifted(frame, taken, difficulty)


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _medium(
    rng: np.random.Generator, strength: float, glasses_habit: float, video: bool
) -> Nuisance:
    def normal(spread: float, limit: float = 2.5) -> float:
        return strength * spread * _between(rng.normal(), -limit, limit)

    def chance(probability: float) -> bool:
        return bool(rng.random() < min(1.0, strength) * probability)

    def positive(spread: float) -> float:
        return abs(normal(spread))

    poor = 1.0 if video else 0.0
    base = Nuisance()
    dark = chance(0.2)
    detail = math.exp(-positive(0.28) - strength * poor * 0.45)
    return Nuisance(
        yaw=normal(0.30, 2.2),
        pitch=normal(0.15),
        shift_x=normal(0.035),
        shift_y=normal(0.035),
        log_scale=normal(0.045),
        roll=normal(0.05),
        light_x=base.light_x + normal(0.65),
        light_y=base.light_y + normal(0.35),
        ambient=_between(base.ambient - 0.05 * strength + normal(0.16), 0.22, 0.95),
        gain=math.exp(normal(0.2) - (0.45 * strength if dark else 0.0)),
        gamma=math.exp(normal(0.18)),
        warmth=normal(0.09),
        saturation=0.0 if chance(0.06) else _between(1 + normal(0.22), 0.2, 1.6),
        smile=base.smile + normal(0.45),
        jaw=max(0.0, normal(0.55)),
        lids=_between(1 + normal(0.22), 0.12 if chance(0.3) else 0.6, 1.4),
        brows=normal(0.5),
        gaze=normal(0.5),
        glasses=_glasses(rng, glasses_habit, strength),
        hat=chance(0.07),
        hair_change=normal(0.5),
        beard_change=normal(0.25),
        make_up=positive(0.35),
        occluder=_OCCLUDERS[rng.integers(len(_OCCLUDERS))] if chance(0.09) else "none",
        occluder_seed=int(rng.integers(2**31)),
        blur=positive(0.8) + strength * poor * 0.5,
        motion=positive(1.2 + 1.5 * poor) if chance(0.15 + 0.35 * poor) else 0.0,
        motion_angle=math.pi * rng.random(),
        detail=_between(detail, 0.16, 1.0),
        noise=positive(6.0 + 4.0 * poor),
        jpeg=int(_between(95 - positive(28) - 20 * poor * strength, 12, 95)),
        scene=int(rng.integers(2**31)) if strength > 0 else 0,
        grain=int(rng.integers(2**31)),
    )


def _glasses(rng: np.random.Generator, habit: float, strength: float) -> str:
    """Without nuisances nobody wears any: a habit of 0.9 alone would name the person."""
    wears, kind = rng.random(2)
    if wears >= habit * min(1.0, strength):
        return "none"
    return "dark" if kind < 0.12 else "round" if kind < 0.5 else "square"


def _drifted(rng: np.random.Generator, medium: Nuisance, strength: float) -> Nuisance:
    def normal(spread: float) -> float:
        return strength * spread * _between(rng.normal(), -2.5, 2.5)

    return replace(
        medium,
        yaw=medium.yaw + normal(0.07),
        pitch=medium.pitch + normal(0.04),
        shift_x=medium.shift_x + normal(0.015),
        shift_y=medium.shift_y + normal(0.015),
        roll=medium.roll + normal(0.02),
        light_x=medium.light_x + normal(0.05),
        gain=medium.gain * math.exp(normal(0.03)),
        smile=medium.smile + normal(0.12),
        jaw=max(0.0, medium.jaw + normal(0.2)),
        lids=_between(medium.lids + normal(0.1), 0.1, 1.4),
        motion=abs(medium.motion + normal(0.5)),
        motion_angle=medium.motion_angle + normal(0.4),
        grain=int(rng.integers(2**31)),
    )
