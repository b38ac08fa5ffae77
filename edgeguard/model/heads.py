"""What a .tflite without a contract is: a classifier, a detector, a class map, a pose, or nothing that runs here.

The file's own words come first, then the shapes of its outputs, then what it says of a few made pictures. Whatever is
no task is refused by what it looks like.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Task
from edgeguard.model.detection import box_and_score_outputs
from edgeguard.model.flatbuffer import LOGISTIC, SOFTMAX
from edgeguard.model.output_names import OutputName
from edgeguard.model.output_roles import find_roles, list_shapes_fit
from edgeguard.model.task_specs import COCO_KEYPOINTS, Detection, Keypoints, Segmentation
from edgeguard.model.yolo import anchor_counts, columns_axis, end_to_end_form, is_end_to_end, joined_form

Shape = tuple[int, ...]
Values = Sequence[NDArray[np.float32]]
_L2_NORMALIZATION, _MEAN, _AVERAGE_POOL, _RELU, _RELU6 = 11, 40, 1, 19, 21
_FEATURES = (_MEAN, _AVERAGE_POOL, _RELU, _RELU6)
_FEWEST_FEATURES = 64  # with fewer, networks that end in a pooling are usually classifiers
_USUAL_CLASSES = (1000, 1001)  # ImageNet's, of networks that end in a pooling too
_COARSEST_SCORE = 0.1
_HEATMAPS = (14, 16, 17, 18)  # points of the usual bodies
_SUPPORTED = "EdgeGuard runs classifiers, detectors, segmentation (class maps) and single-pose keypoints"
_RASTER_LEAST = 8
_LARGEST_LOGIT = 80.0  # beyond it softmax says 1.00 of whatever is largest
_ANCHOR_COLUMNS = (12, 16, 18)  # a box and four to seven points: of MediaPipe's detectors


@dataclass(frozen=True)
class Facts:
    """What is known of a foreign graph.

    Attributes:
        width, height: of its input.
        names: what the file says of each output.
        shapes: of the outputs, without the batch.
        types: of the outputs, names of numpy.
        steps: of quantized outputs, the scale; 0 for others.
        labels: from the file or from the user.
        trial: what the graph says of a few made pictures.
        task: what the file says it is for (`segment`, `pose`, `obb`, ...); empty where it is silent.
    """

    width: int
    height: int
    names: Sequence[OutputName]
    shapes: Sequence[Shape]
    types: Sequence[str]
    steps: Sequence[float]
    labels: tuple[str, ...]
    trial: Callable[[], list[Values]]
    task: str = ""


@dataclass(frozen=True)
class Recognized:
    """What a graph is, and how its outputs are read; `why` is a line for the user where it was guessed.

    `unit_input`: its float input is usually 0..1 (`[-1, 1]` otherwise), or `levels`: 0..255.
    """

    task: Task
    outputs: Literal["logits", "probabilities"] = "probabilities"
    detection: Detection | None = None
    segmentation: Segmentation | None = None
    keypoints: Keypoints | None = None
    labels: tuple[str, ...] = ()
    why: str = ""
    scale: Literal["symmetric", "unit", "levels"] = "symmetric"


def recognize(facts: Facts) -> Recognized:
    """What the graph is.

    Raises:
        InputError: it is no task that runs here, and what it looks like instead; or nothing tells.
    """
    found = _recognized(facts)
    return replace(found, labels=found.labels or facts.labels)


def _recognized(facts: Facts) -> Recognized:
    shapes = facts.shapes
    if facts.task in ("obb", "pose", "segment") and facts.shapes and len(shapes[0]) == 2:
        what = {"obb": "oriented boxes", "pose": "poses", "segment": "masks of objects"}[facts.task]
        raise InputError(f"the file says that it is a YOLO model for {what}: export the detection model instead")
    if any(not shape and len(shapes) == 1 for shape in shapes):
        raise _refused(facts, "one number")
    if len(shapes) == 1:
        return _single(facts)
    found = box_and_score_outputs(shapes)
    if found is not None:
        return _boxes_and_scores(facts, found)
    if list_shapes_fit(shapes):
        roles = find_roles(facts.names, shapes, facts.steps, facts.trial)
        return Recognized("detect", detection=Detection(head="postprocess", roles=roles), labels=_without_gap(facts))
    if _is_posenet(shapes):
        labels = COCO_KEYPOINTS if shapes[0][2] == len(COCO_KEYPOINTS) and not facts.labels else facts.labels
        logits = facts.names[0].code != LOGISTIC
        return Recognized("keypoints", keypoints=Keypoints("heatmaps", logits=logits), labels=labels)
    raise _refused(facts, _several(shapes))


def _single(facts: Facts) -> Recognized:
    shape = facts.shapes[0]
    if int(np.prod(shape)) == max(shape):
        return _vector(facts, int(np.prod(shape)))
    if (len(shape) == 2 and shape[1] == 3) or (len(shape) == 3 and shape[0] == 1 and shape[2] == 3):
        return _points(facts, int(np.prod(shape)) // 3)
    if len(shape) == 3:
        return _raster(facts)
    if len(shape) == 2 and facts.types[0].startswith(("int", "uint")) and facts.steps[0] == 0:
        return Recognized("segment", segmentation=Segmentation("HW"))
    if len(shape) == 2 and min(shape) <= 4:
        raise _refused(facts, "boxes without scores" if 4 in shape else "a few numbers for each of many rows")
    if len(shape) == 2 and shape == (6, 56):
        raise _refused(facts, "MoveNet's several poses; there is a single-pose MoveNet")
    if len(shape) == 2 and _is_raster(shape, facts):
        raise _refused(facts, "a map of numbers, as of depth")
    if len(shape) == 2:
        return _joined(facts)
    raise _refused(facts, f"a block of {'x'.join(map(str, shape))} numbers")


def _joined(facts: Facts) -> Recognized:
    step = facts.steps[0]
    if step > _COARSEST_SCORE:
        raise InputError(
            f"its 8-bit output holds boxes and scores in one step of {step:.3g}: all scores are 0 or {step:.3g}; "
            "convert the original model with edgeguard convert, which separates them"
        )
    pictures = [np.asarray(values[0]) for values in facts.trial()]
    if is_end_to_end(facts.shapes[0], facts.width, facts.height):
        return Recognized("detect", detection=end_to_end_form(pictures), scale="unit")
    if columns_axis(facts.shapes[0], facts.width, facts.height) is None:
        raise _refused(facts, "a few numbers for each of many rows")
    form = joined_form(pictures, facts.width, facts.height, labels=len(facts.labels))
    # a network that ends in features has no scores; YOLOX takes levels as they are
    return Recognized("detect", detection=form, scale="levels" if form.units == "cells" else "unit")


def _boxes_and_scores(facts: Facts, found: tuple[int, int]) -> Recognized:
    """Two outputs, boxes and scores of every anchor: the values tell what the boxes' numbers are."""
    boxes, scores = (np.concatenate([_upright(v[i], facts.shapes, found) for v in facts.trial()]) for i in found)
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise _refused(facts, "numbers that are not finite")
    if scores.min() < -0.02 or scores.max() > 1.02:
        raise _refused(
            facts, "undecoded boxes and logits of an SSD without its post-processing; export it with TensorFlow's"
            " TFLite_Detection_PostProcess"
        )  # fmt: skip
    ordered = bool((boxes[:, 2:] >= boxes[:, :2]).all())
    raise InputError(
        f"its outputs look like boxes and scores, and nothing says what a box's four numbers are "
        f"({'corners, x or y first' if ordered else 'a center and sides, or not decoded'}): convert its source with "
        "edgeguard convert --boxes yxyx, xyxy or cxcywh"
    )


