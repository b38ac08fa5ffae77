"""How the outputs of each task are read: the parts of a contract that are about outputs."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

BoxForm = Literal["yxyx", "xyxy", "cxcywh"]
Units = Literal["relative", "pixels", "cells"]
Head = Literal["raw", "postprocess", "joined", "end-to-end"]
Role = Literal["boxes", "classes", "scores", "count"]
Layout = Literal["HWC", "CHW", "HW"]

#: The order in which TFLite_Detection_PostProcess gives its outputs.
POSTPROCESS_ROLES: tuple[Role, ...] = ("boxes", "classes", "scores", "count")


@dataclass(frozen=True)
class Detection:
    """How to read a detector's outputs.

    Attributes:
        boxes: what the four numbers of a box are.
        units: of boxes: 0..1 of the input's sides, the input's pixels, or the cells of an undecoded YOLOX head
            (offsets within a cell, logarithms of sides in strides).
        head: `raw` = boxes and class scores of every anchor in two outputs; `joined` = both in one output of every
            anchor, as YOLO gives them; `postprocess` = lists of the boxes that are left after suppression, in
            several outputs; `end-to-end` = one such list of rows x1, y1, x2, y2, score, class.
        score_threshold: boxes below it are left out.
        iou_threshold: of two boxes of one class that overlap more, the weaker is left out.
        objectness: of a joined head: its fifth column says whether there is an object, and multiplies the scores.
        roles: of a postprocess head: what each output is, in the file's order.
    """

    boxes: BoxForm = "yxyx"
    units: Units = "relative"
    head: Head = "raw"
    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    objectness: bool = False
    roles: tuple[Role, ...] = POSTPROCESS_ROLES


@dataclass(frozen=True)
class Segmentation:
    """How to read a class map.

    Attributes:
        layout: of the output: scores of each class in the last or first axis, or `HW`: the class numbers themselves.
            A single score is that of class 1; class 0 is what is left.
    """

    layout: Layout = "HWC"


@dataclass(frozen=True)
class Keypoints:
    """How to read the keypoints of one pose.

    Attributes:
        head: `points` = rows of two coordinates and a score; `heatmaps` = one map of scores (h, w, points), and one
            of offsets in pixels (h, w, 2 points: all y, then all x) where there is a second output.
        order: of the coordinates in `points`.
        units: of the coordinates in `points`: 0..1 of the input's sides, or its pixels.
        logits: scores are such; a sigmoid is applied.
        score_threshold: keypoints below it are not drawn, and the pose's label is missing where none is above.
    """

    head: Literal["points", "heatmaps"] = "points"
    order: Literal["yx", "xy"] = "yx"
    units: Literal["relative", "pixels"] = "relative"
    logits: bool = False
    score_threshold: float = 0.3


#: Fields that came later; where they have their default they are left out, so that older runtimes read the file.
_LATER = {"objectness", "roles"}
#: The names of the 17 keypoints of the COCO data set, which MoveNet and PoseNet give in this order.
COCO_KEYPOINTS = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip


def spec_to_dict(spec: Detection | Segmentation | Keypoints) -> dict[str, Any]:
    """Plain data, without later fields at their default."""
    values = asdict(spec)
    for each in fields(spec):
        if each.name in _LATER and values[each.name] == each.default:
            del values[each.name]
    return values
