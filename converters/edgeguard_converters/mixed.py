"""Mixed precision: which layers stay float, named by the user or searched for."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import InputError
from edgeguard_converters.flatbuffer_edit import operator_inputs, operator_outputs, to_integer_io
from edgeguard_converters.layers import Layer, layer_snr
from edgeguard_converters.quantize import Calibration, quantise_int8
from edgeguard_converters.ranges import Method
from edgeguard_converters.source import FloatGraph

#: Operators that only move values: they stay float with their neighbours, and blaming them helps nobody.
_MOVERS = ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "TRANSPOSE", "PAD", "SLICE", "STRIDED_SLICE", "CONCATENATION", "SPLIT")
_PRUNED = 12  # layers that the search tries to give back to int8


def named_layers(data: bytes, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The outputs of the operators that match one of the patterns, which are regular expressions.

    A pattern is looked for in the output's name and the operator's kind (`SOFTMAX`); `#12` is the operator of that
    number in the report's table.

    Raises:
        InputError: a pattern that is no expression, or matches nothing.
    """
    outputs = operator_outputs(data)
    chosen: list[str] = []
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise InputError(f"--keep-float {pattern!r} is no regular expression: {error}") from error
        found = [
            name
            for number, (kind, name) in enumerate(outputs)
            if pattern == f"#{number}" or expression.search(name) or expression.fullmatch(kind)
        ]
        if not found:
            kinds = ", ".join(sorted({kind for kind, _ in outputs}))
            raise InputError(f"--keep-float {pattern!r} matches no layer; the graph's operators are {kinds}")
        chosen += [name for name in found if name not in chosen]
    return tuple(chosen)


def noisiest_layers(
    graph: FloatGraph, quantised: bytes, pixels: NDArray[np.uint8], log: Path
) -> tuple[tuple[str, ...], tuple[Layer, ...]]:
    """Names of outputs by how much noise their own operator adds, most first; and all layers that were measured.

    Noise that comes in through an operator's inputs is not its fault: what counts is the relative noise power at its
    output beyond that of its noisiest input.
    """
    float_data = graph.path.read_bytes()
    layers = layer_snr(float_data, to_integer_io(quantised, log), pixels, graph.feed, log)
    noise = {layer.output: 10 ** (-layer.snr_db / 10) for layer in layers}
    inputs = operator_inputs(float_data)
    kinds = {name: kind for kind, name in operator_outputs(float_data)}

    def added(name: str) -> float:
        return noise[name] - max((noise.get(source, 0.0) for source in inputs.get(name, ())), default=0.0)

    names = [name for name in noise if kinds.get(name) not in (None, *_MOVERS) and added(name) > 0]
    return tuple(sorted(names, key=lambda name: -added(name))), layers


def fewest_float_layers(
    graph: FloatGraph,
    calibration: Calibration,
    method: Method,
    ranked: tuple[str, ...],
    passes: Callable[[bytes], bool],
    log: Path,
) -> tuple[tuple[str, ...], bytes] | None:
    """The fewest of the ranked layers kept float with which `passes` holds, and the graph; None if even all fail.

    A bisection over the ranking's length, then each kept layer is tried as int8 again, the least noisy first.
    """

    def build(names: tuple[str, ...]) -> bytes:
        return quantise_int8(graph, calibration, log, method, names)

    low, high, best = 0, len(ranked), None
    if not passes(found := build(ranked)):
        return None
    best = (ranked, found)
    while high - low > 1:
        middle = (low + high) // 2
        if passes(found := build(ranked[:middle])):
            high, best = middle, (ranked[:middle], found)
        else:
            low = middle
    for name in best[0][::-1][1 : 1 + _PRUNED]:
        fewer = tuple(other for other in best[0] if other != name)
        if passes(found := build(fewer)):
            best = (fewer, found)
    return best
