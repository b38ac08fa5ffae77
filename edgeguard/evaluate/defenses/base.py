"""What a defense is: a defense that changes images before the model sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

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


@runtime_checkable
class Differentiable(Protocol):
    """A defense with a derivative of its own, which attacks that know it take instead of the identity."""

    def differentiable(self, levels: "Tensor") -> "Tensor":
        """float32 (n, 3, h, w) levels to the same, nearly what the defense gives; with a derivative."""
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