def _upright(values: NDArray[np.float32], shapes: Sequence[Shape], found: tuple[int, int]) -> NDArray[np.float32]:
    count = max(shapes[found[0]])
    return values if values.shape[0] == count else values.T


def _vector(facts: Facts, size: int) -> Recognized:
    code = facts.names[0].code
    probabilities = code in (SOFTMAX, LOGISTIC)
    if size == 1:
        if probabilities or len(facts.labels) == 2:
            labels = (f"not {facts.labels[0]}", facts.labels[0]) if len(facts.labels) == 1 else ()
            return Recognized("classify", "probabilities" if probabilities else "logits", labels=labels)
        raise _refused(facts, "one number that no sigmoid made: a regression; for two classes give --labels with both")
    if probabilities or len(facts.labels) == size:
        return Recognized("classify", "probabilities" if probabilities else "logits")
    if code == _L2_NORMALIZATION or _is_embedding(facts.trial()):
        raise _refused(facts, f"an embedding (a vector of length 1 in {size} dimensions)")
    if code in _FEATURES and size >= _FEWEST_FEATURES and size not in _USUAL_CLASSES:
        raise _refused(facts, f"a feature vector ({size} numbers that no classifier follows)")
    largest = max(float(np.abs(values[0]).max()) for values in facts.trial())
    if not largest <= _LARGEST_LOGIT:
        what = f"coordinates or another regression (numbers up to {largest:.3g}); for classes give --labels"
        raise _refused(facts, what)
    return Recognized(
        "classify",
        "logits",
        why=f"nothing says what its {size} numbers are: they are taken as scores of {size} classes",
    )


def _is_embedding(pictures: list[Values]) -> bool:
    """Vectors of length 1 with both signs."""
    vectors = np.stack([np.asarray(values[0], np.float64).ravel() for values in pictures])
    lengths = np.linalg.norm(vectors, axis=1)
    return bool((np.abs(lengths - 1) < 0.02).all() and (vectors < -1e-3).any() and (vectors > 1e-3).any())


