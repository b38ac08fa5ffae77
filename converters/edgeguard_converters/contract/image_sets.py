"""Which images calibrate and which judge, and what is odd about them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.classes import Classes, ClassMapping
from edgeguard.datasets.images import LabeledImage, labeled_folder, prepare
from edgeguard.datasets.readable import readable
from edgeguard.errors import InputError
from edgeguard.model.contract import Contract
from edgeguard.statistics import wilson
from edgeguard_converters.notes import Notes
from edgeguard_converters.verify.gates import FEW_IMAGES

#: Images with class indices, or the folder that `labeled_folder` reads once the model has said its labels.
Labeled = list[LabeledImage] | Path

_HELD_OUT_EVERY = 4
_MOST_BYTES = 2 << 30  # of the pixels of one set, which are all held at once
_PLENTY = 1000  # images to calibrate; ranges hardly change from some hundred on
_TINY = 0.5  # of the model's side
_FEW, _MANY = 0.1, 0.3  # shares of odd images that are worth a line


@dataclass(frozen=True, eq=False)
class GateImages:
    """Prepared images: pixels (n, h, w, channels) of uint8 at the model's size.

    Attributes:
        calibration: what the trained network sees of the calibration images, behind a guard inside the graph.
        evaluation: the same of the gates' images.
        received: the gates' images as the device feeds them to the finished graph.
        labels: the class index of each gate image, None where it is not known.
        stand_in: the images are not the user's own.
    """

    calibration: NDArray[np.uint8]
    evaluation: NDArray[np.uint8]
    received: NDArray[np.uint8]
    labels: list[int | None]
    stand_in: bool


def prepare_images(
    calibration: list[LabeledImage],
    evaluation: list[LabeledImage],
    contract: Contract,
    *,
    notes: Notes,
    stand_in: bool = False,
) -> GateImages:
    """Put both sets through the device's own path, and say what is odd about the calibration images.

    Args:
        calibration: images for the ranges.
        evaluation: images for the gates.
        contract: size, crop and guard; its dtype does not matter.
        notes: gets one line for each thing that is odd.
        stand_in: the images are not the user's own.

    Raises:
        InputError: an image cannot be read.
    """
    outside, fed = behind_the_guard(contract), _in_pixels(contract)
    calibrating, judging = prepare(calibration, outside), prepare(evaluation, outside)
    for line in odd_images(calibration, calibrating, outside):
        notes.add(line)
    received = judging if outside == fed else prepare(evaluation, fed)
    return GateImages(calibrating, judging, received, [image.label for image in evaluation], stand_in)


def behind_the_guard(contract: Contract) -> Contract:
    """The contract whose pixels the trained network sees: a guard inside the graph has done its work on them."""
    seen = _in_pixels(contract)
    if seen.guard.place != "in-graph":
        return seen
    return replace(seen, guard=replace(seen.guard, place="input"))


def _in_pixels(contract: Contract) -> Contract:
    return replace(contract, input=replace(contract.input, dtype="uint8"))


def that_fit(images: list[LabeledImage], what: str, size: tuple[int, int], notes: Notes) -> list[LabeledImage]:
    """As many images, evenly chosen, as memory is given for; a folder may hold any number.

    Args:
        images: of a set.
        what: they are, for messages.
        size: of the model's input, width and height.
        notes: gets a line where some are left out.
    """
    most = max(_MOST_BYTES // (3 * size[0] * size[1]), FEW_IMAGES)
    if len(images) <= most:
        return images
    notes.add(f"{most} of the {len(images)} {what} are used, evenly chosen: more would not fit into memory")
    return [images[k * len(images) // most] for k in range(most)]


def read_labeled(
    given: Labeled | None, what: str, classes: Classes, notes: Notes, size: tuple[int, int]
) -> tuple[list[LabeledImage] | None, ClassMapping | None]:
    """Images that can be read, and how a folder's names became class indices.

    Args:
        given: images, a folder of them, or nothing.
        what: they are, for messages.
        classes: what the model says of its labels.
        notes: gets the mapping, and how many images fit.
        size: of the model's input, width and height.

    Raises:
        InputError: too many images cannot be read, or the folder does not fit the classes.
    """
    if given is None:
        return None, None
    if not isinstance(given, Path):
        return readable(that_fit(given, what, size, notes), what), None
    found = labeled_folder(given, classes)
    notes.add(found.mapping.line)
    return readable(that_fit(found.images, what, size, notes), given), found.mapping


def split(
    calibration: list[LabeledImage], evaluation: list[LabeledImage] | None, notes: Notes
) -> tuple[list[LabeledImage], list[LabeledImage]]:
    """Images to calibrate and images to judge; without the latter every fourth is held out.

    Raises:
        InputError: there are too few.
    """
    if evaluation is None:
        if len(calibration) < _HELD_OUT_EVERY:
            raise InputError(
                f"{len(calibration)} calibration images are too few: at least {_HELD_OUT_EVERY} are needed"
            )
        evaluation = calibration[::_HELD_OUT_EVERY]
        calibration = [image for i, image in enumerate(calibration) if i % _HELD_OUT_EVERY]
    else:
        calibration, evaluation = _without_overlap(calibration, evaluation, notes)
    if len(calibration) > _PLENTY:
        notes.add(
            f"{len(calibration)} calibration images: some hundred are enough, and each takes its time; --calibrate a "
            "folder of fewer"
        )
    if len(evaluation) < FEW_IMAGES:
        low, high = wilson(round(0.9 * len(evaluation)), len(evaluation))
        notes.add(
            f"only {len(evaluation)} gate images: a 95 % interval around an agreement of 90 % is "
            f"{high - low:.0%} wide; give more with --eval"
        )
    return calibration, evaluation


def odd_images(images: list[LabeledImage], pixels: NDArray[np.uint8], contract: Contract) -> list[str]:
    """Lines about calibration images that are unlike what a camera gives: without colour, all alike, or tiny."""
    found = []
    if contract.input.color == "GRAY":
        spread = np.ones(len(pixels))  # nobody wants color of a gray model's pictures
    elif contract.input.color == "DCT":  # colour is in other rows
        spread = np.ptp(pixels[:, 2 * pixels.shape[1] // 3 :, :, 0], axis=(1, 2))
    else:
        spread = np.ptp(pixels, axis=-1).max(axis=(1, 2))
    if (gray := int((spread == 0).sum())) > _MANY * len(pixels):
        found.append(f"{gray} of {len(images)} calibration images have no color: ranges for a color camera need some")
    flat = sum(float(image.std()) < 1 for image in pixels)  # one at a time: in float64 all are eight times as large
    if flat > _FEW * len(pixels):
        found.append(f"{flat} of {len(images)} calibration images are one flat color")
    wanted = contract.input.width, contract.input.height
    tiny = 0
    for image in images:
        width, height = image.receive(contract).size()
        tiny += width < _TINY * wanted[0] or height < _TINY * wanted[1]
    if tiny > _MANY * len(images):
        found.append(
            f"{tiny} of {len(images)} calibration images are less than half the model's {wanted[0]}x{wanted[1]}: "
            "enlarged, they lack the detail of a camera's frames"
        )
    return found


def _without_overlap(
    calibration: list[LabeledImage], evaluation: list[LabeledImage], notes: Notes
) -> tuple[list[LabeledImage], list[LabeledImage]]:
    """No image both calibrates and judges: of those in both sets every fourth judges, the others calibrate."""
    calibrating = {image.sha256 for image in calibration}
    shared = [image.sha256 for image in evaluation if image.sha256 in calibrating]
    if not shared:
        return calibration, evaluation
    notes.add(f"{len(shared)} images are in both sets: every fourth of them judges, the others calibrate")
    judging, giving = set(shared[::_HELD_OUT_EVERY]), set(shared) - set(shared[::_HELD_OUT_EVERY])
    return (
        [image for image in calibration if image.sha256 not in judging],
        [image for image in evaluation if image.sha256 not in giving],
    )
