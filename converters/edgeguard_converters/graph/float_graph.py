"""The float graph that a trained model becomes, before anything is quantized."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard_converters.graph.cleanup import mend_dead_filters, normalized_tensor
from edgeguard_converters.graph.normalization import Normalization
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph


@dataclass(frozen=True)
class FloatGraph:
    """A float .tflite on disk with the domain of its input (1, h, w, 3), float32.

    Attributes:
        path: the file, which stays as it is.
        normalization: what stands between pixels 0..255 and the trained network.
        low, high: what pixel 0 and pixel 255 become at the graph's input.
        normalized: the name of the tensor behind a normalization inside the graph, or None.
    """

    path: Path
    normalization: Normalization
    low: float
    high: float
    normalized: str | None = None

    @cached_property
    def tflite(self) -> TfliteGraph:
        """The file, read once."""
        return TfliteGraph(self.path.read_bytes())

    def __getstate__(self) -> dict[str, Any]:
        """Between processes only the path travels, not what was read of it."""
        return {name: value for name, value in self.__dict__.items() if name != "tflite"}

    def known_range(self) -> tuple[float, float]:
        """What the normalization makes of pixels 0..255, over all channels."""
        ends = self.normalization.apply(np.array([[[0] * 3, [255] * 3]], np.uint8))
        return float(ends.min()), float(ends.max())

    def feed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels (n, h, w, 3) to the graph's float input."""
        if self.normalization.is_uniform:
            return self.normalization.apply(pixels)
        return pixels.astype(np.float32)

    def outputs(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Its outputs for images (n, h, w, 3) of uint8, one float32 array (n, ...) for each.

        Raises:
            ValueError, RuntimeError: the runtime refuses the graph or the images.
        """
        return self.tflite.outputs(pixels, self.feed)

    def mended(self) -> tuple["FloatGraph", int]:
        """A graph beside it that int8 can hold (see `cleanup.mend_dead_filters`), and how many filters were dead."""
        mended, count = mend_dead_filters(self.tflite)
        if not count:
            return self, 0
        path = self.path.with_name("mended.tflite")
        path.write_bytes(mended.data)
        return FloatGraph(path, self.normalization, self.low, self.high, self.normalized), count


def float_graph(path: Path, normalization: Normalization) -> FloatGraph:
    """A cleaned float .tflite with what is known of its input's domain."""
    if not normalization.is_uniform:
        return FloatGraph(path, normalization, 0.0, 255.0, normalized_tensor(TfliteGraph(path.read_bytes())))
    low, high = ((p - normalization.mean[0]) / normalization.std[0] for p in (0, 255))
    return FloatGraph(path, normalization, low, high)