def _points(facts: Facts, count: int) -> Recognized:
    """Rows of y, x and score, as MoveNet gives them."""
    rows = np.concatenate([np.asarray(values[0]).reshape(-1, 3) for values in facts.trial()])
    fits = count >= 2 and np.isfinite(rows).all() and rows[:, 2].min() >= -0.02 and rows[:, 2].max() <= 1.02
    if not fits or float(np.abs(rows[:, :2]).max()) > 2:
        raise _refused(facts, f"{count} rows of three numbers that are no y, x and score")
    labels = COCO_KEYPOINTS if count == len(COCO_KEYPOINTS) and not facts.labels else facts.labels
    return Recognized("keypoints", keypoints=Keypoints("points"), labels=labels, scale="levels")


def _raster(facts: Facts) -> Recognized:
    """A map of class scores or class numbers, else a picture, depth or heatmaps."""
    shape, code = facts.shapes[0], facts.names[0].code
    channels_first = shape[0] < min(shape[1:]) and shape[2] >= _RASTER_LEAST
    channels = shape[0] if channels_first else shape[2]
    layout: Literal["HWC", "CHW"] = "CHW" if channels_first else "HWC"
    outputs: Literal["logits", "probabilities"] = "probabilities" if code in (SOFTMAX, LOGISTIC) else "logits"
    labels = ("background", *facts.labels) if channels == 1 and len(facts.labels) == 1 else ()  # of the mask alone
    found = Recognized("segment", outputs, segmentation=Segmentation(layout), labels=labels)
    if channels == 1 and facts.types[0].startswith(("int", "uint")) and facts.steps[0] == 0:
        return replace(found, segmentation=Segmentation("HW"))
    if (
        len(facts.labels) == max(channels, 2)
        or (code == SOFTMAX and channels > 1)
        or (code == LOGISTIC and channels == 1)
    ):
        return found
    if channels == 1:
        raise _refused(facts, "a map of numbers, as of depth or of a mask's logits")
    if channels in _HEATMAPS:
        raise _refused(facts, f"{channels} heatmaps of keypoints without offsets")
    if channels == 3:
        raise _refused(facts, "a picture; for a map of three classes give --labels with their names")
    if channels > 256:
        raise _refused(facts, f"a map of {channels} features")
    grid = shape[:2] if not channels_first else shape[1:]
    if channels % 3 == 0 and channels // 3 > 5 and max(grid) * 8 <= max(facts.width, facts.height):
        raise _refused(facts, "one grid of a YOLO head without its decoding; export the model with it")
    return replace(found, why=f"nothing says what its maps are: they are taken as scores of {channels} classes")


def _is_raster(shape: Shape, facts: Facts) -> bool:
    """Rows and columns as the input's, or a part of them, and neither is a number of anchors."""
    if set(shape) & set(anchor_counts(facts.width, facts.height)):
        return False
    return shape[0] * facts.width == shape[1] * facts.height and shape[0] <= 2 * facts.height and min(shape) >= 8


def _is_posenet(shapes: Sequence[Shape]) -> bool:
    """Heatmaps and offsets, then (for several poses) displacements, which one pose does not need."""
    if len(shapes) not in (2, 4) or any(len(shape) != 3 for shape in shapes):
        return False
    height, width, points = shapes[0]
    return shapes[1] == (height, width, 2 * points) and all(shape[:2] == (height, width) for shape in shapes)


def _several(shapes: Sequence[Shape]) -> str:
    """What several outputs look like."""
    if len(shapes) == 2 and {len(shape) for shape in shapes} == {2, 3}:
        return "a YOLO segmentation model (boxes with mask coefficients, and prototypes); export the detection model"
    if all(len(shape) in (3, 4) for shape in shapes) and len({shape[-1] for shape in shapes}) == 1:
        return "the grids of a YOLO head without its decoding; export the model with it"
    if len(shapes) == 2 and all(len(shape) == 2 for shape in shapes) and shapes[0][0] == shapes[1][0]:
        columns = sorted(shape[1] for shape in shapes)
        if columns[0] == 1 and columns[1] in _ANCHOR_COLUMNS:
            return (
                "boxes with points, not decoded, as MediaPipe's detectors give them: the file does not hold the anchors"
            )
    if all(int(np.prod(shape)) == max(shape, default=1) for shape in shapes):
        return f"a network with {len(shapes)} heads ({', '.join(str(int(np.prod(s))) for s in shapes)} numbers)"
    return f"{len(shapes)} outputs of no known detector"


def _without_gap(facts: Facts) -> tuple[str, ...]:
    """Label files of TensorFlow's detectors begin with a name for the background, which the outputs do not count."""
    labels = facts.labels
    return labels[1:] if labels and labels[0].lower() in ("???", "background", "unlabeled") else labels


def _refused(facts: Facts, what: str) -> InputError:
    shown = ", ".join("x".join(map(str, shape)) or "1" for shape in facts.shapes)
    return InputError(f"its output ({shown}) looks like {what}: {_SUPPORTED}")
