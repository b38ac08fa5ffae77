"""What fine-tuning wants of whatever trains, in this process or in that of the model."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeguard_converters.load.source import Source

BATCH = 16  # images in a step of the optimizer


class Training(Protocol):
    """A classifier in training: shown its images, begun, then trained batch by batch.

    Attributes:
        identity: tells the model from any other.
    """

    @property
    def identity(self) -> str:
        """See the class."""

    def show(self, pixels: NDArray[np.uint8], targets: NDArray[np.int64]) -> None:
        """At most `BATCH` images to train with, before `begin`; what the float model says of them is noted.

        Args:
            pixels: sanitised images as the model sees them, (n, h, w, 3) of uint8.
            targets: raw output index of each, (n,) of int64.

        Raises:
            InputError: a label that the model has no output for.
        """

    def begin(self, state: bytes | None, epochs: int) -> int:
        """Take up what an interrupted training left.

        Args:
            state: what `state` gave; what does not fit counts for nothing.
            epochs: that are wanted.

        Returns:
            The epochs that are done already.
        """

    def train(self, epoch: int, batch: int) -> None:
        """One step of the optimizer: the batch of that number, in the order that the epoch's number gives."""

    def state(self, epochs: int) -> bytes:
        """What `begin` goes on from; `epochs` are done."""

    def tuned(self) -> Source:
        """A source with the trained weights."""
