"""The native kernel equals the integer definition byte for byte, on each instruction set that runs here."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.guard.kernel import INSTRUCTION_SETS, instruction_sets, sanitize_native

SETS = instruction_sets() or (pytest.param("none", marks=pytest.mark.skip(reason="the native kernel was not built")),)
TABLES = st.lists(st.integers(1, 255), min_size=64, max_size=64).map(tuple)


def test_built_where_it_must_be() -> None:
    if os.environ.get("EDGEGUARD_REQUIRE_NATIVE") == "1":
        assert instruction_sets(), "the native kernel was not built"
    assert set(instruction_sets()) <= set(INSTRUCTION_SETS)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 70), st.tuples(TABLES, TABLES, TABLES),
    st.sampled_from(["noise", "binary", "flat"]), st.sampled_from([1, 3]), st.integers(0, 9999),
)  # fmt: skip
def test_same_bytes_as_the_definition(
    name: str, height: int, width: int, tables: tuple[tuple[int, ...], ...], kind: str, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (height, width, channels)
    planes = {
        "noise": lambda: rng.integers(0, 256, shape, dtype=np.uint8),
        "binary": lambda: rng.choice(np.array([0, 255], np.uint8), shape),
        "flat": lambda: np.full(shape, rng.integers(0, 256, channels), np.uint8),
    }[kind]()
    profile = GuardProfile("x", "rgb" if channels == 3 else "gray", tables if channels == 3 else tables[:1])
    assert (sanitize_native(planes, tables, name) == Sanitizer(profile)._sanitize_numpy(planes)).all()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("step", range(1, 256))
def test_each_step_divides_exactly(name: str, step: int) -> None:
    """Frames whose coefficients sweep the range, on and around ties of this step."""
    rng = np.random.default_rng(step)
    levels = np.arange(256, dtype=np.uint8)[:, None, None].repeat(8, axis=1).repeat(8, axis=2)
    ramps = np.clip(levels.astype(int) + rng.integers(-60, 61, (256, 8, 8)), 0, 255).astype(np.uint8)
    blocks = np.concatenate([levels, ramps]).reshape(-1, 8, 1).astype(np.uint8)
    tables = ((step,) * 64,)
    ours = sanitize_native(blocks, tables, name)
    assert (ours == Sanitizer(GuardProfile("g", "gray", tables))._sanitize_numpy(blocks)).all()


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
    tables = GuardProfile.preset("fd").component_tables
    for view in (scene[::2], scene[10:-7, 5:-9], scene[::-1], scene[:, ::-1], scene[:, :, ::-1], scene[::3, ::2]):
        expected = sanitize_native(np.ascontiguousarray(view), tables, name)
        assert (sanitize_native(view, tables, name) == expected).all()


def test_numpy_serves_when_told(monkeypatch: pytest.MonkeyPatch, scene: NDArray[np.uint8]) -> None:
    from edgeguard.guard import kernel

    expected = Sanitizer(GuardProfile.preset("fd"))(scene)
    monkeypatch.setenv("EDGEGUARD_KERNEL", "numpy")
    kernel._library.cache_clear()
    try:
        assert instruction_sets() == ()
        assert (Sanitizer(GuardProfile.preset("fd"))(scene) == expected).all()
        with pytest.raises(RuntimeError, match="not installed"):
            sanitize_native(scene, GuardProfile.preset("fd").component_tables)
    finally:
        kernel._library.cache_clear()
