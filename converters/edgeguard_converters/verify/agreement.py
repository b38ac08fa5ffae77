"""How often two models say the same: the same class on a picture, or the same boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.model.contract import Contract
from edgeguard.model.detection import detect
from edgeguard.model.prediction import BoxScore
from edgeguard.preprocess.geometry import Placement
from edgeguard.statistics import bootstrap_ratio, wilson
from edgeguard_converters.graph.run import Outputs

_SAME_BOX = 0.5  # intersection over union


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
    the pictures); 1 where neither sees a box.
    """
    if contract.task == "classify":
        return _of_classes(first[0], second[0])
    return _of_boxes(first, second, contract)


def _of_classes(first: NDArray[np.float32], second: NDArray[np.float32]) -> Agreement:
    n = len(first)
    same = first.reshape(n, -1).argmax(axis=1) == second.reshape(n, -1).argmax(axis=1)
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
