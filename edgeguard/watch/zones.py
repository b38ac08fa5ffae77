"""Zones: polygons in shares of the frame, and what is inside them."""

from collections.abc import Sequence

Point = tuple[float, float]
Polygon = tuple[Point, ...]

_MOST_POINTS = 32
_LEAST_AREA = 1e-4  # of the frame


def checked_polygon(points: Polygon) -> Polygon:
    """The points, where they are a polygon within the frame.

    Raises:
        ValueError: they are not; the text follows the key's name.

    Example:
        >>> checked_polygon(((0.1, 0.1), (0.9, 0.1), (0.9, 0.9)))
        ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
    """
    if not 3 <= len(points) <= _MOST_POINTS:
        raise ValueError(f"wants 3 to {_MOST_POINTS} points [x, y]")
    for x, y in points:
        if not (0 <= x <= 1 and 0 <= y <= 1):  # NaN is outside
            raise ValueError("leaves the frame: points are shares of its width and height, from 0 to 1")
    sides = list(zip(points, (*points[1:], points[0]), strict=True))
    for i, one in enumerate(sides):
        for j in range(i + 1, len(sides)):
            neighbors = j == i + 1 or (i == 0 and j == len(sides) - 1)
            if not neighbors and _cross(*one, *sides[j]):
                raise ValueError("crosses itself: name the corners in their order around the zone")
    if abs(_area(points)) < _LEAST_AREA:
        raise ValueError("has no area: its points lie on a line")
    return points


def contains(polygon: Polygon, x: float, y: float) -> bool:
    """Whether a point lies in a polygon; both in shares of the frame.

    Example:
        >>> [contains(((0, 0), (1, 0), (0, 1)), x, 0.25) for x in (0.25, 0.8)]
        [True, False]
    """
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


def _area(points: Sequence[Point]) -> float:
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, (*points[1:], points[0]), strict=True)) / 2


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two lines between points have a point in common."""

    def turn(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def between(p: Point, q: Point, r: Point) -> bool:
        return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])

    turns = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    lying = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(value == 0 and between(*points) for value, points in zip(turns, lying, strict=True))
