"""From a segmentation model's output to the class of each pixel and the share of each class."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Segmentation
from edgeguard.model.prediction import ClassMap, Prediction, Score, label_of
from edgeguard.preprocess.geometry import Placement

_MOST_CLASSES = 4096
_TOP = 5


def class_map(output: NDArray[np.float32], contract: Contract) -> NDArray[np.int64]:
    """The class of each pixel of the output, (h, w).

    Raises:
        InputError: the output is no such map: its shape, a value that is not finite, or a class that is no number.
    """
    layout = (contract.segmentation or Segmentation()).layout
    if not np.isfinite(output).all():
        raise InputError("not all numbers of the class map are finite")
    if layout == "HW":
        numbers = output.reshape(output.shape[:2]) if output.ndim == 3 and output.shape[2] == 1 else output
        classes = np.round(numbers).astype(np.int64)
        if numbers.ndim != 2 or (np.abs(numbers - classes) > 0.05).any() or not 0 <= classes.min() <= _MOST_CLASSES:
            raise InputError("the class map does not hold numbers of classes")
        return classes
    if output.ndim != 3:
        raise InputError(f"an output of {output.shape} is no map of class scores")
    scores = output if layout == "HWC" else np.moveaxis(output, 0, 2)
    if scores.shape[2] > 1:
        return np.asarray(scores.argmax(axis=2), np.int64)
    border = 0.0 if contract.outputs == "logits" else 0.5
    return (scores[:, :, 0] > border).astype(np.int64)


def segment(output: NDArray[np.float32], contract: Contract, placement: Placement) -> Prediction:
    """Shares of the classes in the part of the frame that the model saw, and their map.

    Args:
        output: dequantised, without the batch axis.
        contract: with `segmentation`.
        placement: where the frame's part lies in the model's input; letterbox bars do not count.

    Raises:
        InputError: as `class_map`.
    """
    classes = class_map(output, contract)
    height, width = classes.shape
    target, source = placement.target, placement.source
    down, across = height / contract.input.height, width / contract.input.width
    top, left = round(target.top * down), round(target.left * across)
    bottom, right = round((target.top + target.height) * down), round((target.left + target.width) * across)
    seen = classes[top : max(bottom, top + 1), left : max(right, left + 1)]
    numbers, counts = np.unique(seen, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = tuple(
        Score(label_of(int(numbers[i]), contract.labels), int(numbers[i]), round(float(counts[i] / seen.size), 6))
        for i in order
    )
    corners = source.left, source.top, source.left + source.width, source.top + source.height
    return Prediction(shares[:_TOP], shares=shares, class_map=ClassMap(seen, *map(float, corners)))
