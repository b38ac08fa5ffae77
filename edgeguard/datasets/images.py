"""Folders of images for calibration and evaluation, read the way the device reads frames."""

import csv
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.files import IMAGE_SUFFIXES
from edgeguard.errors import InputError, JpegError
from edgeguard.guard.passes import Received
from edgeguard.model.contract import Contract
from edgeguard.model.input_path import InputPath
from edgeguard.system.names import file_inside

_MOST_DIGITS = 9


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
        try:
            return self.data.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {self.data}: {error.strerror}") from error

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


def list_images(folder: Path) -> list[Path]:
    """Image files below a folder by suffix, in byte order of their relative paths.

    Raises:
        InputError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    found = [p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not found:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(found, key=lambda p: str(p.relative_to(folder)).encode())


def read_folder(folder: Path) -> list[LabeledImage]:
    """All images of a folder, without labels."""
    return [LabeledImage(str(p.relative_to(folder)), p) for p in list_images(folder)]


def read_labeled_folder(folder: Path, labels: tuple[str, ...]) -> list[LabeledImage]:
    """Images with class indices: from `labels.csv` (columns file, class_index), else from class folders.

    Class folders are matched with the model's labels by name where all of them match; otherwise a folder's index is
    its place in the byte order of names. Indices count classes: a first label `background` is none.

    Raises:
        InputError: neither labels.csv nor class folders, or a row that names a missing file.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    table = folder / "labels.csv"
    if table.is_file():
        return _from_table(folder, table)
    classes = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.name.encode())
    if not classes:
        raise InputError(f"{folder} has neither labels.csv nor class folders")
    has_background = len(labels) > 0 and labels[0].strip().lower() == "background"
    by_name = {label: index for index, label in enumerate(labels[1:] if has_background else labels)}
    named = all(c.name in by_name for c in classes)
    images = []
    for place, class_folder in enumerate(classes):
        index = by_name[class_folder.name] if named else place
        for path in list_images(class_folder):
            images.append(LabeledImage(str(path.relative_to(folder)), path, index))
    return images


def prepare(images: list[LabeledImage], contract: Contract) -> NDArray[np.uint8]:
    """The uint8 levels that the model sees for each image, through the device's own path.

    Returns:
        (n, h, w, 3), or (n, 3h/16, w/8, 64) of coefficients.

    Raises:
        InputError: an image cannot be read or does not decode.
    """
    path, found = InputPath(contract), []
    for image in images:
        try:
            found.append(path.levels(path.capture(image.content()))[0])
        except JpegError as error:
            raise InputError(f"{image.name}: {error}") from error
    return np.stack(found)


def digest(images: list[LabeledImage]) -> str:
    """SHA-256 over the names and contents of a set of images."""
    total = hashlib.sha256()
    for image in images:
        total.update(image.name.encode() + b"\0" + bytes.fromhex(image.sha256))
    return total.hexdigest()


def _from_table(folder: Path, table: Path) -> list[LabeledImage]:
    images = []
    with open(table, newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.reader(stream), start=1):
            if number == 1 and len(row) >= 2 and not row[1].strip().isdecimal():
                continue
            if len(row) < 2 or not row[1].strip().isdecimal():
                raise InputError(f"{table}:{number}: wanted file,class_index")
            if len(row[1].strip()) > _MOST_DIGITS:
                raise InputError(f"{table}:{number}: {row[1].strip()[:20]}... is no class index")
            try:
                path = file_inside(folder, row[0])
            except InputError as error:
                raise InputError(f"{table}:{number}: {error}") from error
            images.append(LabeledImage(row[0], path, int(row[1])))
    if not images:
        raise InputError(f"{table} lists no images")
    return images
