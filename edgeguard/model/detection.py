"""From a detector's outputs to boxes on the frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Detection
from edgeguard.model.output_roles import misfit
from edgeguard.model.prediction import BoxScore, Prediction, Score, label_of, softmax
from edgeguard.model.yolo import decoded, end_to_end_misfit, split_joined
from edgeguard.preprocess.geometry import Placement

_BOX = 4
_MOST = 100  # boxes a frame
_SLACK = 0.02
_FAR = 8.0  # times the picture's side: boxes reach over its edge, not further


def box_and_score_outputs(shapes: Sequence[tuple[int, ...]]) -> tuple[int, int] | None:
    """Which of two outputs holds boxes and which scores, from shapes without the batch; None when neither fits.

    Boxes are (n, 4) or (4, n), scores (n, classes) or (classes, n). Where both fit (four classes) the first is boxes.

    Example:
        >>> box_and_score_outputs([(100, 7), (100, 4)])
        (1, 0)
    """
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        return None
    for boxes, scores in ((0, 1), (1, 0)):
        if _BOX in shapes[boxes]:
            count = shapes[boxes][0] if shapes[boxes][1] == _BOX else shapes[boxes][1]
            if count in shapes[scores]:
                return boxes, scores
    return None


def read_raw(
    outputs: Sequence[NDArray[np.float32]], contract: Contract
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (n, 4) as x1, y1, x2, y2 in 0..1 of the model's input, and scores 0..1 (n, classes), background included.

    Raises:
        InputError: the outputs are no boxes and scores.
    """
    detection = contract.detection or Detection()
    if detection.head == "joined" and len(outputs) == 1:
        boxes, scores = split_joined(outputs[0], detection, contract.input.width, contract.input.height)
        return _corners(boxes, contract), _checked(_probabilities(scores, contract))
    found = box_and_score_outputs([values.shape for values in outputs])
    if found is None:
        raise InputError(f"the outputs {[values.shape for values in outputs]} are not boxes and scores")
    boxes, scores = outputs[found[0]], outputs[found[1]]
    boxes = boxes if boxes.shape[1] == _BOX else boxes.T
    scores = _probabilities(scores if scores.shape[0] == len(boxes) else scores.T, contract)
    if detection.objectness:
        scores = scores[:, :1] * scores[:, 1:]
    if detection.units == "cells":
        boxes = decoded(boxes, contract.input.width, contract.input.height)
    return _corners(boxes, contract), _checked(scores)


def detect(
    outputs: Sequence[NDArray[np.float32]],
    contract: Contract,
    placement: Placement,
    steps: Sequence[float] = (),
) -> Prediction:
    """The boxes that a detector sees, best first, after non-maximum suppression within each class.

    Args:
        outputs: dequantised, without the batch axis.
        contract: with `detection`.
        placement: where the frame's part lies in the model's input; boxes come back in the frame's pixels.
        steps: of quantized outputs, the scale; 0 for float ones.

    Raises:
        InputError: they are no boxes and scores of such a detector: shapes, a score outside 0..1, a class that is no
            whole number, a box whose right side is left of its left one.
    """
    detection = contract.detection or Detection()
    if detection.head == "postprocess":
        corners, classes, scores = _listed(outputs, contract, detection, steps)
    elif detection.head == "end-to-end":
        corners, classes, scores = _rows(outputs, contract, detection)
    else:
        corners, classes, scores = _suppressed(*read_raw(outputs, contract), contract, detection)
    _check_boxes(corners, detection)
    frame = _on_frame(corners, contract, placement)
    boxes = tuple(
        BoxScore(label_of(int(k), contract.labels), int(k), round(float(s), 6), *(round(float(v), 2) for v in box))
        for k, s, box in zip(classes, scores, frame, strict=True)
    )
    return Prediction(tuple(Score(box.label, box.index, box.score) for box in boxes[:5]), boxes)


def _check_boxes(corners: NDArray[np.float32], detection: Detection) -> None:
    """Refuse boxes, in parts of the input, that no detector with this contract means."""
    if not np.isfinite(corners).all():
        raise InputError("a box is not finite")
    inverted = (corners[:, 2] < corners[:, 0]) | (corners[:, 3] < corners[:, 1])
    if inverted.any():
        x1, y1, x2, y2 = corners[inverted][0]
        raise InputError(
            f"a box ends before it begins (x {x1:.3g} to {x2:.3g}, y {y1:.3g} to {y2:.3g}): its numbers are not "
            f"{detection.boxes}"
        )
    if len(corners) and float(np.abs(corners).max()) > _FAR:
        raise InputError(f"a box lies {float(np.abs(corners).max()):.3g} times the picture away: not {detection.units}")


