"""Sums of two integer tensors with the rounding of the runtime's kernels (XNNPACK's): whole multipliers of 21 bits.

A real sum that is rounded once differs from theirs by a step in one of 100,000 values. That is enough: behind a few
dozen layers of a MobileNetV2 it has changed every second value.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BITS = 20  # behind the leading one of the larger multiplier
_LEAST, _MOST = 2.0**-10, 2.0**8  # ratios of scales that these kernels take; others go to kernels that round elsewise


@dataclass(frozen=True)
class SumScales:
    """Multipliers of both summands, over 2 to the power of `shift`."""

    first: int
    second: int
    shift: int


def sum_scales(first: float, second: float, out: float, *, minus: bool = False) -> SumScales | None:
    """The multipliers for tensors with such quantization scales; None where the kernels do not take them.

    Args:
        first, second, out: scales of the summands and of the sum.
        minus: the second one is subtracted.

    Example:
        >>> sum_scales(0.5, 0.25, 0.5)
        SumScales(first=1048576, second=524288, shift=20)
    """
    ratios = [np.float32(one) / np.float32(out) for one in (first, second)]
    if not all(_LEAST <= ratio < _MOST for ratio in ratios):
        return None
    shift = _BITS - (math.frexp(float(max(ratios)))[1] - 1)
    whole = [round(math.ldexp(float(ratio), shift)) for ratio in ratios]
    return SumScales(whole[0], -whole[1] if minus else whole[1], shift)


class _FixedPointSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, scales: SumScales, low: int, high: int) -> Tensor:
        sums = first.to(torch.int32) * scales.first + second.to(torch.int32) * scales.second
        grid = (sums + (1 << (scales.shift - 1))) >> scales.shift  # an arithmetic shift: halves go up
        clipped = grid.clamp(low, high)
        ctx.inside = clipped == grid if any(ctx.needs_input_grad) else None
        ctx.scales, ctx.shapes = scales, (first.shape, second.shape)
        return clipped.to(first.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        passed = gradient * ctx.inside
        unit = 1 / (1 << ctx.scales.shift)
        parts = [
            (passed * (factor * unit)).sum_to_size(shape) if needed else None
            for factor, shape, needed in zip(
                (ctx.scales.first, ctx.scales.second), ctx.shapes, ctx.needs_input_grad[:2], strict=True
            )
        ]
        return parts[0], parts[1], None, None, None


def fixed_point_sum(first: Tensor, second: Tensor, scales: SumScales, low: int, high: int) -> Tensor:
    """The sum on the grid of its tensor, less the zero point.

    Args:
        first, second: whole numbers less their zero points; shapes that go together.
        scales: see `sum_scales`.
        low, high: bounds, less the zero point. What left them has no gradient.
    """
    found: Tensor = _FixedPointSum.apply(first, second, scales, low, high)  # type: ignore[no-untyped-call]  # torch gives `apply` no types
    return found
