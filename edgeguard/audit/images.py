"""The images that the checks work on: sound ones, small, with their classes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.entries import UnreadableMember, entries
from edgeguard.errors import InputError, JpegError
from edgeguard.train.data import decoded
from edgeguard_converters.training_data.scan import SUFFIXES, ScannedImage

SIDE = 32
_MOST_CLASSES = 5000  # a table of images and classes then takes 200 MB
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Sample:
    """Images of known classes.

    Attributes:
        names: below the data's folder.
        labels: names of the classes, in byte order.
        targets: (n,) places in `labels`.
        pixels: (n, 32, 32, 3) uint8: the centre square of each.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    targets: NDArray[np.int64]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: NDArray[np.int64]) -> "Sample":
        """Some of them."""
        return Sample(tuple(self.names[row] for row in rows), self.labels, self.targets[rows], self.pixels[rows])


def sample_of(
    path: Path,
    images: Sequence[ScannedImage],
    *,
    progress: Progress = lambda what, done, total: None,
) -> Sample:
    """The small pictures of the sound images that have a class.

    Raises:
        InputError: fewer than two classes, or too many.
    """
    wanted = [image for image in images if image.facts.fault is None and image.label is not None]
    there = {entry.name: entry for entry in entries(path, SUFFIXES, strict=True)}
    labels = tuple(sorted({str(image.label) for image in wanted}, key=str.encode))
    if len(labels) < 2:
        faults = [f"{image.name}: {image.facts.fault}" for image in images if image.facts.fault is not None]
        broken = f" ({len(faults)} of its images cannot be read, {faults[0]} for one)" if faults else ""
        raise InputError(
            f"{path} holds no classes: wanted a folder (or .zip) with a folder of images for each class{broken}"
        )
    if len(labels) > _MOST_CLASSES:
        raise InputError(
            f"{path} holds {len(labels)} classes; the audit compares at most {_MOST_CLASSES}: give it a part of them"
        )
    place = {label: index for index, label in enumerate(labels)}
    pixels = np.empty((len(wanted), SIDE, SIDE, 3), np.uint8)
    for row, image in enumerate(wanted):
        try:
            pixels[row] = decoded(there[image.name].read(), SIDE)
        except (JpegError, UnreadableMember, OSError, KeyError) as error:
            raise InputError(f"{path}: {image.name} changed while it was read") from error
        if row % 250 == 249:
            progress("pictures", row + 1, len(wanted))
    targets = np.array([place[str(image.label)] for image in wanted], np.int64)
    return Sample(tuple(image.name for image in wanted), labels, targets, pixels)


def balanced(sample: Sample, most: int, seed: int = 0) -> Sample:
    """At most so many images, as many of each class as there are, drawn with a fixed seed; in their old order."""
    if len(sample) <= most:
        return sample
    rng = np.random.default_rng([seed, 5])
    each = max(most // len(sample.labels), 1)
    rows = [rng.permutation(np.flatnonzero(sample.targets == target))[:each] for target in range(len(sample.labels))]
    return sample[np.sort(np.concatenate(rows))]


def tracks_of(sample: Sample) -> dict[str, list[int]]:
    """Rows by track: the images of one folder whose names share what stands before the last `_`, else one image."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(sample.names):
        path = PurePosixPath(name)
        before, sign, _ = path.stem.rpartition("_")
        found[f"{path.parent}/{before if sign else path.stem}"].append(row)
    return dict(found)


def track_numbers(sample: Sample) -> NDArray[np.int64]:
    """(n,) the number of each image's track."""
    found = np.empty(len(sample), np.int64)
    for number, rows in enumerate(tracks_of(sample).values()):
        found[rows] = number
    return found
