"""Which output of a detector holds boxes, classes, scores and their number.

Exporters give them in different orders: TensorFlow 1 boxes, classes, scores, count; TensorFlow 2 scores, boxes, count,
classes. What the file says goes first, then what its values can be; an order that nothing tells is refused.
"""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.output_names import OutputName
from edgeguard.model.task_specs import POSTPROCESS_ROLES, Role

Shape = tuple[int, ...]
Values = Sequence[NDArray[np.float32]]
Roles = tuple[Role, ...]
_POSTPROCESS = "tflite_detection_postprocess"
_WORDS: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("count", ("num_detection", "number of detection", "num_box", "count", "valid_detection")),
    ("boxes", ("location", "box", "bbox")),
    ("classes", ("categor", "class", "label")),
    ("scores", ("score", "confidence")),
)
#: Orders that are known of exporters, tried where the values allow more than one.
_KNOWN: tuple[Roles, ...] = (
    POSTPROCESS_ROLES,  # TensorFlow 1
    ("scores", "boxes", "count", "classes"),  # TensorFlow 2
    ("boxes", "classes", "scores"),
    ("boxes", "scores", "classes"),
)
EPS = 1e-3


def list_shapes_fit(shapes: Sequence[Shape]) -> bool:
    """Whether outputs of these shapes (without the batch) can be lists of boxes, classes, scores and their number."""
    return len(shapes) in (3, 4) and bool(_by_shape(shapes))


def find_roles(
    outputs: Sequence[OutputName], shapes: Sequence[Shape], steps: Sequence[float], trial: Callable[[], list[Values]]
) -> Roles:
    """What each output is, in the file's order.

    Args:
        outputs: what the file says of them.
        shapes: without the batch axis.
        steps: of quantized outputs, the scale; 0 for float ones.
        trial: what the model says of a few made pictures, output by output.

    Raises:
        InputError: no order fits what the model says, or more than one does.
    """
    possible = [roles for roles in _by_shape(shapes) if _steps_fit(roles, steps)]
    if not possible:
        raise InputError(
            "the steps of its 8-bit outputs are too coarse for class numbers or scores: the file was quantized wrongly"
        )
    said = _by_operator(outputs) or _by_names(outputs)
    pictures = trial()
    fitting = [r for r in possible if all(misfit(values, r, steps) is None for values in pictures)]
    if said is not None:
        if said in fitting:
            return said
        why = next((m for values in pictures if (m := misfit(values, said, steps))), "their shapes do not fit")
        raise InputError(f"its outputs are named {', '.join(said)}, but {why}: the file is not what it says")
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InputError(
            "its outputs have the shapes of boxes, classes and scores, but no order gives scores in 0..1 and whole "
            "classes: it is no detector that can be read here"
        )
    for roles in _KNOWN:
        if roles in fitting:
            return roles
    raise InputError("nothing tells which of its outputs holds scores and which classes: convert it from its source")


def misfit(values: Values, roles: Roles, steps: Sequence[float] = ()) -> str | None:
    """Why these outputs cannot be what `roles` says; None where they can."""
    parts = {role: np.asarray(v, np.float64).ravel() for role, v in zip(roles, values, strict=True)}
    step = dict(zip(roles, steps, strict=False))
    for role, numbers in parts.items():
        if not np.isfinite(numbers).all():
            return f"its {role} are not all finite numbers"
    n = len(parts["scores"])
    if "count" in parts:
        count = float(parts["count"][0])
        if not 0 <= count <= n or not _whole(parts["count"], step.get("count", 0.0)):
            return f"it counts {count:g} boxes of {n}"
        n = round(count)
    scores, classes = parts["scores"][:n], parts["classes"][:n]
    slack = EPS + step.get("scores", 0.0)
    if ((scores < -slack) | (scores > 1 + slack)).any():
        worst = scores[np.abs(scores - 0.5).argmax()]
        return f"a score is {worst:g}, which is not in 0..1"
    wrong = classes[(classes < -0.5) | ~_is_whole(classes, step.get("classes", 0.0))]
    if len(wrong):
        return f"a class is {wrong[0]:g}, which is no number of a class"
    return None


def _whole(values: NDArray[np.float64], step: float) -> bool:
    return bool(_is_whole(values, step).all())


def _is_whole(values: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Whole numbers, as far as 8 bits can hold them: within half a step."""
    return np.asarray(np.abs(values - np.round(values)) <= max(EPS, step / 2), np.bool_)


def _steps_fit(roles: Roles, steps: Sequence[float]) -> bool:
    """A step above 1 merges classes; one above 0.1 leaves no scores."""
    return all(
        step <= {"classes": 0.999, "count": 0.999, "scores": 0.1}.get(role, np.inf)
        for role, step in zip(roles, steps, strict=True)
    )


def _by_shape(shapes: Sequence[Shape]) -> list[Roles]:
    wanted = POSTPROCESS_ROLES if len(shapes) == 4 else POSTPROCESS_ROLES[:3]
    found = []
    for roles in permutations(wanted):
        shape = dict(zip(roles, shapes, strict=True))
        n = int(np.prod(shape["scores"]))
        boxes, lists = shape["boxes"], (shape["scores"], shape["classes"])
        if (
            boxes[-1:] == (4,)
            and int(np.prod(boxes)) == 4 * n
            and all(int(np.prod(s)) == n == max(s, default=1) for s in lists)
            and ("count" not in shape or int(np.prod(shape["count"])) == 1)
        ):
            found.append(roles)
    return found


def _by_operator(outputs: Sequence[OutputName]) -> Roles | None:
    """The post-processing operator has one order of its outputs, in whatever order the graph gives them on."""
    if any(each.custom.lower() != _POSTPROCESS for each in outputs):
        return None
    slots = [each.slot for each in outputs]
    if len(set(slots)) != len(slots) or not {0, 1, 2} <= set(slots) <= {0, 1, 2, 3}:
        return None
    return tuple(POSTPROCESS_ROLES[slot] for slot in slots)


def _by_names(outputs: Sequence[OutputName]) -> Roles | None:
    """The first kind of names that tells all outputs apart."""
    for kind in range(3):
        roles = tuple(_role_of(each.names[kind]) for each in outputs)
        known = tuple(role for role in roles if role is not None)
        if len(known) == len(outputs) == len(set(known)):
            return known
    return None


def _role_of(name: str) -> Role | None:
    found: list[Role] = [role for role, words in _WORDS if any(word in name for word in words)]
    if len(found) == 2 and "scores" in found and "classes" in found:
        return None  # class scores, or the score's class
    return found[0] if found else None
