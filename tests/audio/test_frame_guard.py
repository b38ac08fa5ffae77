"""The certificate in one dimension, with the worst sign pattern of every coefficient."""

import numpy as np
import pytest
import scipy.fft
from audio.signals import noise, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.audio.frame_guard import FRAME, FrameGuard, basis, reach, whole_frames

STEP = 280


def _recorded(frames: int = 4) -> np.ndarray:
    return FrameGuard(STEP)(noise(frames * FRAME, level=2000.0))


def test_the_basis_is_scipys() -> None:
    x = noise(FRAME).astype(float)
    assert np.allclose(basis() @ x, scipy.fft.dct(x, type=2, norm="ortho"), atol=1e-9)
    assert np.allclose(reach(), np.abs(scipy.fft.dct(np.eye(FRAME), type=2, norm="ortho", axis=0)).sum(1))
    assert reach()[0] == pytest.approx(16)
    assert reach().max() <= 16 + 1e-9


def test_a_second_pass_changes_nothing() -> None:
    recorded = _recorded()
    assert np.array_equal(FrameGuard(STEP)(recorded), recorded)
    assert FrameGuard(STEP).made(recorded)
    assert not FrameGuard(STEP).made(noise(4 * FRAME))


def test_the_worst_sign_pattern_of_each_coefficient_is_removed() -> None:
    """512 patterns: for each coefficient the change that moves it furthest, up and down, at the budget."""
    guard, recorded = FrameGuard(STEP), _recorded(1)
    eps = guard.largest_proven
    assert eps == 8
    signs = np.where(basis() < 0, -1, 1)
    for pattern in (*signs, *-signs):
        assert np.array_equal(guard((recorded + eps * pattern).astype(np.int16)), recorded)


def test_beyond_the_budget_a_pattern_gets_through() -> None:
    guard, recorded = FrameGuard(STEP), _recorded(1)
    signs = np.where(basis() < 0, -1, 1)
    changed = [guard((recorded + 10 * pattern).astype(np.int16)) for pattern in (*signs, *-signs)]
    assert any(not np.array_equal(one, recorded) for one in changed)


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 4000), st.integers(0, 10**6), st.integers(0, 4000))
def test_what_is_proven_of_a_received_frame_holds(step: int, seed: int, level: int) -> None:
    """Of whatever arrived, not only of what pass 1 gives: random changes at the certified size, and the worst ones."""
    guard, received = FrameGuard(step), noise(FRAME, seed=seed, level=float(level))
    (eps,) = guard.proven(received)
    wanted = guard(received)
    rng = np.random.default_rng(seed)
    worst = np.where(basis()[rng.integers(0, FRAME, 8)] < 0, -1, 1)
    for pattern in (*worst, *-worst, *rng.choice([-1, 1], (8, FRAME))):
        assert np.array_equal(guard(np.clip(received + eps * pattern, -32768, 32767).astype(np.int16)), wanted)


def test_every_frame_of_pass_one_has_at_least_the_guards_budget() -> None:
    for step in (40, STEP, 1040):
        guard = FrameGuard(step)
        recorded = guard(noise(50 * FRAME, level=4000.0))
        assert guard.proven(recorded).min() >= guard.largest_proven


def test_the_step_for_a_budget() -> None:
    """step > 2 A eps, and the rounding to whole samples takes half a step more."""
    assert [FrameGuard(step).largest_proven for step in (32, 272, 273, 1040, 1041)] == [0, 7, 8, 31, 32]


def test_the_sound_is_still_there() -> None:
    samples = tone(500, 8 * FRAME)
    error = FrameGuard(STEP)(samples).astype(float) - samples
    assert 10 * np.log10((samples.astype(float) ** 2).sum() / (error**2).sum()) > 25
    assert whole_frames(8128) == 8192
    assert whole_frames(8192) == 8192
