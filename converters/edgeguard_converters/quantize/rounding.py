"""`--round adaptive`: an int8 graph's filters are rounded anew, layer by layer, against calibration pictures.

Rounding each weight to its nearest level is best for the weight and not for the sum that it is part of. Each layer's
filters and biases are fitted to give, from inputs with all errors of the layers before, what float gives from float
inputs (see `rounding_fit`). Scales and ranges stay. Nothing is trained: a minute for a MobileNetV2.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard.model.runtime import dequantize
from edgeguard.statistics import lowest_snr_db
from edgeguard_converters.graph.edit import FILTER_OPS, builtin, values
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.run import Feed
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.quantize.patches import Windows, windows_of
from edgeguard_converters.quantize.quantize import in_content_order
from edgeguard_converters.quantize.rounding_fit import Filters, Samples, fitted
from edgeguard_converters.quantize.weights import filter_operators, same_filters
from edgeguard_converters.support.log import chatter_to

LEAST_IMAGES = 8
_IMAGES = 96
_HELD_OUT_EVERY = 4
_PLACES, _VALUES = 64, 20_000_000  # of a picture, at most; and of a layer's windows in all
_LAYERS_AT_ONCE = 8  # whose wanted sums are kept in memory
_WIDEST = 8192  # weights of a filter: matrices of their square in float64 are held, 0.5 GB each
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A filter operator of both graphs, and the places where its filters are looked at."""

    before: Any
    after: Any
    axis: int
    windows: Windows
    number: int

    def chosen(self, features: NDArray[np.float32], picture: int, pictures: int) -> NDArray[np.int64]:
        """Places of one picture, the same in both graphs."""
        count = self.windows.places(features)
        width = np.prod(self.windows.kernel) * features.shape[-1] * self.windows.multiplier
        wanted = int(np.clip(_VALUES // (pictures * width), 8, _PLACES))
        return np.random.default_rng((self.number, picture)).permutation(count)[:wanted]


def round_adaptively(
    graph: FloatGraph,
    quantized: TfliteGraph,
    pixels: NDArray[np.uint8],
    *,
    log: Path,
) -> TfliteGraph:
    """Filters and biases that fit the calibration pictures; operators that it does not know stay as they are.

    Where the whole graph is no better for it on the pictures that judge, the same `quantized` comes back.

    Args:
        graph: the float graph.
        quantized: its int8 graph with float borders, from `quantize`.
        pixels: calibration images, (n, h, w, 3) of uint8; up to 96 are looked at, every fourth of them judges.
        log: where the runtime's chatter goes.

    Raises:
        InputError: there are too few images to judge by.
    """
    if len(pixels) < LEAST_IMAGES:
        raise InputError(
            f"--round adaptive needs at least {LEAST_IMAGES} calibration images, got {len(pixels)}: give "
            "more with --calibrate, or leave it out"
        )
    source, target = graph.tflite.model, quantized.editable()
    pixels = in_content_order(pixels)[:: -(-len(pixels) // _IMAGES)]
    layers = [*_layers(source, target)]
    with chatter_to(log):
        for start in range(0, len(layers), _LAYERS_AT_ONCE):
            some = layers[start : start + _LAYERS_AT_ONCE]
            wanted = _wanted(graph, source, some, pixels)
            for layer, sums in zip(some, wanted, strict=True):
                windows = [
                    layer.windows.at(features, layer.chosen(features, i, len(pixels)))
                    for i, (features,) in enumerate(_inputs(target, [layer.after], pixels, graph.feed))
                ]
                _fit(source, target, layer, windows, sums)
    rounded, judged = TfliteGraph.of(target), pixels[::_HELD_OUT_EVERY]
    expected = graph.outputs(judged)
    before, after = (lowest_snr_db(expected, one.outputs(judged, graph.feed)) for one in (quantized, rounded))
    return rounded if after > before else quantized


def _layers(source: Any, target: Any) -> Iterator[_Layer]:
    if not same_filters(source, target):
        return
    tensors = target.subgraphs[0].tensors
    uses = Counter(int(index) for op in target.subgraphs[0].operators for index in op.inputs)
    for number, (before, after) in enumerate(zip(filter_operators(source), filter_operators(target), strict=True)):
        windows = windows_of(source, before)
        shape = [int(side) for side in tensors[after.inputs[1]].shape]
        if math.prod(shape) // shape[FILTER_OPS[builtin(source, before)]] > _WIDEST:
            continue
        if windows is None or len(after.inputs) < 3 or after.inputs[2] < 0:
            continue
        weights, features = tensors[after.inputs[1]], tensors[after.inputs[0]]
        is_int8 = weights.type == features.type == schema.TensorType.INT8
        if not is_int8 or any(uses[int(index)] > 1 for index in after.inputs[1:]):  # shared by two layers
            continue
        axis = FILTER_OPS[builtin(source, before)]
        if len(np.atleast_1d(weights.quantization.scale)) == int(weights.shape[axis]):
            yield _Layer(before, after, axis, windows, number)


def _wanted(
    graph: FloatGraph, source: Any, layers: Sequence[_Layer], pixels: NDArray[np.uint8]
) -> list[list[NDArray[np.float32]]]:
    """For each layer and picture the sums of the float graph before the activation, (g, n, r)."""
    found: list[list[NDArray[np.float32]]] = [[] for _ in layers]
    filters = [_grouped(values(source, _tensor(source, layer.before, 1), np.float32), layer) for layer in layers]
    biases = [_grouped(values(source, _tensor(source, layer.before, 2), np.float32), layer) for layer in layers]
    for i, inputs in enumerate(
        _inputs(graph.tflite.editable(), [layer.before for layer in layers], pixels, graph.feed)
    ):
        for layer, features, weights, bias, sums in zip(layers, inputs, filters, biases, found, strict=True):
            windows = layer.windows.at(features, layer.chosen(features, i, len(pixels)))
            sums.append(windows @ weights.swapaxes(1, 2) + bias[:, None])
    return found


def _fit(
    source: Any,
    target: Any,
    layer: _Layer,
    windows: list[NDArray[np.float32]],
    sums: list[NDArray[np.float32]],
) -> None:
    """Write better levels and biases into the int8 graph."""
    weights, bias, features = (_tensor(target, layer.after, i) for i in (1, 2, 0))
    kind = np.int64 if bias.type == schema.TensorType.INT64 else np.int32
    scales = np.asarray(weights.quantization.scale, np.float64)
    bias_scales = (float(features.quantization.scale[0]) * scales).astype(np.float32).astype(np.float64)
    held_out = np.concatenate([np.full(x.shape[1], i % _HELD_OUT_EVERY == 0) for i, x in enumerate(windows)])
    found = fitted(
        _grouped(values(source, _tensor(source, layer.before, 1), np.float32), layer).astype(np.float64),
        Filters(
            _grouped(values(target, weights, np.int8), layer).astype(np.float64),
            _grouped(scales, layer),
            _grouped(values(target, bias, kind) * bias_scales, layer),
        ),
        Samples(np.concatenate(windows, axis=1), np.concatenate(sums, axis=1), held_out),
        layer.windows.low,
        layer.windows.high,
    )
    rest = tuple(int(side) for i, side in enumerate(weights.shape) if i != layer.axis)
    levels = np.moveaxis(found.levels.reshape(-1, *rest), 0, layer.axis).astype(np.int8)
    _store(target, weights, levels)
    _store(target, bias, np.clip(np.round(found.bias.ravel() / bias_scales), _INT32.min, _INT32.max).astype(kind))


def _grouped(array: NDArray[Any], layer: _Layer) -> NDArray[Any]:
    """Filters to (g, r, k), numbers for each filter to (g, r)."""
    if array.ndim > 1:
        array = np.moveaxis(array, layer.axis, 0).reshape(array.shape[layer.axis], -1)
    groups = len(array) if layer.windows.depthwise else 1
    return np.ascontiguousarray(array.reshape(groups, len(array) // groups, *array.shape[1:]))


def _inputs(
    model: Any, operators: Sequence[Any], pixels: NDArray[np.uint8], feed: Feed
) -> Iterator[list[NDArray[np.float32]]]:
    """For each picture what the operators read, in float32.

    The graph ends there meanwhile: kernels that keep every tensor are slower, and so are operators that nobody reads.
    """
    graph = model.subgraphs[0]
    wanted = [int(operator.inputs[0]) for operator in operators]
    given = int(graph.inputs[0])
    outputs = [index for index in dict.fromkeys(wanted) if index != given]
    before = graph.operators, graph.outputs, model.signatureDefs
    runner = None
    if outputs:
        graph.operators = _leading_to(graph.operators, outputs)
        graph.outputs, model.signatureDefs = outputs, None
        runner = TfliteGraph.of(model).runner(threads=1)
        graph.operators, graph.outputs, model.signatureDefs = before
    for image in pixels:
        tensor = feed(image[None])
        found = {given: np.asarray(tensor, np.float32)}
        if runner is not None:
            runner.set(tensor)
            runner.invoke()
            for index, detail in zip(outputs, runner.outputs, strict=True):
                found[index] = dequantize(runner.get(detail), detail)
        yield [found[index] for index in wanted]


def _leading_to(operators: Sequence[Any], tensors: Sequence[int]) -> list[Any]:
    """The operators that the tensors are made by, in order."""
    needed, kept = set(tensors), []
    for operator in reversed(operators):
        if needed & set(map(int, operator.outputs)):
            needed.update(int(index) for index in operator.inputs)
            kept.append(operator)
    return kept[::-1]


def _tensor(model: Any, operator: Any, position: int) -> Any:
    return model.subgraphs[0].tensors[operator.inputs[position]]


def _store(model: Any, tensor: Any, array: NDArray[Any]) -> None:
    """In place, or into a buffer of its own where another tensor has the same one."""
    if sum(other.buffer == tensor.buffer for graph in model.subgraphs for other in graph.tensors) > 1:
        model.buffers.append(schema.BufferT())
        tensor.buffer = len(model.buffers) - 1
    model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
