"""Folders of images for calibration and evaluation, read the way the device reads frames."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.files import IMAGE_SUFFIXES
from edgeguard.datasets.classes import Classes, ClassMapping, is_left_out, map_folders
from edgeguard.datasets.label_table import read_label_table
from edgeguard.errors import InputError, JpegError
from edgeguard.guard.passes import Received
from edgeguard.model.contract import Contract
from edgeguard.model.input_path import InputPath
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded
from edgeguard.system.names import utf8_name
from edgeguard.system.walk import walk

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """A file, its bytes, or raw pixels, with the class index where it is known.

    Files are read when they are needed: a thousand photographs would be 100 MB.
    """

    name: str
    data: Path | bytes | NDArray[np.uint8]
    label: int | None = None

    def content(self) -> bytes | NDArray[np.uint8]:
        """The file's bytes, or the pixels.

        Raises:
            InputError: the file cannot be read any more.
        """
        if not isinstance(self.data, Path):
            return self.data
        return read_bounded(self.data, LARGEST_PICTURE, "the picture")

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the content."""
        content = self.content()
        return hashlib.sha256(content.tobytes() if isinstance(content, np.ndarray) else content).hexdigest()

    def receive(self, contract: Contract) -> Received:
        """The image as a frame that arrives at the device: JPEG files keep their bytes, others are raw frames."""
        try:
            return InputPath(contract).capture(self.content())
        except JpegError as error:
            raise InputError(f"{self.name}: {error}") from error


@dataclass(frozen=True, eq=False)
class LabeledFolder:
    """Images with their class indices, and how these were found."""

    images: list[LabeledImage]
    mapping: ClassMapping


def list_images(folder: Path) -> list[Path]:
    """Image files below a folder by suffix, in byte order of their relative paths; none that is hidden or a system's.

    Raises:
        InputError: no such folder, no image in it, or a name that is no UTF-8.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    below = walk(folder, into=lambda name: not is_left_out(name))
    found = [name for name, one in below if _is_image(one.name) and not is_left_out(one.name) and one.is_file()]
    if not found:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return [folder / name for name in sorted(found, key=lambda name: utf8_name(folder, name).encode())]


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def read_folder(folder: Path) -> list[LabeledImage]:
    """All images of a folder, without labels."""
    return [LabeledImage(str(p.relative_to(folder)), p) for p in list_images(folder)]


def read_labeled_folder(
    folder: Path, labels: Sequence[str], *, outputs: int | None = None, background: bool | None = None
) -> list[LabeledImage]:
    """The images of `labeled_folder`, whose mapping is logged."""
    found = labeled_folder(folder, Classes.of(labels, outputs, background))
    _log.info("%s", found.mapping.line)
    return found.images


def labeled_folder(folder: Path, classes: Classes) -> LabeledFolder:
    """Images with class indices: from `labels.csv` (see `read_label_table`), else from class folders.

    A class folder is called as one of the model's labels, or by a class index; where the model has no labels, all
    its classes are there and the names are no numbers, by the order of their names. Indices count classes: a background
    output is none. Hidden folders and those of systems are left out.

    Args:
        folder: of the images.
        classes: of the model, as far as they are known.

    Raises:
        InputError: neither labels.csv nor class folders, or something in them that does not fit the model's classes.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    if (folder / "labels.csv").is_file():
        return _from_table(folder, classes)
    there = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.name.encode("utf-8", "surrogateescape"))
    chosen = [p for p in there if not is_left_out(p.name) and utf8_name(folder, p.name)]
    if not chosen:
        tables = sorted(p.name for p in folder.glob("*.csv"))
        hint = f" ({tables[0]}? call it labels.csv)" if tables else ""
        hint = hint or " (labels.csv: a file's name and its class in each line; else a folder for each class)"
        raise InputError(f"{folder} has neither labels.csv nor class folders{hint}")
    mapping = map_folders(folder, [p.name for p in chosen], classes)
    left_out = [p.name for p in there if is_left_out(p.name)]
    loose = sum(_is_image(p.name) and p.is_file() for p in folder.iterdir() if not is_left_out(p.name))
    if loose:
        left_out.append(f"{loose} images outside of class folders")
    index = dict(mapping.pairs)
    images = [
        LabeledImage(str(path.relative_to(folder)), path, index[one.name])
        for one in chosen
        for path in list_images(one)
    ]
    return LabeledFolder(images, replace(mapping, left_out=tuple(left_out)))


def prepare(images: list[LabeledImage], contract: Contract) -> NDArray[np.uint8]:
    """The uint8 levels that the model sees for each image, through the device's own path, on all cores.

    Returns:
        (n, h, w, 3), or (n, 3h/16, w/8, 64) of coefficients.

    Raises:
        InputError: an image cannot be read or does not decode.
    """
    path = InputPath(contract)

    def levels(image: LabeledImage) -> NDArray[np.uint8]:
        try:
            return path.levels(path.capture(image.content()))[0]
        except JpegError as error:
            raise InputError(f"{image.name}: {error}") from error

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), "edgeguard-images") as pool:
        return np.stack(list(pool.map(levels, images)))


def digest(images: list[LabeledImage]) -> str:
    """SHA-256 over the names and contents of a set of images."""
    total = hashlib.sha256()
    for image in images:
        total.update(image.name.encode("utf-8", "surrogateescape") + b"\0" + bytes.fromhex(image.sha256))
    return total.hexdigest()


def _from_table(folder: Path, classes: Classes) -> LabeledFolder:
    files = read_label_table(folder, classes)
    indices = sorted({one.index for one in files})
    named = [(classes.names[index] if classes.names else f"class {index}", index) for index in indices]
    listed = {one.path for one in files}
    try:
        others = sum(path not in listed for path in list_images(folder))
    except InputError:  # the table names files without a usual suffix
        others = 0
    left_out = (f"{others} images that labels.csv does not name",) if others else ()
    images = [LabeledImage(one.name, one.path, one.index) for one in files]
    return LabeledFolder(images, ClassMapping("table", tuple(named), left_out))
