"""Where in the image the object of a frame stood, in a coarse grid."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.session.session import FrameRecord

COLUMNS, ROWS = 6, 4


def image_place(record: FrameRecord) -> tuple[int, int] | None:
    """Column and row of the object's middle, 0 at the upper left; None where it is not known."""
    if record.corners is None or record.size is None:
        return None
    x, y = np.array(record.corners).mean(0) / record.size
    return int(np.clip(x * COLUMNS, 0, COLUMNS - 1)), int(np.clip(y * ROWS, 0, ROWS - 1))


def by_place(frames: Iterable[tuple[FrameRecord, bool]]) -> dict[tuple[int, int], Counted]:
    """Successes of eligible frames by the place of the object."""
    bins: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for record, hit in frames:
        place = image_place(record)
        if place is not None:
            bins[place].append(hit)
    return {place: Counted(sum(hits), len(hits)) for place, hits in sorted(bins.items())}
