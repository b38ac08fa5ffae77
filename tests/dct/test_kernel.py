"""The native kernel equals the integer definition byte for byte, on each instruction set that runs here."""

import os

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.color import Color
from edgeguard.dct.dct_basis import DCT
from edgeguard.dct.native_kernel import INSTRUCTION_SETS, instruction_sets, load_library, sanitize_native, tensor_native
from edgeguard.dct.numpy_kernel import sanitize_frame
from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.preprocess.area_resize import area_resize

SETS = instruction_sets() or (pytest.param("none", marks=pytest.mark.skip(reason="the native kernel was not built")),)
COLORS: tuple[Color, ...] = ("rgb", "gray", "ycbcr444", "ycbcr422", "ycbcr420")
FD = GuardProfile.preset("fd")


def random_profile(rng: np.random.Generator, color: Color) -> GuardProfile:
    """Tables of any steps; some coarse, so that most coefficients vanish."""
    low, high = ((1, 256), (1, 30), (100, 256))[rng.integers(3)]
    tables = rng.integers(low, high, (1 if color == "gray" else 3, 64))
    return GuardProfile("x", color, tuple(tuple(table) for table in tables.tolist()))


def random_frame(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise, black and white, flat, smooth, or the patterns that drive the coefficients furthest."""
    shape = (height, width, 3)
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if kind == 1:
        return rng.choice(np.array([0, 255], np.uint8), shape)
    if kind == 2:
        return np.full(shape, rng.integers(0, 256, 3), np.uint8)
    if kind == 3:
        slope = np.add.outer(np.arange(height) * rng.normal(), np.arange(width) * rng.normal())
        return np.clip(slope[:, :, None] + rng.integers(0, 256, 3), 0, 255).astype(np.uint8)
    basis = np.outer(DCT[rng.integers(8)], DCT[rng.integers(8)]) * rng.choice([-1, 1])
    tiled = np.tile(np.where(basis > 0, 255, 0), (height // 8 + 1, width // 8 + 1))[:height, :width]
    return np.repeat(tiled[:, :, None], 3, axis=2).astype(np.uint8)


def test_built_where_it_must_be() -> None:
    if os.environ.get("EDGEGUARD_REQUIRE_NATIVE") == "1":
        assert instruction_sets(), "the native kernel was not built"
    assert set(instruction_sets()) <= set(INSTRUCTION_SETS)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("color", COLORS)
@settings(max_examples=examples(60))
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 2**32))
def test_same_bytes_as_the_definition(name: str, color: Color, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame, profile = random_frame(rng, height, width), random_profile(rng, color)
    assert (sanitize_native(frame, profile, name) == sanitize_frame(frame, profile)).all()


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=examples(150))
@given(st.sampled_from((None, *COLORS)), st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32), st.booleans())
def test_the_fused_path_is_the_definition_cropped_and_resized(
    name: str, color: Color | None, height: int, width: int, seed: int, signed: bool
) -> None:
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, height, width)
    profile = random_profile(rng, color) if color else None
    crop_width, crop_height = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
    crop = Box(
        int(rng.integers(0, width - crop_width + 1)), int(rng.integers(0, height - crop_height + 1)),
        crop_width, crop_height,
    )  # fmt: skip
    out_width, out_height = int(rng.integers(1, crop_width + 1)), int(rng.integers(1, crop_height + 1))
    if rng.integers(4) == 0:
        out_width, out_height = crop_width, crop_height
    guarded = np.zeros((out_height + 2, out_width + 2, 3), np.uint8)  # a border that has to stay
    tensor_native(frame, profile, crop, guarded[1:-1, 1:-1], signed=signed, instruction_set=name)
    sanitized = sanitize_frame(frame, profile) if profile else frame
    part = sanitized[crop.top : crop.top + crop_height, crop.left : crop.left + crop_width]
    expected = area_resize(part, out_width, out_height)
    assert (guarded[1:-1, 1:-1] == (expected ^ 0x80 if signed else expected)).all()
    guarded[1:-1, 1:-1] = 0
    assert not guarded.any()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("step", range(1, 256))
def test_each_step_divides_exactly(name: str, step: int) -> None:
    """Frames whose coefficients sweep the range, on and around ties of this step."""
    rng = np.random.default_rng(step)
    levels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(8, axis=1).repeat(8, axis=2)
    ramps = np.clip(levels.astype(int) + rng.integers(-60, 61, (256, 8, 8)), 0, 255).astype(np.uint8)
    frame = np.concatenate([levels, ramps]).reshape(-1, 8, 1).astype(np.uint8).repeat(3, axis=2)
    profile = GuardProfile("g", "gray", ((step,) * 64,))
    assert (sanitize_native(frame, profile, name) == sanitize_frame(frame, profile)).all()


def test_the_reciprocals_divide_exactly() -> None:
    """The proof by exhaustion that native/kernel.h refers to: every step, every value that can occur."""
    for step in range(1, 256):
        scaled = 16 * step
        k = scaled.bit_length() - 1 - (scaled & (scaled - 1) == 0)
        reciprocal, shift = -(-(2 ** (16 + k)) // scaled), 2 ** (16 - k)
        n = np.arange(32640 + 8 * step + 1, dtype=np.uint64)
        assert reciprocal < 2**16 and shift < 2**16
        assert ((((n * reciprocal) >> 16) * shift >> 16) == n // scaled).all(), step


@pytest.mark.parametrize("name", SETS)
def test_views_and_strides(name: str, scene: NDArray[np.uint8]) -> None:
    for view in (scene[::2], scene[10:-7, 5:-9], scene[::-1], scene[:, ::-1], scene[:, :, ::-1], scene[::3, ::2]):
        expected = sanitize_native(np.ascontiguousarray(view), FD, name)
        assert (sanitize_native(view, FD, name) == expected).all()


@pytest.mark.skipif(not instruction_sets(), reason="the native kernel was not built")
@pytest.mark.parametrize("crop", [Box(-1, 0, 8, 8), Box(0, 0, 9, 8), Box(1, 0, 8, 8), Box(0, 0, 3, 8)])
def test_impossible_crops_are_refused(crop: Box) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        tensor_native(np.zeros((8, 8, 3), np.uint8), FD, crop, np.zeros((4, 4, 3), np.uint8))


def test_numpy_serves_when_told(monkeypatch: pytest.MonkeyPatch, scene: NDArray[np.uint8]) -> None:
    expected = Sanitizer(FD)(scene)
    monkeypatch.setenv("EDGEGUARD_KERNEL", "numpy")
    load_library.cache_clear()
    instruction_sets.cache_clear()
    try:
        assert instruction_sets() == ()
        assert (Sanitizer(FD)(scene) == expected).all()
        with pytest.raises(RuntimeError, match="not installed"):
            sanitize_native(scene, FD)
    finally:
        load_library.cache_clear()
        instruction_sets.cache_clear()
