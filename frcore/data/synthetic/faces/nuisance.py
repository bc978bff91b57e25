"""How an image was taken: everything that changes between two images of one identity.

`difficulty` multiplies every spread and probability: 0 is the same neutral portrait each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from frcore.data.synthetic.faces.streams import stream


def between(value: float, low: float, high: float) -> float:
    """The nearest value from `low` to `high`."""
    return min(max(value, low), high)


class _Random:
    """Random values whose spread and probability grow with the difficulty."""

    def __init__(self, rng: np.random.Generator, difficulty: float):
        self.rng, self.difficulty = rng, difficulty

    def normal(self, spread: float, limit: float = 2.5) -> float:
        return self.difficulty * spread * between(self.rng.normal(), -limit, limit)

    def positive(self, spread: float) -> float:
        return abs(self.normal(spread))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < min(1.0, self.difficulty) * probability)

    def seed(self) -> int:
        return int(self.rng.integers(2**31))


class _Medium(_Random):
    """What the traits of one still or video have in common; `poor` is 1 for a video, else 0."""

    def __init__(self, rng: np.random.Generator, difficulty: float, habit: float, poor: float):
        super().__init__(rng, difficulty)
        self.habit, self.poor = habit, poor
        self.darker = 0.45 * difficulty if self.chance(0.2) else 0.0
        self.detail = math.exp(-self.positive(0.28) - difficulty * poor * 0.45)

    def glasses(self) -> str:
        """At difficulty 0 nobody wears any: a habit of 0.9 alone would identify the person."""
        wears, kind = self.rng.random(2)
        if wears >= self.habit * min(1.0, self.difficulty):
            return "none"
        return "dark" if kind < 0.12 else "round" if kind < 0.5 else "square"

    def occluder(self) -> str:
        kinds = ("hand", "bar", "leaf", "microphone")
        return kinds[self.rng.integers(len(kinds))] if self.chance(0.09) else "none"


def _varied(neutral: Any, of_medium: Callable[[_Medium], Any],
            of_frame: Callable[[_Random, Any], Any] | None = None) -> Any:  # fmt: skip
    """A parameter: in a neutral portrait, for a medium, and for a frame given its video's."""
    return field(default=neutral, metadata={"medium": of_medium, "frame": of_frame})


def _spread(neutral: float, spread: float, *, limit: float = 2.5, frame: float = 0.0) -> Any:
    """A parameter that is normal around the neutral one; `frame` is the spread in a video."""
    drift = (lambda r, value: value + r.normal(frame)) if frame else None
    return _varied(neutral, lambda r: neutral + r.normal(spread, limit), drift)


@dataclass(frozen=True)
class Nuisance:
    """The parameters of one image; the defaults are a neutral portrait under frontal light."""

    # Pose in radians, and the residual of alignment: shift in eye distances, log scale, radians.
    yaw: float = _spread(0.0, 0.30, limit=2.2, frame=0.07)
    pitch: float = _spread(0.0, 0.15, frame=0.04)
    shift_x: float = _spread(0.0, 0.035, frame=0.015)
    shift_y: float = _spread(0.0, 0.035, frame=0.015)
    log_scale: float = _spread(0.0, 0.045)
    roll: float = _spread(0.0, 0.05, frame=0.02)
    # Light: direction (x right, y down), share of the ambient light, gain, colour.
    light_x: float = _spread(-0.25, 0.65, frame=0.05)
    light_y: float = _spread(-0.45, 0.35)
    ambient: float = _varied(
        0.62, lambda r: between(0.62 - 0.05 * r.difficulty + r.normal(0.16), 0.22, 0.95)
    )
    gain: float = _varied(1.0, lambda r: math.exp(r.normal(0.2) - r.darker),
                          lambda r, gain: gain * math.exp(r.normal(0.03)))  # fmt: skip
    gamma: float = _varied(1.0, lambda r: math.exp(r.normal(0.18)))
    warmth: float = _spread(0.0, 0.09)
    saturation: float = _varied(
        1.0, lambda r: 0.0 if r.chance(0.06) else between(1 + r.normal(0.22), 0.2, 1.6)
    )
    # Expression
    smile: float = _spread(0.1, 0.45, frame=0.12)
    jaw: float = _varied(0.0, lambda r: max(0.0, r.normal(0.55)),
                         lambda r, jaw: max(0.0, jaw + r.normal(0.2)))  # fmt: skip
    lids: float = _varied(
        1.0, lambda r: between(1 + r.normal(0.22), 0.12 if r.chance(0.3) else 0.6, 1.4),
        lambda r, lids: between(lids + r.normal(0.1), 0.1, 1.4),
    )  # fmt: skip
    brows: float = _spread(0.0, 0.5)
    gaze: float = _spread(0.0, 0.5)
    # Dress
    glasses: str = _varied("none", _Medium.glasses)
    hat: bool = _varied(False, lambda r: r.chance(0.07))
    hair_change: float = _spread(0.0, 0.5)
    beard_change: float = _spread(0.0, 0.25)
    make_up: float = _varied(0.0, lambda r: r.positive(0.35))
    occluder: str = _varied("none", _Medium.occluder)
    occluder_seed: int = _varied(0, _Medium.seed)
    # Camera: standard deviations in pixels of a 112-pixel image, detail retained, JPEG quality.
    blur: float = _varied(0.0, lambda r: r.positive(0.8) + r.difficulty * r.poor * 0.5)
    motion: float = _varied(
        0.0,
        lambda r: r.positive(1.2 + 1.5 * r.poor) if r.chance(0.15 + 0.35 * r.poor) else 0.0,
        lambda r, motion: abs(motion + r.normal(0.5)),
    )
    motion_angle: float = _varied(0.0, lambda r: math.pi * r.rng.random(),
                                  lambda r, angle: angle + r.normal(0.4))  # fmt: skip
    detail: float = _varied(1.0, lambda r: between(r.detail, 0.16, 1.0))
    noise: float = _varied(0.0, lambda r: r.positive(6.0 + 4.0 * r.poor))
    jpeg: int = _varied(
        95, lambda r: int(between(95 - r.positive(28) - 20 * r.poor * r.difficulty, 12, 95))
    )
    scene: int = _varied(0, lambda r: r.seed() if r.difficulty > 0 else 0)
    """Seed of the background and the clothes."""
    grain: int = _varied(0, _Medium.seed, lambda r, grain: r.seed())
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

    The frames of a video share what is constant within it (light, clothes, camera) and drift in
    pose and expression; they are also of poorer quality than stills.

    Args:
        seed: the data set's seed.
        split: see `frcore.data.synthetic.faces.identity.identity`.
        identity: the person's index.
        medium: the still or video, counted within the person.
        image: the image, counted within the person.
        video: whether the medium is a video.
        difficulty: 0 none to 2.
        glasses_habit: the probability that this person wears glasses.
    """
    shared = _Medium(stream("medium", seed, split, identity, medium), difficulty, glasses_habit,
                     float(video))  # fmt: skip
    how = {one.name: one.metadata for one in fields(Nuisance)}
    taken = Nuisance(**{name: how[name]["medium"](shared) for name in how})
    if not video:
        return taken
    own = _Random(stream("frame", seed, split, identity, medium, image), difficulty)
    return replace(taken, **{name: how[name]["frame"](own, getattr(taken, name))
                             for name in how if how[name]["frame"]})  # fmt: skip
