"""What a defense is: a defence that changes images before the model sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  #: HxWx3, RGB


class Defense(Protocol):
    """A defence by transformation of the input; the same seed gives the same picture."""

    @property
    def name(self) -> str: ...

    @property
    def randomized(self) -> bool: ...

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """uint8 HxWx3 in and out."""
        ...


@dataclass(frozen=True)
class Fixed:
    """A transformation without randomness."""

    name: str
    transform: Callable[[Image], Image]
    randomized: bool = False

    def __call__(self, image: Image, seed: int = 0) -> Image:
        """See `Defense`."""
        return self.transform(image)
