"""From head units to pixels: pose, projection, alignment to five points, smooth curves."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.data.faces.identity import Identity
from frcore.data.faces.nuisance import Nuisance

Points = NDArray[np.float64]

ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
     (41.5493, 92.3655), (70.7299, 92.2041)]) / 112  # fmt: skip
"""Where eyes, nose tip and mouth corners lie in an aligned image, as fractions of its side."""

_PERSPECTIVE = 0.07


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

    def points(self, xyz: ArrayLike) -> Points:
        """Head points (N, 3) to pixels (N, 2)."""
        flat = self.turn * _projected(np.asarray(xyz, np.float64), self.yaw, self.pitch)
        return np.stack([flat.real + self.origin.real, flat.imag + self.origin.imag], axis=-1)

    def surface(self, xy: ArrayLike, lift: float = 0.0) -> Points:
        """Points (N, 2) on the front of the head, raised by `lift`, to pixels (N, 2)."""
        return self.points(on_surface(np.asarray(xy, np.float64), lift))

    def outline(self, xy: ArrayLike, depth: ArrayLike = 0.0) -> Points:
        """Points (N, 2) of the head's silhouette, `depth` before its middle, to pixels.

        A silhouette does not shrink with the cosine when a head turns: a head is about as deep as
        it is wide.
        """
        xy = np.asarray(xy, np.float64)
        wider = np.sqrt(np.cos(self.yaw) ** 2 + 0.85 * np.sin(self.yaw) ** 2) / np.cos(self.yaw)
        xyz = np.column_stack([xy[:, 0] * wider, xy[:, 1], np.broadcast_to(depth, len(xy))])
        return self.points(xyz)


def view(person: Identity, taken: Nuisance, size: int) -> View:
    """The pose of `taken`, aligned by the person's five landmarks to an image of side `size`.

    As in real data the alignment removes shift, scale and in-plane rotation, up to the detector's
    error, and leaves the person's proportions.
    """
    landmarks = on_surface(
        np.array(
            [(-person.eye_x, 0), (person.eye_x, 0), (0, person.nose_y),
             (-person.mouth_width * 0.92, person.mouth_y),
             (person.mouth_width * 0.92, person.mouth_y)])
    )  # fmt: skip
    landmarks[2, 2] += person.nose_depth * 0.8
    found = _projected(landmarks, taken.yaw, taken.pitch)
    wanted = (ARCFACE_TEMPLATE * size) @ np.array([1, 1j])
    centred = found - found.mean()
    # Least squares over similarities: Umeyama's solution, in the plane, is one complex number.
    turn = np.vdot(centred, wanted - wanted.mean()) / np.vdot(centred, centred).real
    turn *= np.exp(taken.log_scale + 1j * taken.roll)
    middle = wanted.mean() + 0.31 * size * (taken.shift_x + 1j * taken.shift_y)
    return View(taken.yaw, taken.pitch, complex(turn), complex(middle - turn * found.mean()))


def on_surface(xy: Points, lift: float = 0.0) -> Points:
    """Give points (N, 2) the depth of the head's front, an ellipsoid: (N, 3)."""
    inside = 1 - (xy[:, 0] / 1.1) ** 2 - ((xy[:, 1] - 0.15) / 1.65) ** 2
    return np.column_stack([xy, 0.92 * np.sqrt(np.maximum(0.04, inside)) + lift])


def _projected(xyz: Points, yaw: float, pitch: float) -> NDArray[np.complex128]:
    x, y, z = xyz.T
    across = x * np.cos(yaw) + z * np.sin(yaw)
    near = z * np.cos(yaw) - x * np.sin(yaw)
    down = y * np.cos(pitch) - near * np.sin(pitch)
    near = near * np.cos(pitch) + y * np.sin(pitch)
    return (across + 1j * down) / (1 - _PERSPECTIVE * near)


def smooth(points: ArrayLike, *, closed: bool = True, steps: int = 5) -> Points:
    """A Catmull-Rom curve through `points` (N, D), `steps` points per segment."""
    points = np.asarray(points, np.float64)
    return _spline(len(points), closed, steps) @ points


@functools.lru_cache(maxsize=256)
def _spline(count: int, closed: bool, steps: int) -> Points:
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
