"""Room, rounding that helps and margins: the native kernel equals the definition byte for byte, on each set."""

from dataclasses import replace

import numpy as np
import pytest
from dct.test_kernel import random_frame
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.dct.color import Color
from edgeguard.dct.integer_dct import forward_dct, quantize
from edgeguard.dct.native_kernel import empty_margins, instruction_sets, sanitize_native, tensor_native
from edgeguard.dct.numpy_kernel import sanitize_frame
from edgeguard.dct.planes import component_steps, components
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.dct.provable_rounding import effects
from edgeguard.dct.slack import MARGIN_UNIT, limits, provable, quantizer_margins, smallest_steps
from edgeguard.jpeg.blocks import pad_to_blocks, split_blocks
from edgeguard.preprocess.area_resize import area_resize

SETS = instruction_sets() or (pytest.param("none", marks=pytest.mark.skip(reason="the native kernel was not built")),)
PASSES: tuple[Pass, ...] = ("only", "first", "second")


def random_profile(rng: np.random.Generator, color: Color) -> GuardProfile:
    """Steps that a proof can live with, with any slack from almost none on; any room."""
    levels = int(rng.integers(1, 5))
    table = smallest_steps(levels, float(rng.uniform(0.05, 2)))
    if rng.integers(3) == 0:  # steep, or with a DC that no flat block keeps
        table = tuple(min(255, step + int(rng.integers(0, 90))) for step in table)
    room = int(rng.choice([0, 1, 16, 24, 64]))
    return GuardProfile("x", color, (table,), room=room, proof_levels=levels if rng.integers(4) else 0)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("color", ["rgb", "gray"])
@settings(max_examples=examples(60))
@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from(PASSES), st.integers(0, 2**32))
def test_same_bytes_as_the_definition(name: str, color: Color, height: int, width: int, which: Pass, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame, profile = random_frame(rng, height, width), random_profile(rng, color)
    assert (sanitize_native(frame, profile, name, which=which) == sanitize_frame(frame, profile, which)).all()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_same_bytes_on_pictures(name: str, levels: int, scenes: list[NDArray[np.uint8]]) -> None:
    profile = GuardProfile("x", "rgb", (smallest_steps(levels, 0.8),), room=16, proof_levels=levels)
    for scene in scenes[:2]:
        first = sanitize_frame(scene, profile, "first")
        assert (sanitize_native(scene, profile, name, which="first") == first).all()
        assert (sanitize_native(first, profile, name, which="second") == sanitize_frame(first, profile, "second")).all()


def _margins_of(frame: NDArray[np.uint8], profile: GuardProfile) -> NDArray[np.int32]:
    """By the definition, (channels, rows, columns)."""
    blocks = split_blocks(pad_to_blocks(components(frame, profile)))
    return np.moveaxis(quantizer_margins(forward_dct(blocks), component_steps(profile)), -1, 0)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=examples(80))
