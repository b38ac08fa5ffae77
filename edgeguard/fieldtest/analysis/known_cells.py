"""Which distances and angles to keep, so that the clean object is known in every cell that is left."""

from collections.abc import Mapping

#: Distance in millimeters, angle in degrees.
Place = tuple[float, float]


def kept_grid(known: Mapping[Place, bool]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Distances and angles of which every cell is known: again and again the one with most strange cells is left out.

    Args:
        known: whether the object is known, of each cell of a grid.

    Returns:
        Distances and angles in order; both empty where no cell is known.

    Example:
        >>> kept_grid({(900, 0): True, (900, 30): False, (1400, 0): True, (1400, 30): False})
        ((900, 1400), (0,))
    """
    if not any(known.values()):
        return (), ()
    kept = dict(known)
    while not all(kept.values()):
        # of equals the angle goes, and of angles the larger: the less an object is turned, the more models know it
        strange = {(axis, place[axis]): _share_strange(kept, axis, place[axis]) for place in kept for axis in (0, 1)}
        axis, value = max(strange, key=lambda line: (strange[line], *line))
        kept = {place: is_known for place, is_known in kept.items() if place[axis] != value}
    distances, angles = zip(*kept, strict=True)
    return tuple(sorted(set(distances))), tuple(sorted(set(angles)))


def flags_for(known: Mapping[Place, bool]) -> str:
    """The flags of a plan that keeps to cells that are known; empty where all of them are, or none is."""
    flags = []
    for axis, (flag, kept) in enumerate(zip(("--distances", "--angles"), kept_grid(known), strict=True)):
        if kept and len(kept) < len({place[axis] for place in known}):
            flags.append(f"{flag} {','.join(f'{value:g}' for value in kept)}")
    return " ".join(flags)


def _share_strange(known: Mapping[Place, bool], axis: int, value: float) -> float:
    of_it = [is_known for place, is_known in known.items() if place[axis] == value]
    return 1 - sum(of_it) / len(of_it)
