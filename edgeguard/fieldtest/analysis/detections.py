"""What a detector said of the object in a stored frame: found, called something else, or not seen at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.fieldtest.session.place import corners_from_tags, true_box
from edgeguard.fieldtest.session.session import FrameRecord
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.fieldtest.sheets.tags import find_sheets
from edgeguard.model.prediction import BoxScore
from edgeguard.scene.outlines import Box as Corners
from edgeguard.watch.tracker import overlaps

#: Class, score, x1, y1, x2, y2.
Box = tuple[int, float, float, float, float, float]
#: The index of an outcome in which no box lies on the object.
NOTHING = -1
#: Intersection over union from which a box lies on the object.
MATCH = 0.5
#: What overlaps the object less than this lies elsewhere (as in audits of detectors).
APART = 0.3
#: Boxes that are kept of a frame.
MOST_BOXES = 20


@dataclass(frozen=True)
class OnIt:
    """The box on the object.

    Attributes:
        index: its class: the object's own where such a box lies on it, else that of the best other one, else `NOTHING`.
        score: of it, 0 without a box.
        elsewhere: boxes of the object's class that are not the one on it.
        apart: classes of the boxes that lie nowhere near it, each once.
    """

    index: int
    score: float
    elsewhere: int
    apart: tuple[int, ...] = ()


def judged_box(boxes: Sequence[BoxScore], truth: Corners, label: int) -> OnIt:
    """Judge a detector's boxes (best first) by the object's true box, both in the frame's pixels.

    Where two objects of the class are in view, the one that is marked (or lies between the tags) counts.
    """
    if not boxes:
        return OnIt(NOTHING, 0.0, 0)
    sides = np.array([[b.x1, b.y1, b.x2, b.y2] for b in boxes], np.float64)
    shares = overlaps(sides, np.array([truth], np.float64))[:, 0]
    on_it = [box for box, share in zip(boxes, shares, strict=True) if share >= MATCH]
    own = [box for box in on_it if box.index == label]
    elsewhere = sum(box.index == label for box in boxes) - len(own)
    apart = tuple(sorted({box.index for box, share in zip(boxes, shares, strict=True) if share < APART}))
    best = next(iter(own or on_it), None)
    return OnIt(NOTHING, 0.0, elsewhere, apart) if best is None else OnIt(best.index, best.score, elsewhere, apart)


def kept_boxes(boxes: Sequence[BoxScore]) -> tuple[Box, ...]:
    """The best boxes as plain numbers, to a tenth of a pixel."""
    return tuple(
        (b.index, round(b.score, 4), round(b.x1, 1), round(b.y1, 1), round(b.x2, 1), round(b.y2, 1))
        for b in boxes[:MOST_BOXES]
    )


def object_box(
    data: bytes, size: tuple[int, int], record: FrameRecord, sheet: Sheet, print_scale: float = 1.0
) -> Corners | None:  # fmt: skip
    """The object's true box in a stored frame; None where nothing says where it is.

    Args:
        data: the frame's bytes: of frames that were recorded without corners the tags are looked for.
        size: width and height of the upright frame.
        record: of the frame.
        sheet: that stands there.
        print_scale: of the plan.
    """
    corners = record.corners
    if corners is None:
        found = next((one for one in find_sheets(decode_whole(data)) if one.number == sheet.number), None)
        corners = None if found is None else corners_from_tags(found, sheet, print_scale)
    return None if corners is None else true_box(corners, sheet, record.pose_from, *size)
