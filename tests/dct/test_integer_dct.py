"""The integer definition against the float64 oracle, and its own arithmetic limits."""

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeguard.dct import integer_dct as integer
from edgeguard.dct.dct_basis import DCT, coefficients, quantize
from edgeguard.jpeg.tables import as_array, corner_table


def _extreme_blocks() -> np.ndarray:
    """For each coefficient the two sign patterns that drive it furthest, and mixtures; (8, 8, n)."""
    patterns = []
    for u in range(8):
        for v in range(8):
            basis = np.outer(DCT[u], DCT[v])
            patterns += [np.where(basis > 0, 255, 0), np.where(basis > 0, 0, 255)]
    rng = np.random.default_rng(0)
    patterns += list(rng.choice([0, 255], (2000, 8, 8)))
    patterns += list(rng.integers(0, 256, (2000, 8, 8)))
    patterns += [np.full((8, 8), level) for level in (0, 1, 127, 128, 254, 255)]
    return np.stack(patterns, axis=-1).astype(np.uint8)


def test_error_bound_holds_at_the_extremes() -> None:
    blocks = _extreme_blocks()
    error = np.abs(integer.forward_dct(blocks) / integer.COEFFICIENT_SCALE - coefficients(blocks))
    bound = integer.coefficient_error_bound()
    assert (error.max(axis=-1) <= bound).all()
    assert bound[0, 0] == 0 or bound[0, 0] < 0.07
    assert bound.max() < 0.75


def test_error_bound_is_not_idle() -> None:
    """The bound is a worst case, but not a multiple of what really happens."""
    blocks = _extreme_blocks()
    error = np.abs(integer.forward_dct(blocks) / integer.COEFFICIENT_SCALE - coefficients(blocks))
    assert error.max() > 0.2 * integer.coefficient_error_bound().max()


def test_dc_is_exact() -> None:
    blocks = _extreme_blocks()
    total = blocks.astype(np.int64).sum(axis=(0, 1))
    assert (integer.forward_dct(blocks)[0, 0] == total * 4).all()


@pytest.mark.parametrize("step", [1, 8, 32, 128, 255])
def test_no_value_leaves_int16(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a 16-bit lane has to hold fits: operands of each product, sums before halving, results."""
    largest = [0]
    real_mul, real_half = integer.mul, integer._half

    def spy_mul(value: np.ndarray, constant: int) -> np.ndarray:
        largest[0] = max(largest[0], int(value.max()), -int(value.min()) - 1)
        return real_mul(value, constant)

    def spy_half(value: np.ndarray) -> np.ndarray:
        largest[0] = max(largest[0], int(value.max()), -int(value.min()) - 1)
        return real_half(value)

    monkeypatch.setattr(integer, "mul", spy_mul)
    monkeypatch.setattr(integer, "_half", spy_half)
    steps = np.full((8, 8, 1), step, np.int32)
    blocks = _extreme_blocks()
    coefficients = integer.forward_dct(blocks)
    assert np.abs(coefficients.reshape(64, -1)[1:]).max() < 2**15 and coefficients[0, 0].min() >= 0
    assert coefficients[0, 0].max() < 2**16
    integer.inverse_dct(integer.quantize(coefficients, steps), steps)
    assert largest[0] < 2**15


@given(hnp.arrays(np.int32, (8, 8, 5), elements=st.integers(-32768, 32767)), st.integers(1, 255))
def test_quantiser_rounds_half_away_exactly(coefficients: np.ndarray, step: int) -> None:
    """Oracle: exact rational arithmetic."""
    from fractions import Fraction

    found = integer.quantize(coefficients, np.full((8, 8, 1), step, np.int32))
    for value, index in zip(coefficients.ravel()[:40], found.ravel()[:40], strict=True):
        exact = Fraction(int(value), 32 * step)
        magnitude = int(abs(exact) + Fraction(1, 2))
        assert index == (magnitude if exact >= 0 else -magnitude)


@settings(max_examples=examples(60))
@given(
    hnp.arrays(np.uint8, (8, 8, 40)),
    st.lists(st.integers(1, 255), min_size=64, max_size=64),
)
def test_indices_differ_from_the_oracle_only_near_ties(blocks: np.ndarray, table: list[int]) -> None:
    steps = np.array(table, np.int32).reshape(8, 8, 1)
    exact = coefficients(blocks)
    ours = integer.quantize(integer.forward_dct(blocks), steps)
    theirs = quantize(exact, steps)
    from_tie = np.abs(np.abs(exact / steps - np.floor(exact / steps)) - 0.5) * steps
    near = from_tie <= integer.coefficient_error_bound()[:, :, None] + 1e-6
    assert not ((ours != theirs) & ~near).any()


@pytest.mark.parametrize("level", range(0, 256, 3))
def test_flat_blocks_keep_levels_that_the_dc_step_holds(level: int) -> None:
    steps = as_array(corner_table(24, 32))[:, :, None]
    block = np.full((8, 8, 1), level, np.uint8)
    assert (integer.sanitize_blocks(block, steps) == level).all()  # multiples of 24 / 8 = 3 levels
