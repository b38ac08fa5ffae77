"""Heads that hold boxes and scores in one output: YOLO's of every version, as they leave the network.

A row (or column) of the output belongs to one anchor: four numbers of its box, in versions 3 to 7 and YOLOX an
objectness, and a score for each class. Where an anchor is follows from its place in the output: cells of 8, 16 and 32
pixels, row by row, one box a cell or three.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.task_specs import Detection, Units

Floats = NDArray[np.float32]
BOX_NUMBERS = 4
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
_END_TO_END = 6  # x1, y1, x2, y2, score, class
_MOST_END_TO_END = 1000
_MASKS = 32  # coefficients of YOLO's segmentation heads
_SLACK = 0.02  # of a score, after 8 bits
_FOLLOWS = 0.9  # correlation with the place of the anchor
_NOT_A_TASK = "export the detection model instead"


@dataclass(frozen=True)
class Anchors:
    """How many boxes each cell has, and the sides of the cells in pixels."""

    per_cell: int
    strides: tuple[int, ...]


def anchor_counts(width: int, height: int) -> dict[int, Anchors]:
    """Numbers of boxes that a YOLO head may have for an input of this size.

    Example:
        >>> anchor_counts(640, 640)[25200]
        Anchors(per_cell=3, strides=(8, 16, 32))
    """
    found: dict[int, Anchors] = {}
    for strides in _STRIDES:
        cells = sum(math.ceil(width / s) * math.ceil(height / s) for s in strides)
        for per_cell in (1, 3):
            found.setdefault(cells * per_cell, Anchors(per_cell, strides))
    return found


def columns_axis(shape: Sequence[int], width: int, height: int) -> int | None:
    """The axis of box numbers and scores in an output of two axes; None where neither can be.

    The other axis is as long as there are anchors; where both or none are, the shorter axis holds the columns.

    Example:
        >>> columns_axis((84, 8400), 640, 640), columns_axis((25200, 85), 640, 640), columns_axis((100, 4), 640, 640)
        (0, 1, None)

    Raises:
        InputError: both axes are as long.
    """
    if len(shape) != 2 or min(shape) <= BOX_NUMBERS:
        return None
    counts = anchor_counts(width, height)
    if shape[0] == shape[1]:
        raise InputError(f"an output of {shape[0]}x{shape[1]}: nothing tells its boxes from its columns")
    anchors = [axis for axis in (0, 1) if shape[axis] in counts]
    if len(anchors) == 1:
        return 1 - anchors[0]
    return 0 if shape[0] < shape[1] else 1


def is_end_to_end(shape: Sequence[int], width: int, height: int) -> bool:
    """Whether an output has the shape of a list of finished boxes: (n, 6), and n is no number of anchors."""
    if len(shape) != 2 or shape[1] != _END_TO_END or shape[0] > _MOST_END_TO_END:
        return False
    return shape[0] not in anchor_counts(width, height)


def end_to_end_form(pictures: Sequence[Floats], threshold: float = 0.3) -> Detection:
    """How to read rows of x1, y1, x2, y2, score, class.

    Args:
        pictures: the output (n, 6) for a few pictures.
        threshold: of the scores.

    Raises:
        InputError: no such rows.
    """
    rows = np.concatenate(pictures)
    if (wrong := end_to_end_misfit(rows)) is not None:
        raise InputError(f"its output looks like finished boxes (x1, y1, x2, y2, score, class), but {wrong}")
    units: Units = "pixels" if float(np.abs(rows[:, :4]).max()) > 2 else "relative"
    return Detection("xyxy", units, "end-to-end", threshold)


def end_to_end_misfit(rows: Floats) -> str | None:
    """Why rows are not x1, y1, x2, y2, score, class; None where they can be."""
    if not np.isfinite(rows).all():
        return "not all its numbers are finite"
    scores, classes = rows[:, 4], rows[:, 5]
    if ((scores < -_SLACK) | (scores > 1 + _SLACK)).any():
        return f"a score is {scores[np.abs(scores - 0.5).argmax()]:g}, which is not in 0..1"
    whole = np.abs(classes - np.round(classes)) <= 0.05
    if (~whole | (classes < -1.5)).any():  # -1 fills rows without a box
        return f"a class is {classes[(~whole | (classes < -1.5)).argmax()]:g}, which is no number of a class"
    return None


def joined_form(
    pictures: Sequence[Floats], width: int, height: int, *, labels: int = 0, objectness: bool | None = None
) -> Detection:
    """How to read an output that holds boxes and scores of every anchor.

    Args:
        pictures: the output, (columns, boxes) or (boxes, columns), for a few pictures.
        width, height: of the model's input.
        labels: how many are known; 0 for none.
        objectness: whether there is such a column, where the user says so.

    Raises:
        InputError: it is another head (oriented boxes, pose, masks), or nothing tells whether it has an objectness.
    """
    shape = pictures[0].shape
    axis = columns_axis(shape, width, height)
    if axis is None:
        raise InputError(f"an output of {shape} holds no boxes and scores")
    tables = [picture.T if axis == 0 else picture for picture in pictures]
    table = np.concatenate(tables)
    if not np.isfinite(table).all():
        raise InputError("not all numbers of its output are finite")
    _refuse_other_heads(table, width, height, tables[0].shape[0])
    columns, boxes = table.shape[1], tables[0].shape[0]
    if objectness is None:
        objectness = has_objectness(pictures[0].shape, width, height, labels)
    if objectness and columns < BOX_NUMBERS + 2:
        raise InputError(f"an output of {columns} columns has no class beside an objectness")
    return Detection("cxcywh", _units(table, boxes, width, height, objectness), "joined", objectness=objectness)


def split_joined(output: Floats, detection: Detection, width: int, height: int) -> tuple[Floats, Floats]:
    """Boxes (n, 4) and scores (n, classes) of a joined output; the objectness is multiplied into the scores.

    Raises:
        InputError: the output does not fit.
    """
    axis = columns_axis(output.shape, width, height)
    if axis is None:
        raise InputError(f"an output of {output.shape} holds no boxes and scores")
    table = output.T if axis == 0 else output
    boxes, scores = table[:, :BOX_NUMBERS], table[:, BOX_NUMBERS:]
    if detection.objectness:
        scores = scores[:, :1] * scores[:, 1:]
    if detection.units == "cells":
        boxes = decoded(boxes, width, height)
    return boxes, scores


def has_objectness(shape: Sequence[int], width: int, height: int, labels: int = 0) -> bool:
    """Whether the fifth column of a joined output is an objectness: by the labels, else by the number of boxes.

    Args:
        shape: of the output, (columns, boxes) or (boxes, columns).
        width, height: of the model's input.
        labels: how many are known; 0 for none.

    Raises:
        InputError: nothing tells, or the labels fit neither.
    """
    axis = columns_axis(shape, width, height)
    columns, boxes = (shape[1], shape[0]) if axis == 1 else (shape[0], shape[1])
    without, with_one = columns - BOX_NUMBERS, columns - BOX_NUMBERS - 1
    if labels in (without, with_one) and labels:
        return labels == with_one
    if labels:
        raise InputError(f"{labels} labels for boxes with {without} scores, or {with_one} and an objectness")
    anchors = anchor_counts(width, height).get(boxes)
    if anchors is not None and anchors.per_cell == 3:
        return True  # versions 3, 4, 5 and 7
    if anchors is not None and axis == 0:
        return False  # versions 8 and later put the columns first
    if columns in (84, 85):
        return columns == 85  # the 80 classes of COCO
    raise InputError(
        f"boxes with {without} more numbers: {without} classes, or an objectness and {with_one} classes; nothing "
        f"tells: give --labels with {without} or {with_one} names"
    )


def _units(table: Floats, boxes: int, width: int, height: int, objectness: bool) -> Units:
    sides = table[:, 2:BOX_NUMBERS]
    if (sides >= 0).all():
        return "pixels" if float(np.abs(table[:, :BOX_NUMBERS]).max()) > 2 else "relative"
    anchors = anchor_counts(width, height).get(boxes)
    if objectness and anchors is not None and anchors.per_cell == 1:
        return "cells"  # logarithms of sides: YOLOX, exported without its decoding
    raise InputError("boxes with negative sides: the head is not decoded; export the model with its decoding inside")


def decoded(boxes: Floats, width: int, height: int) -> Floats:
    """Centers and sides in pixels of YOLOX's offsets in cells and logarithms of sides."""
    centers, strides = anchor_cells(len(boxes), width, height)
    sides = np.exp(np.minimum(boxes[:, 2:], 20.0))
    return np.concatenate([(boxes[:, :2] + centers) * strides, sides * strides], axis=1).astype(np.float32)


