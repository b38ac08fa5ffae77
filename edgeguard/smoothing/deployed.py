"""The deployed file as a function of pixels: what is smoothed, guard, crop, resize and quantizer included."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.guard.passes import Received
from edgeguard.model.contract import require_classifier, require_pixels
from edgeguard.model.input_path import InputPath
from edgeguard.model.interpreter import Model

#: Where the noise is added: to the received frame's pixels, or to the levels that the model gets.
NoisePlace = Literal["frame", "input"]


class DeployedFunction:
    """Pixels to the model's class, always the same for the same pixels.

    At the place `frame` everything behind the decoder is inside: the guard's pass 2, region, crop, resize, patch guard,
    quantizer, graph. At `input` only quantizer and graph are.

    Args:
        model: a classifier of pixels.
        path: its way in.
        place: where the noise is added.

    Raises:
        InputError: the model is no classifier, or it reads coefficients.
    """

    def __init__(self, model: Model, path: InputPath, place: NoisePlace = "frame") -> None:
        require_classifier(model.contract, "randomized smoothing")
        require_pixels(model.contract, "randomized smoothing")
        self._model, self._path, self._place = model, path, place

    def pixels(self, received: Received) -> NDArray[np.uint8]:
        """What the noise is added to, uint8 (h, w, 3): a JPEG's decoded pixels at the place `frame`.

        Raises:
            JpegError: the received bytes do not decode.
        """
        return received.decode() if self._place == "frame" else self._path.levels(received)[0]

    def of(self, received: Received) -> "_OfPixels":
        """The function for pixels that stand for those of a received frame."""
        return _OfPixels(self._model, self._path, self._place, received)


class _OfPixels:
    """See `DeployedFunction.of`: a class that can be asked."""

    def __init__(self, model: Model, path: InputPath, place: NoisePlace, received: Received) -> None:
        self._model, self._path, self._place, self._received = model, path, place, received

    def __call__(self, pixels: NDArray[np.uint8]) -> int:
        """uint8 (h, w, 3) to a class index (the raw output's)."""
        if self._place == "frame":
            shown = replace(self._received, jpeg=None, png=None, rgb=pixels)
            tensor = self._path(shown).tensor
        else:
            tensor = self._path.quantize(pixels)
        outputs = self._model.infer(tensor)
        if not np.isfinite(outputs).all():
            raise InputError("not all scores of the model are finite numbers: no class can be counted")
        return int(outputs.argmax())
