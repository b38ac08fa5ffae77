"""From a frame to the model's input: crop, area resize, quantise. One definition for device, calibration and gates."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import SIGN, Box

_LUMA = np.array([19595, 38470, 7471], np.uint32)  # .299, .587, .114 in 65536ths
LETTERBOX_LEVEL = 114  # the grey that YOLO's training code pads with; any constant would do, it has to be written down


class InputSpec(Protocol):
    """The part of a contract's `input` that is needed here."""

    @property
    def width(self) -> int:
        """Of the model's input, pixels."""

    @property
    def height(self) -> int:
        """Of the model's input, pixels."""

    @property
    def dtype(self) -> str:
        """Of the input tensor: `uint8`, `int8` or `float32`."""

    @property
    def color(self) -> str:
        """What the channels are: `RGB`, `GRAY`, or `DCT` for quantised coefficients."""


class PreprocessSpec(Protocol):
    """The part of a contract's `preprocess` that is needed here."""

    @property
    def crop(self) -> str:
        """How a frame is fitted to the input: `center`, `letterbox` or `none`."""

    @property
    def crop_fraction(self) -> float:
        """Share of the largest centred rectangle's sides that `center` keeps, above 0 and at most 1."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Subtracted from each channel's levels, in 0..255 units."""

    @property
    def std(self) -> tuple[float, ...]:
        """What the difference is divided by, for each channel, in 0..255 units."""


class GuardSpec(Protocol):
    """The part of a contract's `guard` that is needed here."""

    @property
    def place(self) -> str:
        """Where pass 2 runs: `frame`, `input`, `in-graph` or `none`."""


class ContractSpec(Protocol):
    """What `Sanitizer.tensor` reads of a contract (`edgeguard.model.Contract` is one)."""

    @property
    def input(self) -> InputSpec:
        """The model's input tensor."""

    @property
    def preprocess(self) -> PreprocessSpec:
        """How a frame becomes that tensor."""

    @property
    def guard(self) -> GuardSpec:
        """What filters frames in front of the model."""


@dataclass(frozen=True)
class Placement:
    """Which part of a frame becomes which part of the model's input; what is left of the input is grey."""

    source: Box
    target: Box

    def shrinks_at(self, scale: int) -> bool:
        """True when neither side grows from a frame decoded at 1/scale: the area resize applies."""
        return self.source.width >= scale * self.target.width and self.source.height >= scale * self.target.height


def place(width: int, height: int, input_: InputSpec, preprocess: PreprocessSpec) -> Placement:
    """Where a frame of this size goes.

    `center` keeps the largest centred rectangle of the model's aspect, shrunk by `crop_fraction`; `letterbox` scales
    the whole frame and pads with grey; `none` stretches the whole frame.
    """
    whole, model = Box(0, 0, width, height), Box(0, 0, input_.width, input_.height)
    if preprocess.crop == "letterbox":
        scale = min(model.width / width, model.height / height)
        inner_width = min(max(round(width * scale), 1), model.width)
        inner_height = min(max(round(height * scale), 1), model.height)
        left, top = (model.width - inner_width) // 2, (model.height - inner_height) // 2
        return Placement(whole, Box(left, top, inner_width, inner_height))
    if preprocess.crop == "center":
        scale = min(width / model.width, height / model.height) * preprocess.crop_fraction
        crop_width, crop_height = max(round(model.width * scale), 1), max(round(model.height * scale), 1)
        return Placement(Box((width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height), model)
    return Placement(whole, model)


def canvas(input_: InputSpec, signed: bool = False) -> NDArray[np.uint8]:
    """An input of the model filled with grey, (h, w, 3); `signed`: the bytes of int8 levels minus 128."""
    level = LETTERBOX_LEVEL ^ SIGN if signed else LETTERBOX_LEVEL
    return np.full((input_.height, input_.width, 3), level, dtype=np.uint8)


def gray_levels(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma (ITU-R BT.601, in 16-bit integers, the nearest level) of HxWx3 levels: HxWx1.

    Example:
        >>> gray_levels(np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8)).ravel().tolist()
        [255, 76]
    """
    return ((rgb.astype(np.uint32) @ _LUMA + 0x8000) >> 16).astype(np.uint8)[..., None]


def quantize_input(pixels: NDArray[np.uint8], input_: InputSpec, preprocess: PreprocessSpec) -> NDArray[np.generic]:
    """Levels HxWxC to the model's tensor (1, H, W, C): levels as they are for uint8, minus 128 for int8,
    `(level - mean) / std` for float32. C is 3, or 64 for coefficients, which share one mean and one std. Three channels
    become one (luma) for a gray input."""
    batch = gray_levels(pixels)[None] if input_.color == "GRAY" and pixels.shape[-1] == 3 else pixels[None]
    if input_.dtype == "uint8":
        return batch
    if input_.dtype == "int8":
        return (batch ^ np.uint8(SIGN)).view(np.int8)  # the level minus 128
    channels = 3 if batch.shape[-1] == 3 else 1
    mean, std = (np.array(values[:channels], np.float32) for values in (preprocess.mean, preprocess.std))
    return ((batch.astype(np.float32) - mean) / std).astype(np.float32)
