"""Which objects a detector found, and its average precision, which pycocotools calculates."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.objects import TrueBox
from edgeguard.errors import InputError
from edgeguard.model.prediction import BoxScore
from edgeguard.system.extras import how_to_install

Corners = tuple[float, float, float, float]
#: Intersection over union from which a box is one of an object.
MATCH = 0.5
_APART = 0.3
_DRAWS = 100


@dataclass(frozen=True)
class Judged:
    """What became of the objects of one picture.

    Attributes:
        classes: of each counted object.
        found: of each counted object whether a box of its class lies on it, each box for one object.
        said: of each counted object the class of the best box on it that is not its own; None where there is none.
        invented: classes of the boxes that lie on no object.
    """

    classes: tuple[int, ...]
    found: tuple[bool, ...]
    said: tuple[int | None, ...]
    invented: tuple[int, ...]


def judged(truth: Sequence[TrueBox], boxes: Sequence[BoxScore]) -> Judged:
    """Match a detector's boxes (best first) with objects, both in the frame's pixels."""
    counted = [one for one in truth if one.is_counted]
    taken, found = set[int](), [False] * len(counted)
    for box in boxes:
        best = max(
            (g for g, one in enumerate(counted) if one.index == box.index and g not in taken),
            key=lambda g: overlap(_corners(box), counted[g].corners),
            default=None,
        )
        if best is not None and overlap(_corners(box), counted[best].corners) >= MATCH:
            taken.add(best)
            found[best] = True
    said: list[int | None] = []
    for one in counted:
        on_it = [b for b in boxes if b.index != one.index and overlap(_corners(b), one.corners) >= MATCH]
        said.append(on_it[0].index if on_it else None)
    invented = [b.index for b in boxes if all(overlap(_corners(b), one.corners) < _APART for one in truth)]
    return Judged(tuple(one.index for one in counted), tuple(found), tuple(said), tuple(invented))


def overlap(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes, corners x1, y1, x2, y2.

    Example:
        >>> overlap((0, 0, 2, 2), (0, 0, 2, 1))
        0.5
    """
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    return wide * high / either


@dataclass(frozen=True)
class Precision:
    """Average precision over classes, 0..1, with a 95 % interval over pictures (percentile bootstrap).

    Attributes:
        ap50: at IoU .5.
        ap: mean over IoU .5 to .95.
        low50, high50: of `ap50`.
    """

    ap50: float
    ap: float
    low50: float
    high50: float


def average_precision(
    truth: Sequence[Sequence[TrueBox]], found: Sequence[Sequence[BoxScore]], *, draws: int = _DRAWS
) -> Precision:
    """Of the boxes that a detector reports, picture by picture; what is below its threshold is not among them.

    Args:
        truth: the objects of each picture. What is not counted neither helps nor harms.
        found: the boxes of each picture.
        draws: of the bootstrap.

    Raises:
        InputError: pycocotools is not installed.
    """
    evaluation = _evaluated(truth, found)
    rng = np.random.default_rng(27)
    sampled = []
    for _ in range(draws):
        rows = rng.integers(len(truth), size=len(truth))
        sampled.append(_precision(evaluation, rows)[0])
    ap50, ap = _precision(evaluation, np.arange(len(truth)))
    low, high = np.nanpercentile(sampled, [2.5, 97.5]) if draws else (ap50, ap50)
    return Precision(ap50, ap, float(low), float(high))


def _evaluated(truth: Sequence[Sequence[TrueBox]], found: Sequence[Sequence[BoxScore]]) -> Any:
    """A COCOeval after its matching, before its sums; one area and one number of boxes."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise InputError(f"average precision needs {error.name}: {how_to_install('attack')}") from error
    classes = sorted({one.index for boxes in truth for one in boxes if one.is_counted})
    annotations: list[dict[str, Any]] = []
    for image, boxes in enumerate(truth):
        for one in boxes:
            x1, y1, x2, y2 = one.corners
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": one.index,
                    "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(not one.is_counted),
                }
            )  # fmt: skip
    results: list[dict[str, Any]] = [
        {
            "image_id": image, "category_id": b.index, "bbox": [b.x1, b.y1, b.x2 - b.x1, b.y2 - b.y1], "score": b.score
        }
        for image, boxes in enumerate(found)
        for b in boxes
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": index} for index in sorted({*classes, *(r["category_id"] for r in results)})],
            "info": {},
        }
        known.createIndex()
        said = known.loadRes(results) if results else COCO()
        evaluation = COCOeval(known, said, "bbox")
        evaluation.params.imgIds = list(range(len(truth)))
        evaluation.params.catIds = classes
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    return evaluation


def _precision(evaluation: Any, rows: NDArray[np.int64]) -> tuple[float, float]:
    """AP at .5 and over .5 to .95 of some of the pictures, each as often as it stands in `rows`."""
    pictures, classes = len(rows), len(evaluation.params.catIds)
    matched = evaluation.evalImgs
    evaluation.evalImgs = [matched[k * pictures + int(row)] for k in range(classes) for row in rows]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    evaluation.evalImgs = matched
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class); -1 for a class without objects
    means = [
        float(part[part > -1].mean()) if (part > -1).any() else float("nan") for part in (precision[:1], precision)
    ]
    return means[0], means[1]


def _corners(box: BoxScore) -> Corners:
    return box.x1, box.y1, box.x2, box.y2
