"""Where a filter operator lays its filters: the windows of its input at chosen places of its output."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard_converters.graph.edit import builtin

_OPS = schema.BuiltinOperator
_ACTIVATIONS = schema.ActivationFunctionType
_CLAMPS = {
    _ACTIVATIONS.NONE: (-np.inf, np.inf),
    _ACTIVATIONS.RELU: (0.0, np.inf),
    _ACTIVATIONS.RELU6: (0.0, 6.0),
    _ACTIVATIONS.RELU_N1_TO_1: (-1.0, 1.0),
}


@dataclass(frozen=True)
class Windows:
    """How an operator lays its filters.

    Attributes:
        depthwise: each channel of the input has filters of its own; `multiplier` of them.
        dense: a matrix product; the rest says nothing then.
        kernel, stride, dilation: rows and columns.
        same: the input is padded with zeros so that the output is as large, but for the stride.
        low, high: what the operator's own activation clamps to.
    """

    depthwise: bool
    dense: bool
    multiplier: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool
    low: float
    high: float

    def places(self, features: NDArray[np.float32]) -> int:
        """How many places an input (1, h, w, c), or (..., k) of a matrix product, has."""
        if self.dense:
            return int(np.prod(features.shape[:-1], dtype=np.int64))
        rows, columns = self._sides(features.shape[1:])
        return rows * columns

    def at(self, features: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """The windows at some places, (groups, places, weights of a filter)."""
        if self.dense:
            return features.reshape(-1, features.shape[-1])[chosen][None]
        (features,) = features
        columns = self._sides(features.shape)[1]
        padded = self._padded(features)
        row = (chosen // columns * self.stride[0])[:, None] + np.arange(self.kernel[0]) * self.dilation[0]
        column = (chosen % columns * self.stride[1])[:, None] + np.arange(self.kernel[1]) * self.dilation[1]
        found = padded[row[:, :, None], column[:, None, :]]  # (places, kernel rows, kernel columns, c)
        if not self.depthwise:
            return found.reshape(1, len(chosen), -1)
        apart = found.reshape(len(chosen), -1, features.shape[2]).transpose(2, 0, 1)
        return np.repeat(apart, self.multiplier, axis=0)

    def _sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        found = []
        for side, stride, reach in zip(shape[:2], self.stride, self._reach(), strict=True):
            found.append(-(-side // stride) if self.same else (side - reach) // stride + 1)
        return found[0], found[1]

    def _reach(self) -> tuple[int, int]:
        rows, columns = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        return rows, columns

    def _padded(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.same:
            return features
        widths = []
        for side, out, stride, reach in zip(
            features.shape[:2], self._sides(features.shape), self.stride, self._reach(), strict=True
        ):
            total = max((out - 1) * stride + reach - side, 0)
            widths.append((total // 2, total - total // 2))
        return np.pad(features, (*widths, (0, 0)))


def windows_of(model: Any, operator: Any) -> Windows | None:
    """How an operator of FILTER_OPS lays its filters, or None where we do not know (groups, other activations)."""
    tensors, options, kind = model.subgraphs[0].tensors, operator.builtinOptions, builtin(model, operator)
    clamp = _CLAMPS.get(options.fusedActivationFunction)
    shape, features = (tuple(map(int, tensors[operator.inputs[i]].shape)) for i in (1, 0))
    if clamp is None:
        return None
    if kind == _OPS.FULLY_CONNECTED:
        if not features or features[-1] != shape[1]:
            return None
        return Windows(False, True, 1, (1, 1), (1, 1), (1, 1), False, *clamp)
    depthwise = kind == _OPS.DEPTHWISE_CONV_2D
    if len(features) != 4 or (shape[3] % features[3] if depthwise else shape[3] != features[3]):
        return None
    return Windows(
        depthwise=depthwise,
        dense=False,
        multiplier=shape[3] // features[3] if depthwise else 1,
        kernel=(shape[1], shape[2]),
        stride=(options.strideH, options.strideW),
        dilation=(options.dilationHFactor, options.dilationWFactor),
        same=options.padding == schema.Padding.SAME,
        low=clamp[0],
        high=clamp[1],
    )
