"""From head units to pixels: pose, projection, alignment to five points, smooth curves.

A point in the plane of the face is a complex number x + iy, so that scaling, rotating and mirroring
many points are one short expression each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frcore.data.pixels.align import TEMPLATE_112
from frcore.data.synthetic.faces.identity import Identity
from frcore.data.synthetic.faces.nuisance import Nuisance

Points = NDArray[np.complex128]
Reals = NDArray[np.float64]

ARCFACE_TEMPLATE: Points = TEMPLATE_112.view(np.complex128)[:, 0] / 112
"""Where eyes, nose tip and mouth corners lie in an aligned image, as fractions of its side."""

_PERSPECTIVE = 0.07


class Curve(NamedTuple):
    """Points of the head: on its front surface or on its silhouette (see `front` and `rim`)."""

    points: Points
    depth: float | Reals
    is_rim: bool


def front(points: Points, lift: float = 0.0) -> Curve:
    """Points on the front of the head, raised towards the viewer by `lift`."""
    return Curve(points, lift, False)


def rim(points: Points, depth: float | Reals = 0.0) -> Curve:
    """Points of the head's silhouette, `depth` in front of the middle of the head."""
    return Curve(points, depth, True)


def path(*points: tuple[float, float]) -> Points:
    """The complex form of some points (x, y)."""
    return np.array(points, np.float64).view(np.complex128)[:, 0]


def mirrored(points: Points, side: int) -> Points:
    """The points themselves for side 1, their mirror image (x to −x) for side −1."""
    return points if side > 0 else -points.conj()


def on_both_sides(points: Points, lift: float = 0.0) -> tuple[Curve, Curve]:
    """Points on the front of the head and their mirror image, the image's left side first."""
    return front(mirrored(points, -1), lift), front(points, lift)


@dataclass(frozen=True)
class View:
    """A pose and the similarity that aligns it: maps head units to pixels.

    `turn` is complex: a point x + iy of the projected head lies at `turn` · (x + iy) + `origin`.
    """

    yaw: float
    pitch: float
    turn: complex
    origin: complex

    @property
    def scale(self) -> float:
        """Pixels per head unit."""
        return abs(self.turn)

    def pixels(self, points: Points, depth: float | Reals, is_rim: bool | NDArray[np.bool_]
               ) -> Points:  # fmt: skip
        """Points (N,) with the depth of `Curve` to pixels (N,)."""
        # A silhouette does not shrink with the cosine when a head turns: a head is about as deep
        # as it is wide.
        wider = np.sqrt(np.cos(self.yaw) ** 2 + 0.85 * np.sin(self.yaw) ** 2) / np.cos(self.yaw)
        x, y = points.real, points.imag
        z = np.where(is_rim, 0.0, _front_depth(x, y)) + depth
        projected = _projected(np.where(is_rim, x * wider, x), y, z, self.yaw, self.pitch)
        return self.turn * projected + self.origin


@dataclass(frozen=True)
class Placement:
    """Where an aligned crop lies in a larger image: its point z is at `turn` · z + `origin`.

    Points are complex, in pixels of a crop of 112.
    """

    turn: complex
    origin: complex

    def points(self, of_crop: Points) -> Points:
        """Points of the crop as pixels of the larger image."""
        return self.turn * of_crop + self.origin


def view(person: Identity, taken: Nuisance, size: int, placement: Placement | None = None) -> View:
    """The pose of `taken`, aligned by the person's five landmarks to an image of side `size`.

    As in real data the alignment removes shift, scale and in-plane rotation, up to the detector's
    error, and keeps the person's proportions. With a `placement` the face is not aligned, but lies
    in an image so that aligning by `landmarks` gives the aligned image; `size` is then ignored.
    """
    side = size if placement is None else 112
    found = _projected_landmarks(person, taken)
    wanted = ARCFACE_TEMPLATE * side
    turn = _least_squares_turn(found, wanted)
    turn *= np.exp(taken.log_scale + 1j * taken.roll)
    middle = wanted.mean() + 0.31 * side * (taken.shift_x + 1j * taken.shift_y)
    origin = middle - turn * found.mean()
    if placement is not None:
        turn, origin = placement.turn * turn, placement.turn * origin + placement.origin
    return View(taken.yaw, taken.pitch, complex(turn), complex(origin))


def landmarks(person: Identity, taken: Nuisance) -> Points:
    """The five landmarks as the detector finds them (5,), in pixels of the aligned crop of 112.

    The least-squares similarity between them and the template is the identity.
    """
    found, wanted = _projected_landmarks(person, taken), ARCFACE_TEMPLATE * 112
    turn = _least_squares_turn(found, wanted)
    return np.asarray(turn * (found - found.mean()) + wanted.mean())


def _projected_landmarks(person: Identity, taken: Nuisance) -> Points:
    corner = person.mouth_width * 0.92
    points = path((-person.eye_x, 0), (person.eye_x, 0), (0, person.nose_y),
                  (-corner, person.mouth_y), (corner, person.mouth_y))  # fmt: skip
    depth = _front_depth(points.real, points.imag)
    depth[2] += person.nose_depth * 0.8
    return _projected(points.real, points.imag, depth, taken.yaw, taken.pitch)


def _least_squares_turn(found: Points, wanted: Points) -> complex:
    """The least-squares similarity (Umeyama), which in the plane is one complex number."""
    centred = found - found.mean()
    return complex(np.vdot(centred, wanted - wanted.mean()) / np.vdot(centred, centred).real)


def _front_depth(x: Reals, y: Reals) -> Reals:
    """The depth of the head's front, an ellipsoid."""
    inside = 1 - (x / 1.1) ** 2 - ((y - 0.15) / 1.65) ** 2
    return np.asarray(0.92 * np.sqrt(np.maximum(0.04, inside)))


def _projected(x: Reals, y: Reals, z: Reals, yaw: float, pitch: float) -> Points:
    across = x * np.cos(yaw) + z * np.sin(yaw)
    near = z * np.cos(yaw) - x * np.sin(yaw)
    down = y * np.cos(pitch) - near * np.sin(pitch)
    near = near * np.cos(pitch) + y * np.sin(pitch)
    return np.asarray((across + 1j * down) / (1 - _PERSPECTIVE * near))


def smooth(points: Points, *, closed: bool = True, steps: int = 4) -> Points:
    """A Catmull-Rom curve through `points`, `steps` points per segment."""
    return _spline(len(points), closed, steps) @ points


def arc(*points: tuple[float, float]) -> Points:
    """A smooth curve from the first to the last of some points (x, y)."""
    return smooth(path(*points), closed=False)


def outline(*points: tuple[float, float]) -> Points:
    """A smooth closed curve through some points (x, y)."""
    return smooth(path(*points))


@functools.lru_cache(maxsize=256)
def _spline(count: int, closed: bool, steps: int) -> Reals:
    t = (np.arange(steps) / steps)[:, None]
    weights = 0.5 * np.hstack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    )
    segments = count if closed else count - 1
    matrix = np.zeros((segments * steps + (not closed), count))
    for segment in range(segments):
        for offset in range(4):
            at = segment + offset - 1
            at = at % count if closed else min(max(at, 0), count - 1)
            matrix[segment * steps : (segment + 1) * steps, at] += weights[:, offset]
    if not closed:
        matrix[-1, -1] = 1
    return matrix
