"""Light on a head: normals of an ellipsoid with Gaussian bumps, Lambert shading, some gloss.

Every bump is the product of a function of x and one of y, so that all of them together are one
matrix product, and the whole relief costs little more than one bump.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces.geometry import View
from frcore.data.synthetic.faces.identity import Identity
from frcore.data.synthetic.faces.nuisance import Nuisance

Field = NDArray[np.float32]

_GLOSS = 0.10
_SIDE = 48
"""Side of the grid on which light is computed: it varies slowly, and edges come from drawing."""


def _bumps(person: Identity, taken: Nuisance) -> NDArray[np.float64]:
    """Hills and hollows, one row each: x, y, lift, width, height, amplitude."""
    p, smile = person, max(0.0, taken.smile)
    depth = p.nose_depth
    middle = [
        (0.0, p.nose_y, depth, 0.6 * p.nose_width, 0.12, 0.55 * depth),
        (0.0, 0.18, depth * 0.5, p.nose_bridge, 0.26, 0.36 * depth),
        (0.0, -0.3, 0.0, 0.5, 0.12, p.brow_ridge),
        (0.0, p.mouth_y, 0.05, 0.32, 0.16, 0.05),
        (0.0, p.mouth_y + p.lower_lip + 0.1, 0.0, 0.2, 0.06, -0.05),
        (0.0, p.chin_y - 0.14, 0.0, 0.2, 0.13, 0.09),
        (0.0, -0.75, 0.0, 0.55, 0.25, 0.05),
    ]
    right = [
        (p.eye_x, -0.03, 0.0, 0.24, 0.15, -p.socket_depth),
        (p.eye_x, 0.0, 0.0, 0.13, 0.08, 0.06),
        (p.nose_width * 0.85, p.nose_y + 0.05, depth * 0.4, 0.09, 0.08, 0.05),
        (0.56, 0.38, 0.0, 0.2, 0.2, p.cheek_relief + 0.04 * smile),
        (0.62, 0.75, 0.0, 0.16, 0.22, -0.06),
    ]
    left = [(-x, *rest) for x, *rest in right]
    return np.array([*middle, *right, *left])


def _tints(person: Identity) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Soft patches of colour: place and size as in `_bumps` (N, 5), factors on RGB (N, 3)."""
    p = person
    rows: list[tuple[float, ...]] = []
    factors: list[tuple[float, float, float]] = []
    for side in (-1, 1):
        rows.append((side * 0.52, 0.45, 0.0, 0.22, 0.18))
        factors.append((0.03 * p.rosy, -0.13 * p.rosy, -0.10 * p.rosy))
        rows.append((side * p.eye_x, 0.14, 0.0, 0.17, 0.06))
        factors.append((-0.16 * p.eye_bags, -0.18 * p.eye_bags, -0.13 * p.eye_bags))
        rows.append((side * p.eye_x, -0.12, 0.0, 0.2, 0.1))
        factors.append((-0.10, -0.12, -0.12))
    return np.array(rows), np.array(factors, np.float32)


class _Grid:
    """Pixel coordinates of an image in units of the projected head."""

    def __init__(self, view: View, drawn: int):
        self.view = view
        self._centre = complex(view.pixels(np.array([0.15j]), -0.92, False)[0])
        pixels = (np.arange(_SIDE) + 0.5) * (drawn / _SIDE) - 0.5
        self.x = ((pixels - self._centre.real) / view.scale).astype(np.float32)
        self.y = ((pixels - self._centre.imag) / view.scale).astype(np.float32)

    def gaussians(self, rows: NDArray[np.float64]) -> tuple[Field, Field, Field, Field]:
        """For each of `rows` its factors over x and y (N, S), and the offsets over their variances.

        A Gaussian's value is the product of the factors; times the last two it is the slope.
        """
        seen = self.view.pixels(rows[:, 0] + 1j * rows[:, 1], rows[:, 2], False)
        at = (seen - self._centre) / self.view.scale
        sigma = rows[:, 3:5].astype(np.float32)
        x = (self.x - at.real[:, None].astype(np.float32)) / sigma[:, :1]
        y = (self.y - at.imag[:, None].astype(np.float32)) / sigma[:, 1:]
        return np.exp(-0.5 * x * x), np.exp(-0.5 * y * y), x / sigma[:, :1], y / sigma[:, 1:]


def light_on_head(person: Identity, taken: Nuisance, view: View, drawn: int) -> tuple[Field, Field]:
    """How much light the head reflects, for an image of side `drawn`.

    Returns:
        what to add to the colours (drawn, drawn, 3), as a share of them, and the gloss to add in
        units of 0..255.
    """
    grid = _Grid(view, drawn)
    facing = _facing(grid, person, taken)
    tints, factors = _tints(person)
    along, down, _, _ = grid.gaussians(tints)
    rows = (along[:, :, None] * factors[:, None, :]).reshape(len(tints), -1)
    patches = (down.T @ rows).reshape(_SIDE, _SIDE, 3)
    ambient = np.float32(taken.ambient)
    lambert = ambient + (1 - ambient) * np.float32(1.3) * facing
    share = (1 + patches) * lambert[:, :, None] - 1
    shine = facing * facing * facing
    shine *= shine
    gloss = np.float32(255 * _GLOSS * (1 - taken.ambient)) * (shine * shine)
    size = (drawn, drawn)
    share = np.asarray(cv2.resize(share, size, interpolation=cv2.INTER_LINEAR), np.float32)
    gloss = np.asarray(cv2.resize(gloss, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return share, np.asarray(cv2.cvtColor(gloss, cv2.COLOR_GRAY2RGB), np.float32)


def _facing(grid: _Grid, person: Identity, taken: Nuisance) -> Field:
    """The cosine between the surface's normal and the light, at least 0: (S, S)."""
    bumps = _bumps(person, taken)
    along, down, slope_x, slope_y = grid.gaussians(bumps)
    weighted = down * bumps[:, 5:6].astype(np.float32)
    across = weighted.T @ (along * slope_x)
    below = (weighted * slope_y).T @ along
    x = np.clip(grid.x / np.float32(1.08), -1, 1)
    y = np.clip((grid.y - np.float32(0.02)) / np.float32(1.55), -1, 1)[:, None]
    depth = np.sqrt(np.maximum(np.float32(0.12), 1 - x * x - y * y))
    # The normal of a surface z(x, y) is (-dz/dx, -dz/dy, 1), here times the ellipsoid's depth.
    normal_x = x + across * depth
    normal_y = y / np.float32(1.4) + below * depth
    light = np.array([taken.light_x, taken.light_y, 1.0])
    light_x, light_y, light_z = (light / np.linalg.norm(light)).astype(np.float32)
    length = np.sqrt(normal_x * normal_x + normal_y * normal_y + depth * depth)
    facing = (normal_x * light_x + normal_y * light_y + depth * light_z) / length
    return np.asarray(np.maximum(facing, 0))
