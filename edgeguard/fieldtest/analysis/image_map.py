"""Where in the image a patch has its way: successes by the place of the object in the frame, laid over a frame."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import InputError, JpegError
from edgeguard.fieldtest.analysis.counted import Counted
from edgeguard.fieldtest.analysis.findings import ArmResult, Findings
from edgeguard.fieldtest.analysis.image_places import COLUMNS, ROWS
from edgeguard.fieldtest.analysis.score import OFF
from edgeguard.fieldtest.session.session import Session

_WIDTH, _HIGHEST = 640, 1920
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def image_maps(session: Session, found: Findings) -> Iterable[tuple[ArmResult, NDArray[np.uint8]]]:
    """A picture for each patch without a guard: a frame, and over it the share of successes in each part, RGB."""
    for arm in found.arms:
        if arm.sheet.arm == "patch" and arm.guard == OFF and arm.by_place:
            frame = _a_frame(session, arm)
            if frame is not None:
                yield arm, drawn(frame, arm.by_place)


def drawn(frame: NDArray[np.uint8], by_place: dict[tuple[int, int], Counted]) -> NDArray[np.uint8]:
    """The frame, dimmed, with a colored field for each part in which the object stood."""
    height = min(max(round(frame.shape[0] * _WIDTH / frame.shape[1]), ROWS), _HIGHEST)
    small = cv2.resize(frame, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(np.asarray(small, np.uint8), cv2.COLOR_RGB2GRAY)
    out = np.repeat((70 + gray[:, :, None] * 0.4), 3, 2)
    for (column, row), counted in by_place.items():
        rows = slice(row * height // ROWS + 1, (row + 1) * height // ROWS - 1)
        columns = slice(column * _WIDTH // COLUMNS + 1, (column + 1) * _WIDTH // COLUMNS - 1)
        color = np.array([60, 110, 165]) * (1 - counted.share) + np.array([215, 70, 45]) * counted.share
        out[rows, columns] = 0.45 * out[rows, columns] + 0.55 * color
    picture = np.ascontiguousarray(np.rint(out), np.uint8)
    for (column, row), counted in by_place.items():
        left, top = column * _WIDTH // COLUMNS + 10, (2 * row + 1) * height // (2 * ROWS)
        for text, down, size in ((f"{100 * counted.share:.0f} %", -2, 0.6), (f"of {counted.n}", 18, 0.42)):
            cv2.putText(picture, text, (left, top + down), _FONT, size, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _a_frame(session: Session, arm: ArmResult) -> NDArray[np.uint8] | None:
    for done in session.passes:
        if done.sheet == arm.sheet.number:
            try:
                return decode_whole(session.read_frame(done.frames[0]))
            except (InputError, JpegError):
                continue
    return None
