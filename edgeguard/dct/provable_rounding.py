"""Rounding of pass 1 that helps the proof: few pixels go to the next level but one, so that no residual is too long.

Pass 1 stores whole levels, which leaves residuals of about .3 in each coefficient; the longest of a block decides about
its certificate. Where one is too long, pixels are changed by one level, one after the other: each time the pixel that
lowers the sum of the squared excesses most, among those that shorten the worst residual. Pass 2 finds the same indices
either way.

Where that is not enough, because the block's pixels leave 0..255 and are clipped, its contrast is lowered by eighths
until it is: at the end it is flat, and a flat block has no residual. Integers only: the native kernel gives the same
bytes.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import DCT
from edgeguard.dct.integer_dct import Int, forward_dct, inverse_dct, mul, quantize

MAX_CHANGES = 16
#: Units of a residual here: 1/1024 coefficient.
_SCALE_BITS = 10
_KERNEL_SHIFT = 5  # from 1/32
#: Residuals from here on (28 coefficient units) are no rounding's: the block clips, and is left as it is.
_HOPELESS = 896
#: Aimed at beyond the limit: the integer DCT of the changed pixels differs from the sum of its parts.
_AIM_BELOW = 1 << _SCALE_BITS - 3
#: Excesses count in 1/64, and saturate: 16-bit lanes hold a square, and their saturating sum.
_EXCESS_SHIFT, _LARGEST_EXCESS, _LARGEST_COST = 4, 181, 32767


@cache
def effects() -> NDArray[np.int16]:
    """What a level more in a pixel does to each coefficient, (64 pixels, 64 coefficients), both in natural order."""
    exact = np.einsum("ui,vj->ijuv", DCT, DCT).reshape(64, 64)
    return np.rint(exact * 2**_SCALE_BITS).astype(np.int16)


def provable_pixels(coefficients: Int, steps: Int, limit: Int) -> NDArray[np.uint8]:
    """Quantise and round blocks so that their residuals are within the limit, with as much contrast as that leaves.

    Args:
        coefficients: `forward_dct`'s with the profile's room, (8, 8, ...).
        steps: (8, 8), broadcasting against them.
        limit: `slack.limits`, (8, 8) with the axes of `steps`.

    Returns:
        uint8, the shape of the coefficients: pixels of pass 1.
    """
    shape = coefficients.shape
    flat = coefficients.reshape(8, 8, -1)
    step, allowed = (np.broadcast_to(array, shape).reshape(8, 8, -1) for array in (steps, limit))
    out, good = _attempt(flat, step, allowed)
    for eighths in range(7, -1, -1):
        bad = np.flatnonzero(~good)
        if not bad.size:
            break
        lowered = mul(flat[:, :, bad], 4096 * eighths)
        lowered[0, 0] = flat[0, 0, bad]
        pixels, fits = _attempt(lowered, step[:, :, bad], allowed[:, :, bad])
        out[:, :, bad[fits]], good[bad[fits]] = pixels[:, :, fits], True
    return out.reshape(shape)


def _attempt(coefficients: Int, steps: Int, allowed: Int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels, and which blocks are within the limit."""
    indices = quantize(coefficients, steps)
    pixels = round_provably(inverse_dct(indices, steps), indices, steps, allowed)
    beyond = _is_beyond(_residuals(pixels, indices, steps), allowed.reshape(64, -1))
    return pixels, np.asarray(~beyond.any(axis=0))


def _residuals(pixels: NDArray[np.uint8], indices: Int, steps: Int) -> NDArray[np.int16]:
    """Of each block, (64, blocks), 1/32 coefficient; modulo 2**16, as 16-bit lanes hold them."""
    return (forward_dct(pixels) - 32 * indices * steps).astype(np.int16).reshape(64, -1)


def _is_beyond(residuals: NDArray[np.int16], allowed: Int) -> NDArray[np.bool_]:
    return np.asarray(np.abs(residuals) > allowed)  # in 16 bits, where -2**15 is its own magnitude


def round_provably(pixels: NDArray[np.uint8], indices: Int, steps: Int, limit: Int) -> NDArray[np.uint8]:
    """Pixels of pass 1, some changed by one level, so that more residuals are within the limit.

    Args:
        pixels: `inverse_dct` of the indices, (8, 8, ...).
        indices: of the quantiser, the same shape.
        steps: (8, 8), broadcasting against the indices.
        limit: `slack.limits`, (8, 8) with the axes of `steps`.

    Returns:
        uint8, the shape of `pixels`.
    """
    shape, blocks = pixels.shape, pixels.reshape(64, -1)
    narrow = _residuals(pixels, indices, steps)
    residuals = narrow.astype(np.int32)
    allowed = np.broadcast_to(limit, shape).reshape(64, -1)
    short = np.flatnonzero(_is_beyond(narrow, allowed).any(axis=0) & (np.abs(residuals) < _HOPELESS).all(axis=0))
    if not short.size:
        return pixels
    out = blocks.copy()
    aims = ((allowed[:, short] << _KERNEL_SHIFT) - _AIM_BELOW).clip(0, 2**15 - 1)
    out[:, short] = _mended(blocks[:, short].astype(np.int32), residuals[:, short] << _KERNEL_SHIFT, aims)
    return out.reshape(shape)


def _mended(levels: Int, residuals: Int, aims: Int) -> NDArray[np.uint8]:
    """Columns are blocks; see `round_provably`."""
    table = effects().astype(np.int32)
    working = np.arange(levels.shape[1])
    for _ in range(MAX_CHANGES):
        at = residuals[:, working]
        cost = _cost(at, aims[:, working])
        working, at, cost = working[cost > 0], at[:, cost > 0], cost[cost > 0]
        if not working.size:
            break
        worst = np.argmax(np.abs(at) - aims[:, working], axis=0)
        signs = -np.sign(at[worst, np.arange(working.size)]) * np.sign(table[:, worst])  # (pixels, blocks)
        after = at[None] + signs[:, None] * table[:, :, None]
        costs = _cost(after, aims[:, working], axis=1)
        moved = levels[:, working] + signs
        costs[(moved < 0) | (moved > 255)] = _LARGEST_COST
        best = np.argmin(costs, axis=0)
        helps = costs[best, np.arange(working.size)] < cost
        working, best = working[helps], best[helps]
        sign = signs[best, np.flatnonzero(helps)]
        levels[best, working] += sign
        residuals[:, working] += sign * table[best].T
    return levels.astype(np.uint8)


def _cost(residuals: Int, aims: Int, axis: int = 0) -> Int:
    excess = np.minimum(np.maximum(np.abs(residuals) - aims, 0) >> _EXCESS_SHIFT, _LARGEST_EXCESS)
    return np.asarray(np.minimum((excess * excess).sum(axis=axis), _LARGEST_COST), np.int32)
