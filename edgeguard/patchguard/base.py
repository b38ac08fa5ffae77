"""What a patch guard is."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Guarded:
    """What a patch guard made of an image.

    Attributes:
        image: what the model gets.
        suspect: bool (h, w), the pixels that were taken for a patch.
        alarm: the guard says that a patch is there; a result of this image should not be acted on.
    """

    image: Image
    suspect: NDArray[np.bool_]
    alarm: bool = False


class PatchGuard(Protocol):
    """A filter of the model's input, after crop and resize and before quantisation."""

    @property
    def name(self) -> str:
        """Its word on the command line (`--patch-guard`)."""
        ...

    def __call__(self, image: Image) -> Guarded:
        """uint8 (h, w, 3) RGB of the model's size."""
        ...