def anchor_cells(boxes: int, width: int, height: int) -> tuple[Floats, Floats]:
    """Column and row of each anchor's cell, (n, 2), and the cell's side in pixels, (n, 1).

    Raises:
        InputError: a head for this size of input has another number of boxes.
    """
    anchors = anchor_counts(width, height).get(boxes)
    if anchors is None or anchors.per_cell != 1:
        raise InputError(f"{boxes} boxes are no cells of a {width}x{height} input")
    cells, strides = [], []
    for stride in anchors.strides:
        ys, xs = np.mgrid[: math.ceil(height / stride), : math.ceil(width / stride)]
        cells.append(np.stack([xs.ravel(), ys.ravel()], axis=1))
        strides.append(np.full((xs.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _refuse_other_heads(table: Floats, width: int, height: int, boxes: int) -> None:
    """By what stands behind the box: scores lie in 0..1 and do not follow the place of the anchor."""
    rest = table[:, BOX_NUMBERS:]
    outside: NDArray[np.bool_] = np.asarray(((rest < -_SLACK) | (rest > 1 + _SLACK)).any(axis=0))
    follows = _columns_that_follow(table, rest)
    if follows.sum() >= 3:  # x of several keypoints
        raise InputError(f"its output looks like a YOLO pose model (keypoints behind each box): {_NOT_A_TASK}")
    typical = np.median(rest, axis=0)
    only_last = outside.sum() == 1 and outside[-1]
    apart = len(typical) > 1 and typical[-1] > 0.2 and typical[-1] > 10 * max(float(typical[:-1].max()), 0.0)
    if len(typical) > 1 and (only_last or apart):
        raise InputError(f"its output looks like a YOLO model of oriented boxes (an angle in the last): {_NOT_A_TASK}")
    if len(typical) > _MASKS and outside[-_MASKS:].sum() > _MASKS // 2 and not outside[:-_MASKS].any():
        raise InputError(f"its output looks like a YOLO segmentation model (32 mask coefficients): {_NOT_A_TASK}")
    if outside.any():
        raise InputError(
            f"an output of {boxes} rows of {table.shape[1]} numbers looks like a YOLO head, but its scores are not in "
            f"0..1 (up to {float(np.abs(rest).max()):.3g}): features, distributions and masks are not supported"
        )


def _columns_that_follow(table: Floats, rest: Floats) -> NDArray[np.bool_]:
    """Which columns rise with the box's center, in x: a keypoint's do, a score's do not."""
    x = table[:, 0].astype(np.float64) - float(table[:, 0].mean())
    centered = rest.astype(np.float64) - rest.mean(axis=0)
    scale = np.sqrt((x**2).sum() * (centered**2).sum(axis=0))
    together = np.divide(x @ centered, scale, out=np.zeros(rest.shape[1]), where=scale > 1e-9)
    return np.asarray(together > _FOLLOWS, np.bool_)
