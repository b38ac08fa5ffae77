"""How often two models say the same: the same class on a picture, or the same boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.model.contract import Contract, Keypoints
from edgeguard.model.detection import detect
from edgeguard.model.keypoints import keypoints_of
from edgeguard.model.prediction import BoxScore, two_classes
from edgeguard.model.segmentation import class_map
from edgeguard.preprocess.geometry import Placement
from edgeguard.statistics import bootstrap_ratio, wilson
from edgeguard_converters.graph.run import Outputs

_SAME_BOX = 0.5  # intersection over union
_SAME_MAP = 0.95  # share of pixels, below which a picture counts as one on which the two differ
_SAME_POINT = 0.05  # of the input's diagonal
_SAME_SCORE = 0.2


@dataclass(frozen=True, eq=False)
class Agreement:
    """A share 0..1 with its 95 % interval, and for each picture whether the two differ there."""

    share: float
    low: float
    high: float
    differs: NDArray[np.bool_]


def agreement(first: Outputs, second: Outputs, contract: Contract) -> Agreement:
    """Compare the outputs of two models on the same n pictures.

    Classifiers: the share of pictures with the same best class (Wilson's interval). Detectors: twice the matched boxes
    over all boxes of both, where boxes match when they have one class and overlap by half (interval by bootstrap over
    the pictures); 1 where neither sees a box. Class maps: the share of pixels with the same class. Poses: the share of
    keypoints that both see at the same place.
    """
    if contract.task == "classify":
        return _of_classes(first[0], second[0], contract)
    if contract.task == "segment":
        return _of_pixels(first[0], second[0], contract)
    if contract.task == "keypoints":
        return _of_keypoints(first, second, contract)
    return _of_boxes(first, second, contract)


def classes_of(outputs: NDArray[np.float32], contract: Contract) -> NDArray[np.int64]:
    """The best class of each picture, (n,); one output is two classes'."""
    scores = two_classes(outputs.reshape(len(outputs), -1), logits=contract.outputs == "logits")
    return np.asarray(scores.argmax(axis=1), np.int64)


def _of_pixels(first: NDArray[np.float32], second: NDArray[np.float32], contract: Contract) -> Agreement:
    """The share of pixels with the same class; pictures, not pixels, are drawn for the interval."""
    same = np.array(
        [(class_map(a, contract) == class_map(b, contract)).mean() for a, b in zip(first, second, strict=True)]
    )
    share = float(same.mean())
    return Agreement(share, *bootstrap_ratio(same, np.ones_like(same)), same < _SAME_MAP)


def _of_keypoints(first: Outputs, second: Outputs, contract: Contract) -> Agreement:
    """The share of keypoints that both see at one place (a twentieth of the input's diagonal), or neither sees."""
    threshold = (contract.keypoints or Keypoints()).score_threshold
    size = np.array([contract.input.width, contract.input.height])
    reach = _SAME_POINT * float(np.hypot(*size))
    same = []
    for index in range(len(first[0])):
        a, b = (keypoints_of([values[index] for values in outputs], contract) for outputs in (first, second))
        near = np.hypot(*((a[:, :2] - b[:, :2]) * size).T) <= reach
        seen = a[:, 2] >= threshold, b[:, 2] >= threshold
        same.append(np.where(seen[0] | seen[1], near & (np.abs(a[:, 2] - b[:, 2]) <= _SAME_SCORE), True).mean())
    shares = np.array(same)
    return Agreement(float(shares.mean()), *bootstrap_ratio(shares, np.ones_like(shares)), shares < 1)


def _of_classes(first: NDArray[np.float32], second: NDArray[np.float32], contract: Contract) -> Agreement:
    n = len(first)
    same = classes_of(first, contract) == classes_of(second, contract)
    return Agreement(float(same.mean()), *wilson(int(same.sum()), n), ~same)


def _of_boxes(first: Outputs, second: Outputs, contract: Contract) -> Agreement:
    side = Box(0, 0, contract.input.width, contract.input.height)
    whole = Placement(side, side)
    matched, seen = [], []
    for index in range(len(first[0])):
        pair = [
            detect([values[index] for values in outputs], contract, whole).boxes or () for outputs in (first, second)
        ]
        matched.append(2 * matches(*pair))
        seen.append(len(pair[0]) + len(pair[1]))
    over, under = np.array(matched, np.float64), np.array(seen, np.float64)
    share = float(over.sum() / under.sum()) if under.sum() else 1.0
    return Agreement(share, *bootstrap_ratio(over, under), over != under)


def matches(first: tuple[BoxScore, ...], second: tuple[BoxScore, ...]) -> int:
    """How many boxes of the first have a partner of their own in the second, best scores first.

    Example:
        >>> box = BoxScore("cat", 0, 0.9, 0, 0, 10, 10)
        >>> matches((box, box), (box,))
        1
    """
    free, found = list(second), 0
    for box in first:
        partner = next((o for o in free if o.index == box.index and overlap(box, o) >= _SAME_BOX), None)
        if partner is not None:
            free.remove(partner)
            found += 1
    return found


def overlap(a: BoxScore, b: BoxScore) -> float:
    """Intersection over union."""
    width = max(min(a.x2, b.x2) - max(a.x1, b.x1), 0.0)
    height = max(min(a.y2, b.y2) - max(a.y1, b.y1), 0.0)
    area = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - width * height
    return width * height / area if area > 0 else 0.0
