"""How many poisoned training images each prediction of a partition ensemble provably survives."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.errors import InputError
from edgeguard.statistics import wilson
from edgeguard.train.codec_network import logits
from edgeguard.train.config import DataConfig
from edgeguard.train.data import Part, read_dataset
from edgeguard.train.partitions import load_partitions
from edgeguard_converters.training_data.scan import is_test

_BATCH = 500


@dataclass(frozen=True)
class PartitionCertificate:
    """What an ensemble's votes prove.

    Attributes:
        partitions: nets that voted.
        n: test images.
        correct: right answers of the vote.
        radii: (n,) images that may be added, removed or changed without a change of the prediction (a change counts
            twice, as one removed and one added); -1 where the prediction is wrong.
        images: what the test images are, in words.
    """

    partitions: int
    n: int
    correct: int
    radii: tuple[int, ...]
    images: str

    def certified(self, count: int) -> tuple[float, float, float]:
        """Share of the images whose right prediction survives `count` of them, and its 95 % interval."""
        hits = sum(radius >= count for radius in self.radii)
        return hits / self.n, *wilson(hits, self.n)

    @property
    def median(self) -> int:
        """The largest count that at least half of all test images survive; -1 for none."""
        return sorted(self.radii, reverse=True)[(self.n + 1) // 2 - 1]


def certify_partitions(
    folder: Path, images: Path, *, limit: int = 0, progress: Callable[[str, int, int], None] = lambda *_: None
) -> PartitionCertificate:
    """Let the nets of `train --partitions` vote on labelled images.

    Args:
        folder: of that training.
        images: class folders, or a .zip of them; the test part where there is one, else all.
        limit: images at most, classes balanced; 0 all.
        progress: called with what, nets done, nets in all.

    Raises:
        InputError: other classes than those of the training, or files that cannot be read.
    """
    note, nets = load_partitions(folder)
    size = int(str(note["size"]))
    dataset = read_dataset(DataConfig(data=str(images), limit=limit), size=size, seed=0)
    if list(dataset.labels) != note["labels"]:
        raise InputError(f"{images} has other classes than {folder}: {', '.join(dataset.labels[:6])}...")
    part = dataset.test if all(map(is_test, dataset.test.names)) else _joined(dataset.train, dataset.test)
    votes = np.zeros((len(part), len(dataset.labels)), np.int64)
    for number, net in enumerate(nets):
        votes[np.arange(len(part)), _answers(net, part, size)] += 1
        progress("nets", number + 1, len(nets))
    radii, right = certified_radii(votes, part.targets)
    said = f"{len(part)} test images of {len(dataset.labels)} classes, {part.coding}"
    return PartitionCertificate(len(nets), len(part), int(right.sum()), tuple(radii.tolist()), said)


def _joined(first: Part, second: Part) -> Part:
    """A folder of test images alone has no parts: all of them count."""
    images = np.concatenate([np.asarray(first.images), np.asarray(second.images)])
    targets = np.concatenate([first.targets, second.targets])
    qualities = dict(Counter(first.qualities) + Counter(second.qualities))
    return Part(images, targets, first.file_bytes + second.file_bytes, qualities, first.names + second.names)


def certified_radii(
    votes: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many poisoned images each right vote survives (Levine and Feizi 2021, theorem 1); -1 for wrong ones.

    Ties go to the class with the lower index, so that a runner-up with a lower index needs one vote less.

    Args:
        votes: (n, classes) counts.
        targets: (n,).

    Returns:
        Radii, and which votes are right.

    Example:
        >>> certified_radii(np.array([[7, 2, 1]]), np.array([0]))[0].tolist()
        [2]
    """
    rows = np.arange(len(votes))
    winner = votes.argmax(1)  # the first of equal ones
    margins = votes[rows, winner][:, None] - votes - (np.arange(votes.shape[1]) < winner[:, None])
    margins[rows, winner] = np.iinfo(np.int64).max
    radii = margins.min(1) // 2
    right = winner == targets
    return np.where(right, radii, -1), right


def _answers(net: torch.nn.Module, part: Part, size: int) -> NDArray[np.int64]:
    found = []
    with torch.inference_mode():
        for start in range(0, len(part), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(part)))
            found.append(logits(net, to_levels(part.pixels(rows, size)), False).argmax(1).numpy())
    return np.concatenate(found)
