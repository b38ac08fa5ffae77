"""What a defense is: a defense that changes images before the model sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  #: HxWx3, RGB


class Defense(Protocol):
    """A defense by transformation of the input; the same seed gives the same picture."""

    @property
    def name(self) -> str:
        """As protocols name it."""
        ...

    @property
    def randomized(self) -> bool:
        """True where another seed gives another picture: attacks then take the mean over many draws."""
        ...

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """A picture as the defense leaves it.

        Args:
            image: uint8 (height, width, 3), RGB; it is not changed.
            seed: of what is drawn.

        Returns:
            uint8 (height, width, 3), the same size.
        """
        ...


@dataclass(frozen=True)
class Fixed:
    """A transformation without randomness.

    Attributes:
        name: as protocols name it.
        transform: uint8 (height, width, 3) to the same.
        randomized: False.
    """

    name: str
    transform: Callable[[Image], Image]
    randomized: bool = False

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        return self.transform(image)
