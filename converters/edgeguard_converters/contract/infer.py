"""The contract of a conversion: what the file says, what the flags say, and what the model's own outputs tell."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.classes import ClassMapping
from edgeguard.errors import InputError
from edgeguard.model.contract import (
    BoxForm,
    Contract,
    Detection,
)
from edgeguard.model.detection import box_and_score_outputs
from edgeguard.model.prediction import two_classes
from edgeguard_converters.contract.image_sets import GateImages
from edgeguard_converters.contract.preprocessing import checked_by_labels, doubted, explicit, from_facts, guess
from edgeguard_converters.contract.tasks import find_task
from edgeguard_converters.graph.normalization import PRESETS, Normalization, explained_presets
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.load.source import Source
from edgeguard_converters.notes import Notes
from edgeguard_converters.options import Options

_PROBED = 4  # images
_REPEATS = 1e-2  # of the largest output: sums are added in another order for several pictures
_PROBE = Normalization((127.5,) * 3, (127.5,) * 3, "probe")


@dataclass(frozen=True, eq=False)
class InferredContract:
    """What a model's own outputs tell.

    Attributes:
        normalization: of the pixels.
        contract: with everything that is known now.
        targets: the raw output index of each evaluation image where classes are known.
        judged: labelled images had a say in the normalization.
    """

    normalization: Normalization
    contract: Contract
    targets: NDArray[np.int64] | None
    judged: bool


def infer_contract(
    source: Source,
    options: Options,
    outline: Contract,
    *,
    images: GateImages,
    notes: Notes,
    mapping: ClassMapping | None = None,
) -> InferredContract:
    """Everything that needs the model's outputs: task, labels, normalization, what the outputs are.

    Args:
        source: the trained model, which is run on a few of the images.
        options: what was said by the user goes before everything else.
        outline: from `outline.outline_contract`.
        images: prepared with that outline.
        notes: gets a line for each thing that was decided for the user.
        mapping: how the evaluation images' folder became class indices; None where it is no folder.

    Raises:
        InputError: the outputs are neither class scores nor boxes, labels do not fit them, or something has to be said
            by the user.
    """
    probed = _PROBE.apply(images.calibration[:_PROBED])
    _check_repeatable(source, probed)
    known = options.labels if options.labels is not None else source.facts.labels or ()
    found = find_task(
        source.outputs(probed),
        outline.input,
        joined=source.joins_boxes(probed[:1]),
        labels=len(known),
        boxes=options.boxes,
        objectness=options.objectness,
    )
    task, classes = found.task, found.classes
    if task == "classify" and options.boxes is not None:
        raise InputError("--boxes is for detectors; this model is a classifier")
    if found.detection is None and options.objectness is not None:
        raise InputError("--objectness is for detectors that give boxes and scores in one output")
    labels, background = _labels(source, options, classes, notes, task)
    if found.recognized is not None and not labels:
        labels = found.recognized.labels
    if mapping is not None and task == "classify":
        _check_order(mapping, classes - int(background))
    targets = _targets(images.labels, classes, background, notes) if task == "classify" else None
    normalization = _normalization(source, options, task, images, targets, notes)
    if outline.input.color == "GRAY" and not normalization.is_uniform:
        raise InputError(
            "the model reads one gray channel, and this preprocessing has a mean and std for each of three: give "
            "--preprocess unit|tf|none, or --mean and --std with one value three times"
        )
    normalized = normalization.apply(images.evaluation[:8])
    outputs = that_can_be_compared(source.outputs(normalized))
    in_graph = not normalization.is_uniform and outline.input.dtype == "float32"
    stated = _pixels(normalization) if in_graph else normalization  # a float input takes what the contract states
    contract = replace(
        outline,
        task=task,
        preprocess=replace(outline.preprocess, mean=stated.mean, std=stated.std, guessed=normalization.guessed),
        labels=labels,
        background=background,
    )
    if task == "classify":
        contract = replace(contract, outputs=scores_are(outputs[0]))
    elif (seen := found.recognized) is not None:
        # the probe's normalization may be another one: what the outputs are is judged on the right one
        again = find_task(outputs, outline.input, joined=False, labels=len(labels), boxes=None, objectness=None)
        seen = again.recognized or seen
        contract = replace(contract, outputs=seen.outputs, segmentation=seen.segmentation, keypoints=seen.keypoints)
        if seen.why:
            notes.add(seen.why)
    else:
        contract = _detector(source, options, contract, outputs, found.detection, notes)
    judged = targets is not None and not _is_said(options, source)
    return InferredContract(normalization, contract, targets, judged)


def that_can_be_compared(outputs: Outputs) -> Outputs:
    """The outputs; no numbers, or such as overflow, are nothing that can be compared, here or on a device."""
    if not outputs:
        raise InputError("the model has no outputs")
    for number, values in enumerate(outputs, 1):
        if values.size == 0:
            shape = "x".join(map(str, values.shape))
            raise InputError(f"output {number} of {len(outputs)} holds no numbers (its shape is {shape})")
        wrong = int(np.count_nonzero(~np.isfinite(values)))
        if wrong:
            raise InputError(
                f"output {number} of {len(outputs)} is not finite: {wrong} of its {values.size} numbers for ordinary "
                "pictures are infinite or no number: the model overflows, or divides by zero; look at what it answers "
                "where it was trained"
            )
    return outputs


def _check_repeatable(source: Source, probed: NDArray[np.float32]) -> None:
    """Refuse a model that says something else of the same picture: again, or beside other pictures."""
    first, again = that_can_be_compared(source.outputs(probed[:1])), source.outputs(probed[:1])
    together = tuple(values[:1] for values in source.outputs(probed))
    for other, why in ((again, "when it is asked again"), (together, "when other pictures stand beside it")):
        for wanted, found in zip(first, other, strict=True):
            scale = max(float(np.abs(wanted).max()), 1e-12)
            if wanted.shape != found.shape or not float(np.abs(wanted - found).max()) <= _REPEATS * scale:
                raise InputError(
                    f"the model says something else of one picture {why}: it was saved in training mode (batch "
                    "normalization by the batch, or dropout); call model.eval() before the export"
                )


def _normalization(
    source: Source,
    options: Options,
    task: str,
    images: GateImages,
    targets: NDArray[np.int64] | None,
    notes: Notes,
) -> Normalization:
    if options.mean is not None or options.std is not None:
        return explicit(options.mean, options.std)
    if options.preprocess != "auto":
        return Normalization(*PRESETS[options.preprocess], "preset")
    if (stated := from_facts(source.facts)) is not None:
        if source.facts.stated_by is None or images.stand_in or task != "classify":
            return stated
        if targets is None:
            if source.facts.color == "RGB" and (doubt := doubted(_scorer(source), images.calibration, stated)):
                notes.add(doubt)
            return stated
        found = checked_by_labels(_scorer(source), images.evaluation, targets, stated)
        if found is not stated:
            notes.add(f"THE FAMILY'S PREPROCESSING IS NOT THIS MODEL'S: {found.origin}; check it, or say --preprocess")
        return found
    if images.stand_in or task != "classify":
        kind = {"detect": "a detector's outputs", "segment": "class maps", "keypoints": "keypoints"}
        what = kind.get(task, "stand-in pictures")
        raise InputError(
            f"the file does not say its preprocessing, and {what} cannot tell: give --preprocess imagenet|tf|unit|none "
            f"({explained_presets()})" + ("" if task != "classify" else ", or --calibrate FOLDER with your own images")
        )
    pixels = images.calibration if targets is None else images.evaluation
    presets = {n: p for n, p in PRESETS.items() if source.facts.color != "GRAY" or len(set(p[0])) == 1}
    found = guess(_scorer(source), pixels, targets, presets)
    notes.add(f"PREPROCESSING GUESSED: {found.origin}; check it, or say --preprocess ({explained_presets()})")
    return found


def _is_said(options: Options, source: Source) -> bool:
    """Whether the normalization stands without a look at images: the user says it, or the file itself."""
    by_user = options.preprocess != "auto" or options.mean is not None or options.std is not None
    return by_user or (from_facts(source.facts) is not None and source.facts.stated_by is None)


def _pixels(normalization: Normalization) -> Normalization:
    return replace(normalization, mean=(0.0,) * 3, std=(1.0,) * 3)


def _detector(
    source: Source, options: Options, contract: Contract, outputs: Outputs, joined: Detection | None, notes: Notes
) -> Contract:
    found = box_and_score_outputs([values.shape[1:] for values in outputs])
    assert found is not None
    boxes, scores = outputs[found[0]], outputs[found[1]]
    facts = source.facts.detection
    form: Any = options.boxes or facts.get("boxes") or (None if joined is None else joined.boxes)
    if form not in get_args(BoxForm):
        raise InputError("the file does not say what a box's four numbers are: give --boxes yxyx, xyxy or cxcywh")
    probabilities = bool((scores >= 0).all() and (scores <= 1).all())
    cells = joined.units if joined is not None and joined.units == "cells" else None
    units: Any = facts.get("units") or cells or ("pixels" if float(np.abs(boxes).max()) > 2 else "relative")
    axis = 2 if scores.shape[1] == max(boxes.shape[1:]) else 1
    objectness = joined is not None and joined.objectness
    if objectness:
        notes.add("the fifth number of each box is taken as its objectness: score = objectness x class")
    background = contract.background or (
        not objectness and probabilities and np.allclose(scores.sum(axis=axis), 1, atol=1e-2)
    )
    if background and not contract.background:
        notes.add("the scores of each box sum to 1: class 0 is taken as background")
    return replace(
        contract,
        detection=Detection(boxes=form, units=units, objectness=objectness),
        outputs="probabilities" if probabilities else "logits",
        background=bool(background),
    )


def _labels(source: Source, options: Options, classes: int, notes: Notes, task: str) -> tuple[tuple[str, ...], bool]:
    labels = options.labels if options.labels is not None else source.facts.labels or ()
    if labels and len(labels) == classes - 1:
        labels = ("background", *labels)
    if labels and len(labels) != classes:
        raise InputError(f"{len(labels)} labels for {classes} outputs: --labels wants one a line, in their order")
    background = options.background
    if task == "keypoints":
        background = False
    if background is None:
        background = labels[0].strip().lower() == "background" if labels else classes == 1001
        if background:
            notes.add(f"{classes} outputs: output 0 is taken as background, class index + 1 = output index")
    return tuple(labels), background


def _check_order(mapping: ClassMapping, classes: int) -> None:
    """Folders whose order stands for the classes have to be all classes."""
    if mapping.how == "order" and len(mapping.pairs) != classes:
        raise InputError(
            f"there are {len(mapping.pairs)} class folders of evaluation images, the model has {classes} classes and "
            "no labels: give --labels, call the folders by class index (0, 1, ...), or give a labels.csv"
        )


def _targets(known: list[int | None], classes: int, background: bool, notes: Notes) -> NDArray[np.int64] | None:
    if any(label is None for label in known):
        return None
    targets = np.array(known, dtype=np.int64) + int(background)
    if targets.max() >= classes:
        raise InputError(f"class index {int(targets.max())} of the evaluation images is beyond the {classes} outputs")
    if background:
        notes.add("evaluation adds 1 to each class index (background)")
    return targets


def best_classes(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The best class of each picture, (n,), by what a trained classifier says of them, (n, ...)."""
    return np.asarray(_scores_of(outputs).argmax(axis=1), np.int64)


def _scorer(source: Source) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    return lambda x: _scores_of(source.outputs(x)[0])


def _scores_of(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, classes); one output is two classes'."""
    flat = outputs.reshape(len(outputs), -1)
    return two_classes(flat, logits=not _sum_to_one(outputs))


def scores_are(outputs: NDArray[np.float32]) -> Literal["logits", "probabilities"]:
    """What a classifier's outputs are, (n, ...)."""
    return "probabilities" if _sum_to_one(outputs) else "logits"


def _sum_to_one(outputs: NDArray[np.float32]) -> bool:
    """Whether these are probabilities: they sum to one, or the only one lies in 0..1."""
    flat = outputs.reshape(len(outputs), -1)
    if flat.shape[1] == 1:
        return bool(((flat >= 0) & (flat <= 1)).all())
    return bool((flat >= 0).all() and np.allclose(flat.sum(axis=1), 1, atol=1e-3))