def _corners(boxes: NDArray[np.float32], contract: Contract) -> NDArray[np.float32]:
    detection = contract.detection or Detection()
    if detection.units in ("pixels", "cells"):  # those of cells are decoded to pixels by now
        size = np.array([contract.input.width, contract.input.height] * 2, np.float32)
        boxes = boxes / (size[[1, 0, 3, 2]] if detection.boxes == "yxyx" else size)
    if detection.boxes == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if detection.boxes == "cxcywh":
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes


def _checked(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores in 0..1, what 8 bits make of 1 included."""
    outside = ~((scores >= -_SLACK) & (scores <= 1 + _SLACK))  # NaN is outside
    if outside.any():
        raise InputError(f"a score is {scores[outside][0]:g}, which is not in 0..1")
    return np.minimum(scores, 1)


def _probabilities(scores: NDArray[np.float32], contract: Contract) -> NDArray[np.float32]:
    if contract.outputs == "probabilities":
        return scores
    if contract.background:  # one of the classes is "nothing": they exclude each other
        return softmax(scores)
    return np.asarray(1 / (1 + np.exp(-scores)), np.float32)


def _suppressed(
    corners: NDArray[np.float32], scores: NDArray[np.float32], contract: Contract, detection: Detection
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    first = int(contract.background)
    classes = scores[:, first:].argmax(axis=1) + first
    best = scores[np.arange(len(scores)), classes]
    chosen = np.flatnonzero(best >= detection.score_threshold)
    if not len(chosen):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    corners, classes, best = corners[chosen], classes[chosen], best[chosen]
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float64)
    kept = cv2.dnn.NMSBoxesBatched(
        sides.tolist(), best.tolist(), classes.tolist(), detection.score_threshold, detection.iou_threshold
    )
    order = np.asarray(kept, np.int64).ravel()
    order = order[np.argsort(-best[order], kind="stable")][:_MOST]
    return corners[order], classes[order], best[order]


def _listed(
    outputs: Sequence[NDArray[np.float32]], contract: Contract, detection: Detection, steps: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Lists of finished boxes: boxes (n, 4), classes, scores, and how many where the file says it."""
    if len(outputs) != len(detection.roles):
        raise InputError(f"{len(outputs)} outputs are not {', '.join(detection.roles)}")
    if (why := misfit(outputs, detection.roles, steps)) is not None:
        raise InputError(f"{why}: the outputs are not {', '.join(detection.roles)}")
    parts = {role: np.asarray(values) for role, values in zip(detection.roles, outputs, strict=True)}
    scores = parts["scores"].ravel()
    n = round(float(parts["count"].ravel()[0])) if "count" in parts else len(scores)
    good = np.flatnonzero(scores[:n] >= detection.score_threshold)
    good = good[np.argsort(-scores[good], kind="stable")]
    corners = _corners(parts["boxes"].reshape(-1, _BOX)[good], contract)
    classes = np.round(parts["classes"].ravel()[good]).astype(np.int64)
    return corners, classes, np.minimum(scores[good], 1)


def _rows(
    outputs: Sequence[NDArray[np.float32]], contract: Contract, detection: Detection
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Rows of x1, y1, x2, y2, score, class."""
    rows = outputs[0]
    if len(outputs) != 1 or rows.ndim != 2 or rows.shape[1] != 6:
        raise InputError(f"the outputs {[values.shape for values in outputs]} are not rows of box, score and class")
    if (why := end_to_end_misfit(rows)) is not None:
        raise InputError(why)
    good = rows[(rows[:, 4] >= detection.score_threshold) & (rows[:, 5] >= -0.5)]
    good = good[np.argsort(-good[:, 4], kind="stable")][:_MOST]
    return _corners(good[:, :4], contract), np.round(good[:, 5]).astype(np.int64), np.minimum(good[:, 4], 1)


def _on_frame(corners: NDArray[np.float32], contract: Contract, placement: Placement) -> NDArray[np.float32]:
    source, target = placement.source, placement.target
    size = np.array([contract.input.width, contract.input.height] * 2, np.float32)
    pixels = corners * size - np.array([target.left, target.top] * 2, np.float32)
    scale = np.array([source.width / target.width, source.height / target.height] * 2, np.float32)
    low = np.array([source.left, source.top] * 2, np.float32)
    high = low + np.array([source.width, source.height] * 2, np.float32)
    return np.asarray(np.clip(pixels * scale + low, low, high), np.float32)
