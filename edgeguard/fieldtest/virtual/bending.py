"""How cloth and card bend: a thin-plate spline that moves the places of a plane (Bookstein 1989)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
_GRID = 4
_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class ThinPlate:
    """A smooth displacement that takes given values at knots and bends as little as it can between them.

    Attributes:
        knots: (n, 2).
        weights: (n, 2) of the radial parts.
        affine: (3, 2), of 1, x, y.
    """

    knots: Points
    weights: Points
    affine: Points

    def moved(self, points: Points) -> Points:
        """Where places of the picture's plane come from on the flat object, (..., 2)."""
        flat = points.reshape(-1, 2)
        radial = _radial(np.linalg.norm(flat[:, None] - self.knots[None], axis=2))
        shift = radial @ self.weights + np.column_stack([np.ones(len(flat)), flat]) @ self.affine
        return np.asarray((flat + shift).reshape(points.shape))

    def seen_at(self, points: Points) -> Points:
        """The inverse: where places of the flat object are seen in the plane, (..., 2)."""
        seen = points.copy()
        for _ in range(_ROUNDS):
            seen = seen - (self.moved(seen) - points)
        return seen


def fitted(knots: Points, shifts: Points) -> ThinPlate:
    """The spline with these displacements at these knots."""
    n = len(knots)
    design = np.column_stack([np.ones(n), knots])
    matrix = np.zeros((n + 3, n + 3))
    matrix[:n, :n] = _radial(np.linalg.norm(knots[:, None] - knots[None], axis=2))
    matrix[:n, n:], matrix[n:, :n] = design, design.T
    solved = np.linalg.solve(matrix, np.concatenate([shifts, np.zeros((3, 2))]))
    return ThinPlate(knots, solved[:n], solved[n:])


def drawn_bend(rng: np.random.Generator, width_mm: float, height_mm: float, strength: float) -> ThinPlate:
    """A random bend of an object: 4 x 4 knots, each moved by `strength` of the object's side (standard deviation).

    Args:
        rng: of the shifts.
        width_mm, height_mm: of the object.
        strength: 0.03 is a shirt on a chest that moves; 0.1 folds it.
    """
    across, down = np.linspace(-0.5, 0.5, _GRID) * width_mm, np.linspace(-0.5, 0.5, _GRID) * height_mm
    knots = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)
    side = float((width_mm * height_mm) ** 0.5)
    return fitted(knots, rng.normal(0, strength * side, knots.shape))


def _radial(distance: Points) -> Points:
    """r^2 log r, 0 at 0."""
    return np.where(distance > 0, distance**2 * np.log(np.where(distance > 0, distance, 1.0)), 0.0)
