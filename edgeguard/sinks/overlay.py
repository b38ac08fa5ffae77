"""Drawing a result over its frame."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.model.prediction import ClassMap, Prediction
from edgeguard.pipeline.result import FrameResult
from edgeguard.reporting.shown import size_at_most
from edgeguard.sinks.class_colors import colored

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _PAPER, _ALARM, _BOX = (255, 255, 255), (24, 28, 34), (230, 60, 50), (90, 220, 120)
_LEAST_POINT = 0.3  # score of a keypoint that is drawn
MIN_WIDTH = 480
_MOST_SIDE = 8128  # MPEG-4 takes 8191, and two lines of text stand below


def draw_overlay(result: FrameResult) -> NDArray[np.uint8]:
    """The frame (enlarged to at least 480 pixels) above two lines of text; a red frame when the undefended path
    disagrees. RGB, even sides of at most 8184 pixels."""
    assert result.rgb is not None, "the pipeline has to keep its frames for pictures"
    picture, scale = _enlarged(result.rgb)
    height = max(picture.shape[0] - picture.shape[0] % 2, 2)
    width = max(picture.shape[1] - picture.shape[1] % 2, MIN_WIDTH)  # of a strip: paper beside it
    part = picture[:height, :width]
    canvas = np.full((height + 56, width, 3), _PAPER, np.uint8)
    canvas[: part.shape[0], : part.shape[1]] = part
    draw_seen(canvas, height, result.prediction, scale)
    guarded = f"{result.passes} pass{'es' if result.passes != 1 else ''}, pass 1: {result.pass1}"
    if result.certified_share is not None:
        guarded += f", {result.certified_share:.0%} of blocks certified at +-1"
    if result.proven is not None:
        guarded += ": proven" if result.proven else ": not proven"
    _text(canvas, f"{result.prediction.label}  {result.prediction.score:.2f}", (10, height + 24), 0.65)
    _text(canvas, guarded, (10, height + 46), 0.42)
    if result.undefended is not None:
        agrees = result.undefended.index == result.prediction.index
        note = f"undefended: {result.undefended.label}  {result.undefended.score:.2f}"
        _text(canvas, note, (width // 2, height + 24), 0.5, _INK if agrees else _ALARM)
        if not agrees:
            cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), _ALARM, 4)
    return canvas


def _enlarged(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """A frame as large as it is drawn, and how many times that is. A strip is shrunk: enlarged it would fill memory."""
    height, width = rgb.shape[:2]
    scale = -(-MIN_WIDTH // width) if width < MIN_WIDTH else 1
    if max(scale * width, scale * height) <= _MOST_SIDE:
        return rgb.repeat(scale, axis=0).repeat(scale, axis=1), scale
    size = size_at_most(width, height, _MOST_SIDE)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), size[0] / width


def draw_seen(canvas: NDArray[np.uint8], height: int, seen: Prediction, scale: float) -> None:
    """Draw what a model saw over the first `height` rows of a picture that is so much larger than the frame."""
    if seen.class_map is not None:
        _tint(canvas[:height], seen.class_map, scale)
    for point in seen.keypoints or ():
        if point.score >= _LEAST_POINT:
            cv2.circle(canvas[:height], (round(scale * point.x), round(scale * point.y)), 4, _BOX, -1, cv2.LINE_AA)
    for box in seen.boxes or ():
        corners = [round(scale * side) for side in (box.x1, box.y1, box.x2, box.y2)]
        cv2.rectangle(canvas, (corners[0], corners[1]), (corners[2], corners[3]), _BOX, 2)
        caption = f"{box.label} {box.score:.2f}" + ("" if box.track is None else f" #{box.track}")
        (wide, tall), _ = cv2.getTextSize(caption, _FONT, 0.45, 1)
        top = max(corners[1] - tall - 8, 0)
        cv2.rectangle(canvas, (corners[0], top), (corners[0] + wide + 6, top + tall + 8), _BOX, -1)
        _text(canvas, caption, (corners[0] + 3, top + tall + 4), 0.45, _PAPER)


def _tint(picture: NDArray[np.uint8], seen: ClassMap, scale: float) -> None:
    """Blend the colors of the classes over the part of the picture that the map covers; class 0 stays as it is."""
    height, width = picture.shape[:2]
    left, top = max(round(scale * seen.x1), 0), max(round(scale * seen.y1), 0)
    right, bottom = min(round(scale * seen.x2), width), min(round(scale * seen.y2), height)
    if right <= left or bottom <= top:
        return
    mask = cv2.resize(colored(seen.classes), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    part, drawn = picture[top:bottom, left:right], mask[:, :, 3] > 0
    part[drawn] = (part[drawn].astype(np.uint16) + mask[drawn, :3]) // 2


def _text(
    canvas: NDArray[np.uint8], text: str, at: tuple[int, int], size: float, color: tuple[int, int, int] = _INK
) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts hold ASCII only
    cv2.putText(canvas, plain, at, _FONT, size, color, 1, cv2.LINE_AA)
