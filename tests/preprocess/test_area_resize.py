"""The integer area resize against OpenCV's and against exact means."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.preprocess.area_resize import area_resize, area_weights


@given(st.integers(1, 5000), st.data())
def test_weights_are_shares_that_add_up(size: int, data: st.DataObject) -> None:
    out = data.draw(st.integers(1, min(size, 600)))
    first, weights = area_weights(0, size, 1, out)
    assert (weights.sum(axis=1) == 1 << 14).all() and (weights >= 0).all()
    exact_start = np.arange(out) * size / out
    assert (first == np.floor(exact_start + 1e-9)).all()
    # Each weight is its exact share to within the rounding of two cumulative shares.
    taps = first[:, None] + np.arange(weights.shape[1])
    overlap = np.minimum(taps + 1, exact_start[:, None] + size / out) - np.maximum(taps, exact_start[:, None])
    assert np.abs(weights / 2**14 - np.clip(overlap, 0, None) * out / size).max() <= 2**-14 + 1e-9


@given(st.integers(1, 120), st.integers(1, 120), st.data())
def test_within_one_level_of_opencv(height: int, width: int, data: st.DataObject) -> None:
    out_height, out_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    frame = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    ours = area_resize(frame, out_width, out_height).astype(int)
    if (out_height, out_width) == (height, width):
        assert (ours == frame).all()
        return
    theirs = cv2.resize(frame, (out_width, out_height), interpolation=cv2.INTER_AREA)
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_flat_stays_flat(level: int) -> None:
    frame = np.full((97, 133, 3), level, np.uint8)
    assert (area_resize(frame, 50, 41) == level).all()


def test_large_frames(scene: NDArray[np.uint8]) -> None:
    large = np.asarray(cv2.resize(scene, (1920, 1080), interpolation=cv2.INTER_CUBIC), np.uint8)
    difference = area_resize(large, 224, 224).astype(int) - cv2.resize(large, (224, 224), interpolation=cv2.INTER_AREA)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.05
