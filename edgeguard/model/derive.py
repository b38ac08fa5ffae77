"""A contract for a .tflite that carries none: what its file, its graph and a few made pictures tell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, Crop, InputSpec, Preprocess
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.heads import Facts, Recognized, recognize
from edgeguard.model.input_scale import SaidScale, said_scale
from edgeguard.model.labels import read_exported
from edgeguard.model.output_names import output_names
from edgeguard.model.watched import Runner
from edgeguard.preprocess.geometry import quantize_input

_CENTER = 0.875
_SCALES = {"symmetric": (127.5, 127.5), "unit": (0.0, 255.0), "levels": (0.0, 1.0)}
_SCALE_WORDS = {"symmetric": "-1..1", "unit": "0..1", "levels": "0..255"}


@dataclass(frozen=True)
class Hints:
    """What the user says of a model that carries no contract; None: nothing.

    Attributes:
        labels: names of the classes.
        crop: how a frame is fitted to the input.
    """

    labels: tuple[str, ...] | None = None
    crop: Crop | None = None


def derive_contract(model: ModelFile, runner: Runner, hints: Hints) -> tuple[Contract, tuple[str, ...]]:
    """The contract, and a line for each thing in it that was guessed.

    Quantized inputs get levels as they are; float ones what models of this kind usually take. Detectors, class maps
    and poses see the whole frame, stretched; classifiers its middle.

    Raises:
        InputError: the graph is no task that runs here; the message says what it looks like.
    """
    spec = image_spec(runner.inputs[0])
    exported = read_exported(model)
    labels = exported.labels if hints.labels is None else hints.labels

    @cache
    def trial() -> list[tuple[NDArray[np.float32], ...]]:
        preprocess = Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3)
        return [runner.run(shaped(quantize_input(p, spec, preprocess), runner.inputs[0])) for p in made_pictures(spec)]

    details = runner.outputs
    found = recognize(
        Facts(
            width=spec.width,
            height=spec.height,
            names=output_names(model),
            shapes=[tuple(int(side) for side in detail["shape"][1:]) for detail in details],
            types=[np.dtype(detail["dtype"]).name for detail in details],
            steps=output_steps(details),
            labels=labels,
            trial=trial,  # type: ignore[arg-type]  # a list of tuples is a list of sequences that nobody changes
            task=exported.task,
        )
    )
    said = said_scale(model) if spec.dtype == "float32" else None
    preprocess = _preprocess(found, spec, hints, said)
    contract = Contract(
        task=found.task,
        detection=found.detection,
        segmentation=found.segmentation,
        keypoints=found.keypoints,
        input=spec,
        preprocess=preprocess,
        labels=found.labels,
        background=found.task == "classify" and len(found.labels) > 0 and found.labels[0].lower() == "background",
        outputs=found.outputs,
    )
    return contract, tuple(_guesses(contract, found, hints, said))


def with_crop(contract: Contract, crop: Crop) -> Contract:
    """The contract with another crop: `center` keeps the middle 87.5 %, the others the whole frame."""
    fraction = _CENTER if crop == "center" else 1.0
    return replace(contract, preprocess=replace(contract.preprocess, crop=crop, crop_fraction=fraction))


def image_spec(detail: dict[str, Any]) -> InputSpec:
    """The picture that an input takes: (1, h, w, 3), or gray as (1, h, w, 1) or (1, 1, h, w).

    Raises:
        InputError: it takes no picture.
    """
    shape = tuple(int(side) for side in detail["shape"])
    dtype = np.dtype(detail["dtype"]).name
    if dtype not in ("uint8", "int8", "float32"):
        raise InputError(f"the model's input type {dtype} is not uint8, int8 or float32")
    kind: Literal["uint8", "int8", "float32"] = (
        "uint8" if dtype == "uint8" else "int8" if dtype == "int8" else "float32"
    )
    if len(shape) == 4 and shape[0] == 1:
        if shape[3] == 3:
            return InputSpec(shape[2], shape[1], kind)
        if shape[3] == 1 or shape[1] == 1:
            height, width = shape[1:3] if shape[3] == 1 else shape[2:4]
            return InputSpec(width, height, kind, color="GRAY")
    raise InputError(f"the model's input has {shape[-1]} channels and no contract says what they are")


def shaped(tensor: NDArray[np.generic], detail: dict[str, Any]) -> NDArray[np.generic]:
    """A gray picture in the graph's own order of axes: with one channel both orders are the same bytes."""
    wanted = tuple(int(side) for side in detail["shape"])
    if tensor.shape != wanted and tensor.shape[-1] == 1 and len(wanted) == 4 and wanted[1] == 1:
        return tensor.reshape(wanted)
    return tensor


def output_steps(details: Sequence[dict[str, Any]]) -> tuple[float, ...]:
    """The scale of each quantized output; 0 for the others."""
    return tuple(
        0.0 if np.issubdtype(np.dtype(detail["dtype"]), np.floating) else float(detail["quantization"][0])
        for detail in details
    )


def made_pictures(spec: InputSpec) -> list[NDArray[np.uint8]]:
    """Levels of the model's size that hold something: bars and squares, and coarse noise. Always the same."""
    channels = spec.shape[2]
    height, width = spec.height, spec.width
    shapes = np.full((height, width, channels), 110, np.uint8)
    shapes[height // 4 : height // 2, width // 5 : width // 2] = 235
    shapes[height // 2 :, (2 * width) // 3 :] = 30
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (-(-height // 8), -(-width // 8), channels), dtype=np.uint8)
    return [shapes, coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]]


def _preprocess(found: Recognized, spec: InputSpec, hints: Hints, said: SaidScale | None) -> Preprocess:
    scale = "unit" if spec.color == "GRAY" and found.scale == "symmetric" else found.scale
    if said is not None and not said.unusable:
        mean, std = said.mean, said.std
    else:
        mean, std = ((value,) * 3 for value in _SCALES[scale])
    crop: Crop = hints.crop or ("center" if found.task == "classify" else "none")
    fraction = _CENTER if crop == "center" else 1.0
    return Preprocess(crop, fraction, mean=mean, std=std, guessed=True)


def _guesses(contract: Contract, found: Recognized, hints: Hints, scale: SaidScale | None) -> list[str]:
    preprocess, spec = contract.preprocess, contract.input
    said = [found.why] if found.why else []
    if (detection := contract.detection) is not None and detection.head != "postprocess":
        objectness = ", score = objectness x class" if detection.objectness else ""
        said.append(
            f"boxes are read as {detection.boxes} in {detection.units} from a {detection.head} head{objectness}"
        )
    elif detection is not None:
        said.append(f"outputs are read as {', '.join(detection.roles)}")
    if scale is not None and not scale.unusable:
        said.append(f"the float input is {scale}, as the file's metadata say")
    elif spec.dtype == "float32":
        if scale is not None:
            said.append(f"the scale in the file's metadata cannot be used ({scale.unusable})")
        name = next(name for name, values in _SCALES.items() if values == (preprocess.mean[0], preprocess.std[0]))
        said.append(f"the float input is taken to want {_SCALE_WORDS[name]}")
    if hints.crop is None:
        crop = {"center": f"the middle {_CENTER:.1%} of the shorter side", "none": "the whole frame, stretched,"}
        said.append(f"crop {preprocess.crop}: {crop[preprocess.crop]} is looked at; --crop letterbox|center|none")
    return said
