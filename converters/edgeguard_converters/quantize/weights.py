"""Weight scales that cost the least, instead of largest weight / 127.

Two gains. A scale a little larger than the usual one often rounds a filter's few large weights better. And the weights
of a model that was quantised once already (every published uint8 or QAT checkpoint) lie on a grid: a scale that is the
grid's own step reproduces them without any error, where the usual scale adds a second rounding to the first.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeguard_converters.graph.edit import FILTER_OPS, builtin, values
from edgeguard_converters.graph.tflite_graph import TfliteGraph

_LARGEST = 127
#: Candidate scales are largest weight / d; smaller d than 127 only, so that nothing is clipped.
_DIVISORS = np.linspace(90, _LARGEST, 200)
#: A grid is believed when no weight lies further than this from it, in steps.
_OFF_GRID = 0.1
_BLOCK = 1 << 17  # weights that are searched at once: smaller ones wait for each other more than they compute


def refine_weights(float_graph: TfliteGraph, quantized: TfliteGraph) -> TfliteGraph:
    """Requantize the filters of an int8 graph from the float graph's weights with searched scales, biases with them.

    Both graphs hold the same filter operators in the same order; where they do not, the quantized one is returned as
    it is.
    """
    source, target = float_graph.model, quantized.editable()
    pairs = list(zip(filter_operators(source), filter_operators(target), strict=False))
    if not same_filters(source, target) or not pairs:
        return quantized
    done: dict[int, NDArray[np.float64]] = {}
    for before, after in pairs:
        axis = FILTER_OPS[builtin(source, before)]
        tensor = target.subgraphs[0].tensors[after.inputs[1]]
        if tensor.type != schema.TensorType.INT8 or tensor.quantization is None:
            continue
        if int(after.inputs[1]) not in done:
            exact = values(source, source.subgraphs[0].tensors[before.inputs[1]], np.float32)
            if len(np.atleast_1d(tensor.quantization.scale)) != exact.shape[axis]:
                continue  # one scale for the whole tensor
            done[int(after.inputs[1])] = _requantize(target, tensor, exact, axis)
        _requantize_bias(source, target, before, after, done[int(after.inputs[1])])
    return TfliteGraph.of(target)


def searched_scales(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row of (filters, weights) the symmetric int8 scale with the least squared error.

    Example:
        >>> searched_scales(np.array([[0.5, -1.0, 1.5]])).item()
        0.5
    """
    step, rows = grid_step(filters), max(_BLOCK // filters.shape[1], 1)
    blocks = [filters[first : first + rows] for first in range(0, len(filters), rows)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), "edgeguard-weights") as pool:
        return np.concatenate(list(pool.map(lambda block: _least_error(block, step), blocks)))


def _least_error(filters: NDArray[np.float64], step: float | None) -> NDArray[np.float64]:
    largest = np.abs(filters).max(axis=1)
    largest[largest == 0] = 1.0
    scales, least = largest / _LARGEST, np.full(len(filters), np.inf)
    candidates = [(largest / divisor, False) for divisor in _DIVISORS[::-1]]
    if step is not None:
        candidates = [(np.full(len(filters), step * k), True) for k in (1, 2, 3)] + candidates
    off, levels = np.empty_like(filters), np.empty_like(filters)
    for candidate, clips in candidates:
        np.multiply(filters, 1 / candidate[:, None], out=off)
        np.rint(off, out=levels)
        if clips:
            np.clip(levels, -_LARGEST, _LARGEST, out=levels)
        off -= levels
        error = np.einsum("ij,ij->i", off, off) * candidate**2
        better = error < least * (1 - 1e-6)
        scales[better], least[better] = candidate[better], error[better]
    return scales


def grid_step(weights: NDArray[np.float64]) -> float | None:
    """The step of the grid that all weights lie on, or None where there is none.

    Example:
        >>> round(grid_step(np.array([[0.25, -0.5, 1.0, 0.75]])), 6)
        0.25
    """
    sizes = np.unique(np.abs(weights))
    gaps = np.diff(sizes)
    gaps = gaps[gaps > sizes[-1] * 1e-4]
    if not len(gaps) or sizes[-1] == 0:
        return None
    counts = np.round(sizes / gaps.min())
    if counts[-1] > 4 * _LARGEST:  # finer than any 8-bit grid: just float weights
        return None
    step = float((sizes * counts).sum() / (counts**2).sum())
    return step if np.abs(sizes / step - np.round(sizes / step)).max() < _OFF_GRID else None


@lru_cache(maxsize=256)  # the same weights come back with every method of the ranges
def _searched(filters: bytes, rows: int, columns: int) -> NDArray[np.float64]:
    return searched_scales(np.frombuffer(filters).reshape(rows, columns))


def _requantize(model: Any, tensor: Any, exact: NDArray[Any], axis: int) -> NDArray[np.float64]:
    filters = np.moveaxis(exact, axis, 0).reshape(exact.shape[axis], -1).astype(np.float64)
    scales = _searched(filters.tobytes(), *filters.shape).astype(np.float32).astype(np.float64)
    levels = np.clip(np.round(filters / scales[:, None]), -_LARGEST, _LARGEST).astype(np.int8)
    rest = tuple(side for i, side in enumerate(exact.shape) if i != axis)
    weights = np.moveaxis(levels.reshape(exact.shape[axis], *rest), 0, axis)
    model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(weights).tobytes(), np.uint8)
    tensor.quantization.scale = scales.astype(np.float32)
    return scales


def _requantize_bias(source: Any, target: Any, before: Any, after: Any, scales: NDArray[np.float64]) -> None:
    if len(after.inputs) < 3 or after.inputs[2] < 0:
        return
    tensors = target.subgraphs[0].tensors
    bias, features = tensors[after.inputs[2]], tensors[after.inputs[0]]
    exact = values(source, source.subgraphs[0].tensors[before.inputs[2]], np.float32).ravel().astype(np.float64)
    bias_scales = (float(features.quantization.scale[0]) * scales).astype(np.float32)
    kind = np.int64 if bias.type == schema.TensorType.INT64 else np.int32
    levels = np.clip(np.round(exact / bias_scales), np.iinfo(np.int32).min, np.iinfo(np.int32).max)
    buffer = schema.BufferT()  # its own: two operators with one bias may have different scales
    buffer.data = np.frombuffer(levels.astype(kind).tobytes(), np.uint8)
    target.buffers.append(buffer)
    bias.buffer, bias.quantization.scale = len(target.buffers) - 1, bias_scales


def filter_operators(model: Any) -> list[Any]:
    """The operators with constant filters, in order."""
    graph = model.subgraphs[0]
    filters = [op for op in graph.operators if builtin(model, op) in FILTER_OPS]
    return [op for op in filters if model.buffers[graph.tensors[op.inputs[1]].buffer].data is not None]


def same_filters(source: Any, target: Any) -> bool:
    """Whether two graphs hold the same filter operators in the same order, by kind and shape."""

    def shape(model: Any) -> list[tuple[int, tuple[int, ...]]]:
        graph = model.subgraphs[0]
        return [
            (builtin(model, op), tuple(int(side) for side in graph.tensors[op.inputs[1]].shape))
            for op in filter_operators(model)
        ]

    return shape(source) == shape(target)
