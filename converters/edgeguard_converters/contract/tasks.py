"""What a trained model is, from what it says of a few images: one decoder of heads for the file and for the device."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import InputSpec, Task
from edgeguard.model.detection import box_and_score_outputs
from edgeguard.model.flatbuffer import LOGISTIC, SOFTMAX
from edgeguard.model.heads import Facts, Recognized, recognize
from edgeguard.model.output_names import OutputName
from edgeguard.model.task_specs import Detection
from edgeguard.model.yolo import end_to_end_misfit, has_objectness, is_end_to_end, joined_form
from edgeguard_converters.graph.run import Outputs

#: What `convert` can be told beyond a decoder's own message.
_ADVICE = (
    ("nothing tells", ", or --objectness or --no-objectness"),
    ("its scores are not in", "; give --boxes if it is a detector"),
)


@dataclass(frozen=True)
class FoundTask:
    """The task, how many classes (keypoints of a pose) there are, and how outputs are read; for a detector with
    separate boxes and scores `detection` is None: `contract.infer` decides what its numbers are."""

    task: Task
    classes: int
    recognized: Recognized | None = None
    detection: Detection | None = None


def find_task(
    outputs: Outputs, spec: InputSpec, *, joined: bool, labels: int, boxes: str | None, objectness: bool | None
) -> FoundTask:
    """What the model is.

    Args:
        outputs: float32 (n, ...) for each output; where `joined`, boxes and the numbers behind them.
        spec: the model's input.
        joined: the model gives boxes and scores in one output, which the source separates.
        labels: how many are known; 0 for none.
        boxes: what the user says of a box's numbers; then it is a detector.
        objectness: what the user says of it.

    Raises:
        InputError: it is no task; the message says what it looks like, or what has to be said.
    """
    shapes = [values.shape[1:] for values in outputs]
    if len(outputs) == 1 and int(np.prod(shapes[0])) == max(shapes[0], default=1):
        return _vector(int(np.prod(shapes[0])), outputs[0], labels)
    found = box_and_score_outputs(shapes)
    if joined:
        return _joined(outputs, spec, labels=labels, boxes=boxes, objectness=objectness)
    if found is not None:
        count = max(shapes[found[0]])
        return FoundTask("detect", next((side for side in shapes[found[1]] if side != count), count))
    return _others(outputs, spec, labels)


def _vector(size: int, values: NDArray[np.float32], labels: int) -> FoundTask:
    """Scores of classes; one number is those of two classes where a sigmoid made it or two labels name them."""
    if size >= 2:
        return FoundTask("classify", size)
    if labels == 2 or bool(((values >= 0) & (values <= 1)).all()):
        return FoundTask("classify", 2)
    raise InputError(
        f"the model gives one number ({float(values.min()):.3g} to {float(values.max()):.3g}): for two classes give "
        "--labels with both names; a regression is not supported"
    )


def _joined(outputs: Outputs, spec: InputSpec, *, labels: int, boxes: str | None, objectness: bool | None) -> FoundTask:
    """A YOLO head: put together again, it is read as a foreign file's."""
    columns_first = outputs[0].shape[1] == 4
    whole = np.concatenate(outputs, axis=1 if columns_first else 2)
    is_list = not columns_first and is_end_to_end(whole.shape[1:], spec.width, spec.height)
    if is_list and end_to_end_misfit(whole.reshape(-1, 6)) is None:
        raise InputError(
            "the model gives finished boxes (x1, y1, x2, y2, score, class), whose class numbers int8 cannot hold: "
            "export it without suppression inside (Ultralytics: end2end=False, nms=False)"
        )
    columns = whole.shape[1 if columns_first else 2]
    if boxes is not None:
        has_one = bool(objectness)
        if objectness is None and labels:
            has_one = has_objectness(whole.shape[1:], spec.width, spec.height, labels)
        return FoundTask("detect", columns - 4 - has_one, detection=Detection(objectness=has_one))
    try:
        form = joined_form(list(whole), spec.width, spec.height, labels=labels, objectness=objectness)
    except InputError as error:
        said = str(error)
        raise InputError(said + next((more for words, more in _ADVICE if words in said), "")) from error
    return FoundTask("detect", columns - 4 - form.objectness, detection=replace(form, head="raw"))


def _others(outputs: Outputs, spec: InputSpec, labels: int) -> FoundTask:
    """Class maps and keypoints; everything else is refused by its looks."""
    names = [OutputName(("", "", ""), _last_step(values), "", 0) for values in outputs]
    trial = [tuple(values[i] for values in outputs) for i in range(len(outputs[0]))]
    facts = Facts(
        width=spec.width,
        height=spec.height,
        names=names,
        shapes=[values.shape[1:] for values in outputs],
        types=["float32"] * len(outputs),
        steps=[0.0] * len(outputs),
        labels=("",) * labels,
        trial=lambda: list(trial),
    )
    found = recognize(facts)
    if found.detection is not None and found.detection.head == "joined":
        raise InputError(
            f"one output {outputs[0].shape[1:]} holds boxes and scores together, which one int8 scale cannot: export "
            "the model with two outputs, boxes and scores, or as ONNX"
        )
    if found.task in ("classify", "detect"):
        raise InputError("the model's outputs are lists of finished boxes: export it without suppression inside")
    if found.task == "segment" and _holds_numbers(outputs[0]):
        raise InputError("the model ends in an argmax, whose class numbers int8 cannot hold: return the scores instead")
    axis = 0 if found.segmentation is not None and found.segmentation.layout == "CHW" else -1
    shape = outputs[0].shape[1:]
    classes = int(np.prod(shape)) // 3 if found.keypoints and found.keypoints.head == "points" else shape[axis]
    return FoundTask(found.task, max(classes, 2), replace(found, labels=() if labels else found.labels))


def _last_step(values: NDArray[np.float32]) -> int:
    """The operator that the values look like the end of; -1 for none."""
    if not ((values >= 0) & (values <= 1)).all():
        return -1
    axes = [axis for axis in (1, values.ndim - 1) if values.shape[axis] > 1]
    sums = [np.allclose(values.sum(axis=axis), 1, atol=1e-3) for axis in axes]
    return SOFTMAX if any(sums) else LOGISTIC


def _holds_numbers(values: NDArray[np.float32]) -> bool:
    return bool((values == np.round(values)).all() and values.max() > 1)
