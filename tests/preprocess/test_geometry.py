from dataclasses import replace

import cv2
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.model import Contract, ContractGuard, InputSpec, Preprocess
from edgeguard.model.contract import Crop, Place
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.geometry import LETTERBOX_LEVEL, quantize_input


def test_center_crop_is_the_largest_square_times_the_fraction(scene: NDArray[np.uint8]) -> None:
    out = crop_and_resize(scene, InputSpec(105, 105), Preprocess())
    side = 210  # 0.875 of 240
    expected = cv2.resize(scene[15 : 15 + side, 55 : 55 + side], (105, 105), interpolation=cv2.INTER_AREA)
    assert np.abs(out.astype(int) - expected).max() <= 1


def test_letterbox_keeps_everything(scene: NDArray[np.uint8]) -> None:
    out = crop_and_resize(scene, InputSpec(160, 160), Preprocess(crop="letterbox"))
    assert (out[:20] == LETTERBOX_LEVEL).all() and (out[-20:] == LETTERBOX_LEVEL).all()
    assert np.abs(out[20:140].astype(int) - cv2.resize(scene, (160, 120), interpolation=cv2.INTER_AREA)).max() <= 1


def test_none_stretches(scene: NDArray[np.uint8]) -> None:
    out = crop_and_resize(scene, InputSpec(64, 64), Preprocess(crop="none"))
    assert np.abs(out.astype(int) - cv2.resize(scene, (64, 64), interpolation=cv2.INTER_AREA)).max() <= 1


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(8, 64), st.integers(8, 64),
    st.sampled_from(["center", "letterbox", "none"]), st.floats(0.01, 1),
)  # fmt: skip
def test_any_frame_gives_the_models_size(h: int, w: int, out_h: int, out_w: int, crop: Crop, fraction: float) -> None:
    out = crop_and_resize(
        np.zeros((h, w, 3), np.uint8),
        InputSpec(out_w, out_h),
        Preprocess(crop=crop, crop_fraction=fraction),
    )
    assert out.shape == (out_h, out_w, 3)


def test_quantise_input() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    preprocess = Preprocess(mean=(100.0, 0.0, 127.5), std=(50.0, 255.0, 127.5))
    assert (quantize_input(pixels, InputSpec(16, 16, "uint8"), preprocess)[0] == pixels).all()
    as_int8 = quantize_input(pixels, InputSpec(16, 16, "int8"), preprocess)
    assert as_int8.dtype == np.int8 and (as_int8[0].astype(int) == pixels.astype(int) - 128).all()
    as_float = quantize_input(pixels, InputSpec(16, 16, "float32"), preprocess)
    assert np.allclose(as_float[0], (pixels - [100, 0, 127.5]) / [50, 255, 127.5], atol=1e-6)


@pytest.mark.parametrize("place", ["frame", "input"])
def test_tensor_follows_the_contracts_order(scene: NDArray[np.uint8], place: Place) -> None:
    profile = GuardProfile.preset("fd")
    contract = Contract(InputSpec(64, 64), guard=ContractGuard(profile, place))
    sanitizer = Sanitizer(profile)
    resize = lambda frame: crop_and_resize(frame, contract.input, contract.preprocess)  # noqa: E731
    expected = resize(sanitizer(scene)) if place == "frame" else sanitizer(resize(scene))
    assert (sanitizer.tensor(scene, contract)[0] == expected).all()
    as_int8 = replace(contract, input=InputSpec(64, 64, "int8"))
    assert (sanitizer.tensor(scene, as_int8)[0].astype(int) + 128 == expected).all()
