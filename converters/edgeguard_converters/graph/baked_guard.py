"""The guard inside an int8 graph: "the int8 quantiser is the JPEG quantiser".

A block DCT is a convolution with 8x8 filters and stride 8. With the filters of band (u, v) divided by the step
QS_uv and an int8 output of scale 1 and zero point 0, the requantisation that every integer graph does anyway is
round(coefficient / QS_uv). A 1x1 convolution makes the pixels of each block from its 64 indices, and DEPTH_TO_SPACE
puts them into place. Three operators, no host code; ties round as the runtime rounds them.

The DC keeps the unshifted grid of the reference (multiples of QS_dc from 0): its filter sees levels minus 128, so a
bias of the fractional part of 1024 / QS_dc aligns the grids, and the inverse takes it off again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard.dct.dct_basis import DCT, GAIN
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.jpeg.blocks import BLOCK
from edgeguard.jpeg.tables import as_array
from edgeguard_converters.graph.edit import builtin
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_BANDS = BLOCK * BLOCK
_CHANNELS = 3
#: Neighbouring pixels of photographs correlate by about .95, and their standard deviation is about 50 levels: what a
#: wrong weight costs is measured in these terms.
_CORRELATION, _DEVIATION = 0.95, 50.0
#: One scale serves all bands of an inverse filter. Measured on rendered frames: steps 16 and 128 put the picture off by
#: 0.3 levels on average, 9 and 255 by 1.5.
_MOST_UNEVEN = 16


@dataclass(frozen=True)
class QuantizedFilters:
    """int8 weights, a scale for each output channel, and int32 biases in units of input scale times weight scale."""

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    biases: NDArray[np.int32]


@dataclass(frozen=True)
class _Quantization:
    scale: float
    zero_point: int


_LEVELS = _Quantization(1.0, 0)  # int8: the level minus 128
_INDICES = _Quantization(1.0, 0)


def check_bakeable(profile: GuardProfile, width: int, height: int) -> None:
    """Refuse what int8 cannot hold.

    Raises:
        InputError: not an rgb profile, a side that is no multiple of 8, or a band whose index can leave int8
            (QS * 127 < 128 * A, with A the largest sum of |basis|; the message names the band), or very uneven steps.
    """
    if profile.color != "rgb":
        raise InputError(f"only rgb profiles can be baked into a graph, this one is {profile.color}")
    if profile.room:
        raise InputError(
            f"a profile with room ({profile.room}) cannot be baked into a graph: one pass has nothing to prove, "
            "take a profile without room"
        )
    if width % BLOCK or height % BLOCK:
        raise InputError(f"a baked guard needs an input whose sides are multiples of 8, got {width}x{height}")
    for table in profile.component_tables:
        if max(table) > _MOST_UNEVEN * table[0]:
            raise InputError(
                f"steps from {table[0]} (DC) to {max(table)} are too uneven for int8 weights: "
                f"the picture would be off by levels; at most {_MOST_UNEVEN} times the DC's"
            )
        beyond = np.argwhere(as_array(table) * 127 < 128 * GAIN)
        if len(beyond):
            u, v = (int(i) for i in beyond[0])
            least = int(np.ceil(128 * GAIN[u, v] / 127))
            step = as_array(table)[u, v]
            raise InputError(f"band ({u}, {v}) has step {step}: its index can leave int8, at least {least} is needed")


def forward_filters(profile: GuardProfile) -> QuantizedFilters:
    """The depthwise convolution: weights (1, 8, 8, 192), output channel 64 c + 8 u + v is band (u, v) of channel c."""
    filters, biases = [], []
    for table in profile.component_tables:
        steps = as_array(table).astype(np.float64)
        basis = np.einsum("ui,vj->uvij", DCT, DCT) / steps[:, :, None, None]
        filters.append(basis.reshape(_BANDS, _BANDS))
        biases.append(np.where(np.arange(_BANDS) == 0, _dc_shift(steps[0, 0]), 0.0))
    exact, bias = np.concatenate(filters), np.concatenate(biases)
    weights, scales = _searched(exact, _pixel_covariance())
    kernel = weights.T.reshape(1, BLOCK, BLOCK, _CHANNELS * _BANDS)
    return QuantizedFilters(kernel, scales, np.round(bias / scales).astype(np.int32))


def inverse_filters(profile: GuardProfile, output: _Quantization) -> QuantizedFilters:
    """The 1x1 convolution: weights (192, 1, 1, 192), output channel (8 i + j) 3 + c is pixel (i, j) of channel c.

    The int8 output is the level minus 128, whatever `output` says that it stands for.
    """
    exact = np.zeros((_BANDS, _CHANNELS, _CHANNELS * _BANDS))
    offset = np.zeros((_BANDS, _CHANNELS))
    spread = np.zeros(_CHANNELS * _BANDS)
    for c, table in enumerate(profile.component_tables):
        steps = as_array(table).astype(np.float64)
        basis = np.einsum("ui,vj,uv->ijuv", DCT, DCT, steps).reshape(_BANDS, _BANDS)
        part = slice(c * _BANDS, (c + 1) * _BANDS)
        exact[:, c, part] = basis
        offset[:, c] = -basis[:, 0] * _dc_shift(steps[0, 0])
        spread[part] = np.sqrt(_band_variances()) / steps.ravel() + 0.3
    weights, scales = _searched(exact.reshape(_BANDS * _CHANNELS, -1), np.diag(spread**2))
    real_bias = (offset.ravel() - output.zero_point) * output.scale
    scales = (scales * output.scale).astype(np.float32)
    return QuantizedFilters(
        weights.reshape(_BANDS * _CHANNELS, 1, 1, -1), scales, np.round(real_bias / scales).astype(np.int32)
    )


def bake(profile: GuardProfile, width: int, height: int) -> bytes:
    """A stand-alone sanitiser: a .tflite from uint8 pixels (1, h, w, 3) to uint8 pixels, to chain before a uint8 model.

    Raises:
        InputError: see `check_bakeable`.
    """
    check_bakeable(profile, width, height)
    model = schema.ModelT()
    model.version, model.description = 3, "EdgeGuard sanitiser"
    model.buffers, model.operatorCodes, model.metadata, model.signatureDefs = [schema.BufferT()], [], [], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.name = [], [], "main"
    model.subgraphs = [graph]
    build = _Builder(model)
    shape = (1, height, width, _CHANNELS)
    source = build.tensor("pixels", shape, schema.TensorType.UINT8, _Quantization(1.0, 128))
    levels = build.tensor("sanitised_int8", shape, schema.TensorType.INT8, _LEVELS)
    target = build.tensor("sanitised", shape, schema.TensorType.UINT8, _Quantization(1.0, 128))
    operators = _sanitizer(build, profile, source, levels, _LEVELS)
    graph.operators = [*operators, build.operator("QUANTIZE", [levels], target, schema.QuantizeOptionsT(), 2)]
    graph.inputs, graph.outputs = [source], [target]
    return TfliteGraph.of(model).data


def splice(quantized: TfliteGraph, profile: GuardProfile) -> TfliteGraph:
    """Put the guard before an int8 model with uint8 input whose first operator is the QUANTIZE of that input.

    Raises:
        InputError: see `check_bakeable`.
        ValueError: the graph does not begin that way.
    """
    model = quantized.editable()
    graph = model.subgraphs[0]
    (source,) = graph.inputs
    first = next((op for op in graph.operators if source in op.inputs), None)
    tensor = graph.tensors[source]
    if (
        first is None
        or tensor.type != schema.TensorType.UINT8
        or builtin(model, first) != schema.BuiltinOperator.QUANTIZE
    ):
        raise ValueError("the graph does not begin with the QUANTIZE of a uint8 input")
    _, height, width, _ = (int(side) for side in tensor.shape)
    check_bakeable(profile, width, height)
    (levels,) = first.outputs
    quantization = graph.tensors[levels].quantization
    output = _Quantization(float(quantization.scale[0]), int(quantization.zeroPoint[0]))
    tensor.quantization = _quantization(_Quantization(1.0, 128))
    build = _Builder(model)
    rest = [operator for operator in graph.operators if operator is not first]
    graph.operators = [*_sanitizer(build, profile, int(source), int(levels), output), *rest]
    return TfliteGraph.of(model)


def _sanitizer(build: "_Builder", profile: GuardProfile, source: int, target: int, output: _Quantization) -> list[Any]:
    """The operators from the uint8 tensor `source` to the int8 tensor `target`, quantised as `output`."""
    _, height, width, _ = build.shape(source)
    channels, rows, columns = _CHANNELS * _BANDS, height // BLOCK, width // BLOCK
    int8 = schema.TensorType.INT8
    levels = build.tensor("guard_levels", (1, height, width, _CHANNELS), int8, _LEVELS)
    indices = build.tensor("guard_indices", (1, rows, columns, channels), int8, _INDICES)
    blocks = build.tensor("guard_blocks", (1, rows, columns, channels), int8, output)
    forward, inverse = forward_filters(profile), inverse_filters(profile, output)
    depthwise = schema.DepthwiseConv2DOptionsT()
    depthwise.padding, depthwise.strideW, depthwise.strideH = schema.Padding.VALID, BLOCK, BLOCK
    depthwise.depthMultiplier, depthwise.dilationWFactor, depthwise.dilationHFactor = _BANDS, 1, 1
    pointwise = schema.Conv2DOptionsT()
    pointwise.padding, pointwise.strideW, pointwise.strideH = schema.Padding.VALID, 1, 1
    pointwise.dilationWFactor, pointwise.dilationHFactor = 1, 1
    shuffle = schema.DepthToSpaceOptionsT()
    shuffle.blockSize = BLOCK
    return [
        build.operator("QUANTIZE", [source], levels, schema.QuantizeOptionsT(), 2),
        build.operator("DEPTHWISE_CONV_2D", [levels, *build.filters("guard_dct", forward, 3)], indices, depthwise, 3),
        build.operator("CONV_2D", [indices, *build.filters("guard_inverse", inverse, 0)], blocks, pointwise, 3),
        build.operator("DEPTH_TO_SPACE", [blocks], target, shuffle, 2),
    ]


class _Builder:
    """Adds tensors, buffers and operators to the first subgraph of an object-form model."""

    def __init__(self, model: Any) -> None:
        self.model, self.graph = model, model.subgraphs[0]

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(side) for side in self.graph.tensors[tensor].shape)

    def tensor(
        self, name: str, shape: tuple[int, ...], kind: int, quantization: _Quantization | Any, buffer: int = 0
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        is_plain = isinstance(quantization, _Quantization)
        tensor.quantization = _quantization(quantization) if is_plain else quantization
        tensor.hasRank = True
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def filters(self, name: str, filters: QuantizedFilters, axis: int) -> tuple[int, int]:
        weights = self._constant(f"{name}_weights", filters.weights, schema.TensorType.INT8, filters.scales, axis)
        return weights, self._constant(f"{name}_bias", filters.biases, schema.TensorType.INT32, filters.scales, 0)

    def operator(self, name: str, inputs: list[int], output: int, options: Any, version: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, name), version)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        operator.builtinOptions = options
        return operator

    def _constant(self, name: str, values: NDArray[Any], kind: int, scales: NDArray[np.float32], axis: int) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
        quantization.quantizedDimension = axis
        return self.tensor(name, values.shape, kind, quantization, len(self.model.buffers) - 1)

    def _code(self, builtin: int, version: int) -> int:
        for index, code in enumerate(self.model.operatorCodes):
            if code.builtinCode == builtin:
                code.version = max(code.version, version)
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def _quantization(values: _Quantization) -> Any:
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([values.scale], np.float32)
    quantization.zeroPoint = np.array([values.zero_point], np.int64)
    return quantization


def _dc_shift(step: float) -> float:
    return float(1024 / step % 1)


def _pixel_covariance() -> NDArray[np.float64]:
    """Of the 64 levels of a block: separable, falling with the distance."""
    distance = np.abs(np.subtract.outer(np.arange(BLOCK), np.arange(BLOCK)))
    correlation = np.power(_CORRELATION, distance)
    return np.asarray(np.kron(correlation, correlation) * _DEVIATION**2, np.float64)


def _band_variances() -> NDArray[np.float64]:
    basis = np.einsum("ui,vj->uvij", DCT, DCT).reshape(_BANDS, _BANDS)
    return np.einsum("ki,ij,kj->k", basis, _pixel_covariance(), basis)


def _searched(exact: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[NDArray[np.int8], Any]:
    """int8 weights and the scale of each row that make the row's output wrong by the least variance.

    The usual scale, largest weight / 127, is one candidate among many: rounding errors of a cosine's few distinct
    values depend on the scale by chance.
    """
    largest = np.abs(exact).max(axis=1)
    best_weights = np.zeros(exact.shape, np.int8)
    best_scales, best_error = np.zeros(len(exact)), np.full(len(exact), np.inf)
    for divisor in np.linspace(127, 64, 1000):
        scales = largest / divisor
        weights = np.clip(np.round(exact / scales[:, None]), -127, 127)
        wrong = weights * scales[:, None] - exact
        error = np.einsum("ki,ki->k", wrong @ covariance, wrong)
        better = error < best_error
        best_weights[better], best_scales[better], best_error[better] = weights[better], scales[better], error[better]
    return best_weights, best_scales.astype(np.float32)
