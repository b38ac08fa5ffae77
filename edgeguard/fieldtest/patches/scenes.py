"""What a patch is optimised over; here: photographs with the patch pasted somewhere (objects: `field_scenes`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import LabeledImage, read_labeled_folder
from edgeguard.datasets.objects import AnnotatedImage
from edgeguard.datasets.readable import readable
from edgeguard.errors import InputError
from edgeguard.fieldtest.patches.printing import View
from edgeguard.model.contract import Contract
from edgeguard.model.input_path import InputPath
from edgeguard.preprocess.geometry import place


class Scenes(Protocol):
    """Draws views at random; the same generator gives the same view."""

    def draw(self, rng: np.random.Generator) -> View:
        """A view with room for the patch."""
        ...


class PhotographScenes:
    """Photographs at the model's size with the patch pasted anywhere, a little turned: a digital test.

    Args:
        images: with labels.
        contract: the model's.
        area: of the patch, share of the picture.
        turn_deg: largest rotation.
    """

    def __init__(
        self, images: Sequence[LabeledImage], contract: Contract, area: float, *, turn_deg: float = 22.5
    ) -> None:
        self.images, self.contract, self.area, self.turn_deg = images, contract, area, turn_deg
        self._path = InputPath(contract, profile=None, patch_guard=None)

    def draw(self, rng: np.random.Generator) -> View:
        """See `Scenes`."""
        return self.view(self.images[int(rng.integers(len(self.images)))], rng)

    def view(self, image: LabeledImage, rng: np.random.Generator) -> View:
        """One photograph, the patch at a place and angle drawn from `rng`."""
        pixels = self._path.levels(self._path.arrive(image.content()))[0].astype(np.float32)
        height, width = pixels.shape[:2]
        side = float(np.sqrt(self.area * width * height))
        turn = np.deg2rad(rng.uniform(-self.turn_deg, self.turn_deg))
        reach = side / 2 * (abs(np.cos(turn)) + abs(np.sin(turn)))
        middle = np.array([rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)])
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        corners = (square @ spin + middle - 0.5).astype(np.float32)
        label = int(image.label or 0) + int(self.contract.background)
        return View(pixels, corners, np.ones((height, width, 3), np.float32), 0.0, 0.0, None, label, is_printed=False)


class AnnotatedScenes:
    """Photographs at the model's size with the patch on one of their objects, a little turned: a digital test.

    Args:
        images: with boxes; those of other classes than `label` are left out where it is given.
        contract: of the model.
        area: of the patch, share of the object's box.
        label: the class whose objects are attacked, as the model's labels count; None for all.
        turn_deg: largest rotation.

    Raises:
        InputError: there is no such object.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        contract: Contract,
        area: float,
        *,
        label: int | None = None,
        turn_deg: float = 15.0,
    ) -> None:
        self.contract, self.area, self.turn_deg = contract, area, turn_deg
        self.objects = [
            (one.image, box) for one in images for box in one.boxes if box.is_counted and label in (None, box.index)
        ]
        if not self.objects:
            raise InputError("no picture holds an object of this class")
        self._path = InputPath(contract, profile=None, patch_guard=None)

    def draw(self, rng: np.random.Generator) -> View:
        """See `Scenes`."""
        image, box = self.objects[int(rng.integers(len(self.objects)))]
        frame = image.content()
        received = self._path.arrive(frame)
        pixels = self._path.levels(received)[0].astype(np.float32)
        spec, placement = self.contract.input, place(*received.size(), self.contract.input, self.contract.preprocess)
        source, target = placement.source, placement.target
        scale = np.array([target.width / source.width, target.height / source.height] * 2)
        moved = (np.array(box.corners) - np.array([source.left, source.top] * 2)) * scale
        x1, y1, x2, y2 = (float(v) for v in moved + np.array([target.left, target.top] * 2))
        half = np.array([x2 - x1, y2 - y1]) * np.sqrt(self.area) / 2
        turn = np.deg2rad(rng.uniform(-self.turn_deg, self.turn_deg))
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) + rng.uniform(-0.1, 0.1, 2) * [x2 - x1, y2 - y1]
        corners = (square @ spin + middle - 0.5).astype(np.float32)
        light = np.ones((spec.height, spec.width, 3), np.float32)
        return View(
            pixels, corners, light, 0.0, 0.0, None, box.index, is_printed=False, object_box=(x1, y1, x2, y2)
        )  # fmt: skip


def mosaic(pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str], columns: int = 4) -> NDArray[np.uint8]:
    """Pictures of one size in rows, each with a line of text below."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + 22), columns * width, 3), 255, np.uint8)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        top, left = (number // columns) * (height + 22), (number % columns) * width
        sheet[top : top + height, left : left + width] = picture
        cv2.putText(sheet, caption, (left + 4, top + height + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1)
    return sheet


def photographs_in(folder: Path, contract: Contract, outputs: int) -> list[LabeledImage]:
    """Labelled photographs of a folder that can be read; see `images.labeled_folder` and `readable`.

    Args:
        folder: class folders, or one with labels.csv.
        contract: of the model.
        outputs: how many it has.
    """
    found = read_labeled_folder(folder, contract.labels, outputs=outputs, background=contract.background)
    return readable(found, folder)
