"""From a frame to the model's input: crop, area resize, quantise. One definition for device, calibration and gates."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LETTERBOX_LEVEL = 114  # the grey that YOLO's training code pads with; any constant would do, it has to be written down


class InputSpec(Protocol):
    """The part of a contract's `input` that is needed here."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def dtype(self) -> str: ...


class PreprocessSpec(Protocol):
    """The part of a contract's `preprocess` that is needed here."""

    @property
    def crop(self) -> str: ...
    @property
    def crop_fraction(self) -> float: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


class GuardSpec(Protocol):
    """The part of a contract's `guard` that is needed here."""

    @property
    def place(self) -> str: ...


class ContractSpec(Protocol):
    """What `Sanitizer.tensor` reads of a contract (`edgeguard.model.Contract` is one)."""

    @property
    def input(self) -> InputSpec: ...
    @property
    def preprocess(self) -> PreprocessSpec: ...
    @property
    def guard(self) -> GuardSpec: ...


def crop_and_resize(frame: NDArray[np.uint8], input_: InputSpec, preprocess: PreprocessSpec) -> NDArray[np.uint8]:
    """Crop and area-resize an HxWx3 frame to the model's size.

    `center` keeps the largest centred rectangle of the model's aspect, shrunk by `crop_fraction`; `letterbox` scales
    the whole frame and pads with grey; `none` stretches the whole frame.
    """
    width, height = input_.width, input_.height
    if preprocess.crop == "letterbox":
        return _letterbox(frame, width, height)
    if preprocess.crop == "center":
        frame = _center_crop(frame, width, height, preprocess.crop_fraction)
    return _resize(frame, width, height)


def quantise_input(pixels: NDArray[np.uint8], input_: InputSpec, preprocess: PreprocessSpec) -> NDArray[np.generic]:
    """Pixels HxWx3 to the model's tensor (1, H, W, 3): levels as they are for uint8, minus 128 for int8,
    `(pixel - mean) / std` for float32."""
    batch = pixels[None]
    if input_.dtype == "uint8":
        return batch
    if input_.dtype == "int8":
        return (batch.astype(np.int16) - 128).astype(np.int8)
    mean, std = np.array(preprocess.mean, np.float32), np.array(preprocess.std, np.float32)
    return ((batch.astype(np.float32) - mean) / std).astype(np.float32)


def _resize(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import cv2

    resized = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def _center_crop(frame: NDArray[np.uint8], width: int, height: int, fraction: float) -> NDArray[np.uint8]:
    frame_height, frame_width = frame.shape[:2]
    scale = min(frame_width / width, frame_height / height) * fraction
    crop_width, crop_height = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = (frame_width - crop_width) // 2, (frame_height - crop_height) // 2
    return frame[top : top + crop_height, left : left + crop_width]


def _letterbox(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    scale = min(width / frame.shape[1], height / frame.shape[0])
    inner_width = min(max(round(frame.shape[1] * scale), 1), width)
    inner_height = min(max(round(frame.shape[0] * scale), 1), height)
    canvas = np.full((height, width, 3), LETTERBOX_LEVEL, dtype=np.uint8)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    canvas[top : top + inner_height, left : left + inner_width] = _resize(frame, inner_width, inner_height)
    return canvas