@given(st.sampled_from(["rgb", "gray"]), st.integers(1, 150), st.integers(1, 150), st.integers(0, 2**32))
def test_margins_are_the_definition_s(name: str, color: Color, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    profile = random_profile(rng, color)
    frame = sanitize_frame(random_frame(rng, height, width), profile, "first")
    margins = empty_margins(profile, width, height)
    out = sanitize_native(frame, profile, name, which="second", margins=margins)
    assert (out == sanitize_frame(frame, profile, "second")).all()
    assert (margins[:, :, : -(-width // 8)] == _margins_of(frame, profile)).all()


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=examples(40))
@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 2**32))
def test_the_fused_path_measures_the_blocks_under_the_crop(name: str, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    profile = random_profile(rng, "rgb")
    frame = sanitize_frame(random_frame(rng, height, width), profile, "first")
    crop = Box(int(rng.integers(0, width - 16)), int(rng.integers(0, height - 16)), 16, 16)
    left, top = crop.left // 8, crop.top // 8
    columns, rows = -(-(crop.left + 16) // 8) - left, -(-(crop.top + 16) // 8) - top
    margins, out = empty_margins(profile, columns * 8, rows * 8), np.empty((5, 7, 3), np.uint8)
    tensor_native(frame, profile, crop, out, instruction_set=name, which="second", margins=margins)
    sanitized = sanitize_frame(frame, profile, "second")
    part = sanitized[crop.top : crop.top + 16, crop.left : crop.left + 16]
    assert (out == area_resize(part, 7, 5)).all()
    expected = _margins_of(frame, profile)[:, top : top + rows, left : left + columns]
    assert (margins[:, :, :columns] == expected).all()


def _short(frame: NDArray[np.uint8], profile: GuardProfile) -> int:
    """Blocks with a residual beyond its limit at one level."""
    steps = component_steps(profile)
    found = forward_dct(split_blocks(components(frame, profile)))
    residuals = np.abs(found - 32 * quantize(found, steps) * steps)
    allowed = limits(steps[:, :, 0, 0, 0], 1)[:, :, None, None, None]
    return int((residuals > allowed).any(axis=(0, 1)).sum())


@pytest.mark.full
def test_few_blocks_stay_short_and_pass_2_is_the_same(scenes: list[NDArray[np.uint8]]) -> None:
    steps = smallest_steps(1, 1.0)
    nearest = GuardProfile("x", "rgb", (steps,), room=16)
    helped = GuardProfile("x", "rgb", (steps,), room=16, proof_levels=1)
    before, after = 0, 0
    for scene in scenes[:4]:
        one, other = sanitize_frame(scene, nearest, "first"), sanitize_frame(scene, helped, "first")
        before, after = before + _short(one, nearest), after + _short(other, helped)
        assert (sanitize_frame(one, nearest, "second") == sanitize_frame(other, helped, "second")).all()
        change = np.abs(one.astype(int) - other)
        assert 0 < change.mean() < 0.05 and change.max() <= 16
    assert before > 100 and after < before / 50


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_no_block_is_left_where_there_is_room(levels: int) -> None:
    """Whatever the picture: black and white noise clips in every block, and loses contrast until it does not."""
    noise = np.random.default_rng(levels).choice(np.array([0, 255], np.uint8), (64, 64, 3))
    profile = GuardProfile("x", "rgb", (smallest_steps(levels, 1.0),), room=16, proof_levels=levels)
    first = sanitize_frame(noise, profile, "first")
    steps = component_steps(profile)
    found = forward_dct(split_blocks(first))
    residuals = np.abs(found - 32 * quantize(found, steps) * steps)
    assert (residuals <= limits(steps[:, :, 0, 0, 0], levels)[:, :, None, None, None]).all()
    assert first.std() > 20  # it is not all grey
    plain = sanitize_frame(noise, replace(profile, proof_levels=0), "first")
    assert (plain.min(), plain.max()) == (0, 255)


@pytest.mark.parametrize("levels", [4, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 2))])
def test_limits_hold_for_the_worst_changes(levels: int) -> None:
    """No index changes where all residuals are within the limits: on the grid's edge, with the worst sign patterns."""
    rng = np.random.default_rng(levels)
    table = smallest_steps(levels, 0.9)
    profile, steps = GuardProfile("x", "gray", (table,), proof_levels=levels), np.array(table).reshape(8, 8, 1)
    raw = rng.integers(80, 176, (4000 * 8, 8, 1), dtype=np.uint8).repeat(3, axis=2)
    centers = sanitize_frame(raw, profile, "first")[:, :, 0].reshape(-1, 8, 8).transpose(1, 2, 0)
    found = forward_dct(centers)
    indices = quantize(found, steps)
    within = (np.abs(found - 32 * indices * steps) <= limits(steps[:, :, 0], levels)[:, :, None]).all(axis=(0, 1))
    certified = quantizer_margins(found, steps) >= levels * MARGIN_UNIT
    assert within.sum() > 1000 and not (certified & ~within).any()
    kept, kept_indices = centers[:, :, within].astype(int), indices[:, :, within]
    for pattern in np.sign(effects().T.reshape(64, 8, 8).astype(int)):
        for change in (levels * pattern, -levels * pattern):
            attacked = np.clip(kept + change[:, :, None], 0, 255).astype(np.uint8)
            assert (quantize(forward_dct(attacked), steps) == kept_indices).all()


def test_smallest_steps_are_provable_and_no_larger() -> None:
    for levels in (1, 2, 3, 4):
        table = smallest_steps(levels, 0)
        assert provable(table, levels) and table[0] % 8 == 0
        smaller = tuple(step - 1 for step in table)
        assert not provable(smaller, levels)
    with pytest.raises(ValueError, match="larger than 255"):
        smallest_steps(17, 0)
