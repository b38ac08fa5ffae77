"""From a detector's outputs to boxes on the frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Detection
from edgeguard.model.prediction import BoxScore, Prediction, Score, label_of, softmax
from edgeguard.preprocess.geometry import Placement

_BOX = 4
_MOST = 100  # boxes a frame


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
    found = box_and_score_outputs([values.shape for values in outputs])
    if found is None:
        raise InputError(f"the outputs {[values.shape for values in outputs]} are not boxes and scores")
    boxes, scores = outputs[found[0]], outputs[found[1]]
    boxes = boxes if boxes.shape[1] == _BOX else boxes.T
    scores = scores if scores.shape[0] == len(boxes) else scores.T
    return _corners(boxes, contract), _probabilities(scores, contract)


def detect(
    outputs: Sequence[NDArray[np.float32]],
    contract: Contract,
    placement: Placement,
) -> Prediction:
    """The boxes that a detector sees, best first, after non-maximum suppression within each class.

    Args:
        outputs: dequantised, without the batch axis.
        contract: with `detection`.
        placement: where the frame's part lies in the model's input; boxes come back in the frame's pixels.
    """
    detection = contract.detection or Detection()
    if detection.head == "postprocess":
        corners, classes, scores = _postprocessed(outputs, detection)
    else:
        corners, classes, scores = _suppressed(*read_raw(outputs, contract), contract, detection)
    frame = _on_frame(corners, contract, placement)
    boxes = tuple(
        BoxScore(label_of(int(k), contract.labels), int(k), round(float(s), 6), *(round(float(v), 2) for v in box))
        for k, s, box in zip(classes, scores, frame, strict=True)
    )
    return Prediction(tuple(Score(box.label, box.index, box.score) for box in boxes[:5]), boxes)


def _corners(boxes: NDArray[np.float32], contract: Contract) -> NDArray[np.float32]:
    detection = contract.detection or Detection()
    if detection.units == "pixels":
        size = np.array([contract.input.width, contract.input.height] * 2, np.float32)
        boxes = boxes / (size[[1, 0, 3, 2]] if detection.boxes == "yxyx" else size)
    if detection.boxes == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    if detection.boxes == "cxcywh":
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes


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


def _postprocessed(
    outputs: Sequence[NDArray[np.float32]], detection: Detection
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """The four outputs of TFLite_Detection_PostProcess: boxes (n, 4) as y1, x1, y2, x2, classes, scores, how many."""
    boxes, classes, scores, count = (np.asarray(values) for values in outputs)
    n = int(count.ravel()[0])
    good = np.flatnonzero(scores.ravel()[:n] >= detection.score_threshold)
    return boxes.reshape(-1, 4)[good][:, [1, 0, 3, 2]], classes.ravel()[good].astype(np.int64), scores.ravel()[good]


def _on_frame(corners: NDArray[np.float32], contract: Contract, placement: Placement) -> NDArray[np.float32]:
    source, target = placement.source, placement.target
    size = np.array([contract.input.width, contract.input.height] * 2, np.float32)
    pixels = corners * size - np.array([target.left, target.top] * 2, np.float32)
    scale = np.array([source.width / target.width, source.height / target.height] * 2, np.float32)
    low = np.array([source.left, source.top] * 2, np.float32)
    high = low + np.array([source.width, source.height] * 2, np.float32)
    return np.asarray(np.clip(pixels * scale + low, low, high), np.float32)
