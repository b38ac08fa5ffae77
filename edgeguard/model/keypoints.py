"""From a pose model's outputs to the keypoints of one person on the frame."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Keypoints
from edgeguard.model.prediction import Keypoint, Prediction, Score, label_of
from edgeguard.preprocess.geometry import Placement

Floats = NDArray[np.float32]
_SLACK = 0.02  # of a score, after 8 bits
_FAR = 8.0  # times the picture's side


def keypoints_of(outputs: Sequence[Floats], contract: Contract) -> Floats:
    """Rows of x, y (0..1 of the model's input) and score (0..1), one for each keypoint.

    Raises:
        InputError: the outputs are no keypoints.
    """
    spec = contract.keypoints or Keypoints()
    rows = _from_points(outputs, contract, spec) if spec.head == "points" else _from_heatmaps(outputs, contract)
    if spec.logits:
        rows[:, 2] = 1 / (1 + np.exp(-rows[:, 2].clip(-50, 50)))
    if not np.isfinite(rows).all():
        raise InputError("a keypoint is not finite")
    scores = rows[:, 2]
    if ((scores < -_SLACK) | (scores > 1 + _SLACK)).any():
        raise InputError(f"a keypoint's score is {scores[np.abs(scores - 0.5).argmax()]:g}, which is not in 0..1")
    if float(np.abs(rows[:, :2]).max()) > _FAR:
        raise InputError(f"a keypoint lies {float(np.abs(rows[:, :2]).max()):.3g} times the picture away")
    rows[:, 2] = scores.clip(0, 1)
    return rows


def find_keypoints(outputs: Sequence[Floats], contract: Contract, placement: Placement) -> Prediction:
    """One pose: every keypoint in the frame's pixels, and the mean of the scores as the pose's own.

    Args:
        outputs: dequantised, without the batch axis.
        contract: with `keypoints`; `labels` are the points' names.
        placement: where the frame's part lies in the model's input.

    Raises:
        InputError: as `keypoints_of`.
    """
    rows = keypoints_of(outputs, contract)
    source, target = placement.source, placement.target
    x = (rows[:, 0] * contract.input.width - target.left) * source.width / target.width + source.left
    y = (rows[:, 1] * contract.input.height - target.top) * source.height / target.height + source.top
    points = tuple(
        Keypoint(label_of(i, contract.labels), i, round(float(s), 6), round(float(px), 2), round(float(py), 2))
        for i, (px, py, s) in enumerate(zip(x, y, rows[:, 2], strict=True))
    )
    threshold = (contract.keypoints or Keypoints()).score_threshold
    seen = [point for point in points if point.score >= threshold]
    score = round(float(rows[:, 2].mean()), 6)
    return Prediction((Score("pose", 0, score),) if seen else (), keypoints=points)


def _from_points(outputs: Sequence[Floats], contract: Contract, spec: Keypoints) -> Floats:
    values = outputs[0]
    if len(outputs) != 1 or values.shape[-1] != 3 or values.size != 3 * max(values.shape[:-1], default=0):
        raise InputError(f"the outputs {[v.shape for v in outputs]} are not rows of two coordinates and a score")
    rows: Floats = values.reshape(-1, 3).astype(np.float32)
    if spec.order == "yx":
        rows = rows[:, [1, 0, 2]]
    if spec.units == "pixels":
        rows = np.asarray(rows / np.array([contract.input.width, contract.input.height, 1]), np.float32)
    return rows


def _from_heatmaps(outputs: Sequence[Floats], contract: Contract) -> Floats:
    """The cell with the highest score of each map; the offset there, in pixels, is added."""
    maps = outputs[0]
    if maps.ndim != 3:
        raise InputError(f"an output of {maps.shape} is no stack of heatmaps")
    height, width, points = maps.shape
    flat = maps.reshape(-1, points)
    best = flat.argmax(axis=0)
    rows, columns = np.divmod(best, width)
    at = np.arange(points)
    y, x = rows / max(height - 1, 1), columns / max(width - 1, 1)
    if len(outputs) > 1:
        offsets = outputs[1]
        if offsets.shape != (height, width, 2 * points):
            raise InputError(f"offsets of {offsets.shape} do not fit heatmaps of {maps.shape}")
        y = y + offsets[rows, columns, at] / contract.input.height
        x = x + offsets[rows, columns, at + points] / contract.input.width
    return np.stack([x, y, flat[best, at]], axis=1).astype(np.float32)
