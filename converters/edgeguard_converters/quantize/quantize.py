"""Full-integer post-training quantization.

The route and its traps are described in docs/converter.md. In short: ai-edge-quantizer with its min/max update
instead of the default moving average (which depends on the order of images and clips), the input's range overwritten
by the true pixel domain (otherwise the samples decide the scale), input and output left float for
`TfliteGraph.with_integer_borders`.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeguard.errors import DeviceError, InputError
from edgeguard.statistics import lowest_snr_db
from edgeguard.system.files import replaced
from edgeguard.system.foreign import parsing
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.quantize.ranges import METHODS, Histogram, Method, count_activations, kept_range
from edgeguard_converters.quantize.weights import refine_weights
from edgeguard_converters.support.cache import cache_file
from edgeguard_converters.support.log import chatter_to
from edgeguard_converters.support.memory import give_back_memory

_HARD_SWISH_STEPS = 125  # a little under the kernel's 128
#: Sums in float activations depend on the number of threads, and the same inputs must give the same bytes.
_THREADS = 1
_WEIGHTED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "EMBEDDING_LOOKUP")
#: `auto` leaves every fifth image out to choose by, if enough are left to calibrate.
_CHOOSES_EVERY, _LEAST_IMAGES = 5, 4
_ALIKE, _ROUNDED = 1e-3, 1e-6  # of a tensor's range, and of its largest value
_CHUNK = 16  # images between two states that an interrupted calibration can go on from


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration found: the quantizer's own ranges, and a histogram of each activation."""

    ranges: dict[str, Any]
    histograms: dict[str, Histogram]


@dataclass(frozen=True, eq=False)
class Quantized:
    """An int8 graph with float input and output, and what it was made with."""

    graph: TfliteGraph
    method: Method
    calibration: Calibration


def quantize(
    wanted: Method | Literal["auto"],
    graph: FloatGraph,
    pixels: NDArray[np.uint8],
    *,
    log: Path,
    keep_float: tuple[str, ...] = (),
) -> Quantized:
    """Calibrate and quantize; `auto` takes the ranges with the best SNR on images left out.

    Args:
        wanted: how much of each activation's range is kept.
        graph: the float graph, dead filters already mended (`FloatGraph.mended`).
        pixels: calibration images as the model sees them, (n, h, w, 3) of uint8.
        log: where the tools' chatter goes.
        keep_float: names of outputs (`TfliteGraph.operator_outputs`) whose operators stay float.
    """
    pixels = in_content_order(pixels)
    judged, counted = pixels[::_CHOOSES_EVERY], np.delete(pixels, np.s_[::_CHOOSES_EVERY], axis=0)
    if wanted != "auto" or len(counted) < _LEAST_IMAGES:
        method: Method = "minmax" if wanted == "auto" else wanted
        calibration = calibrate(graph, pixels, log)
        built = quantize_int8(graph, calibration, log, method=method, keep_float=keep_float)
        return Quantized(built, method, calibration)
    calibration = calibrate(graph, counted, log)
    expected = graph.outputs(judged)
    made = {m: quantize_int8(graph, calibration, log, method=m, keep_float=keep_float) for m in METHODS}
    method = max(METHODS, key=lambda m: lowest_snr_db(expected, made[m].outputs(judged, graph.feed)))
    return Quantized(made[method], method, calibration)


def in_content_order(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images in an order that comes from themselves alone: how they were given must not change the file."""
    return pixels[sorted(range(len(pixels)), key=lambda i: hashlib.sha256(pixels[i].tobytes()).digest())]


def calibrate(graph: FloatGraph, pixels: NDArray[np.uint8], log: Path) -> Calibration:
    """Extremes and histograms of every activation of the float graph.

    Args:
        graph: the float graph, dead filters already mended (`FloatGraph.mended`).
        pixels: calibration images as the model sees them, (n, h, w, 3) of uint8.
        log: where the quantizer's chatter goes.
    """
    with chatter_to(log):
        kept, calibration = _kept_ranges(graph, pixels), _calibrator(graph, pixels[:1])
        wanted = set(calibration.get_model_qsvs())
        for start in range(_resume(calibration, kept), len(pixels), _CHUNK):
            chunk = pixels[start : start + _CHUNK]
            _count(calibration, graph, chunk)
            _keep(calibration, kept, start + len(chunk))
        ranges = {name: found for name, found in calibration.get_model_qsvs().items() if name in wanted}
        if kept.is_file():
            kept.unlink()
        del calibration  # it holds every activation of the graph
    give_back_memory()
    single = {name: _extremes(found) for name, found in ranges.items() if np.size(found["min"]) == 1}
    wide = {name: pair for name, pair in single.items() if pair[0] < pair[1]}
    return Calibration(ranges, count_activations(graph, pixels, wide, log=log))


def _calibrator(graph: FloatGraph, first: NDArray[np.uint8]) -> Any:
    """What counts extremes, with those of the first image.

    The runtime's own profiler counts five times as fast as the quantizer's Python, which looks at every tensor; where
    the two say different things of the first image, Python counts.
    """
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    def counting(mode: CalibrationMode) -> Any:
        made = Calibrator(str(graph.path), num_threads=_THREADS, mode=mode, qsv_update_func=min_max_update)
        _count(made, graph, first)
        return made

    slow = counting(CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS)
    try:
        fast = counting(CalibrationMode.CALIBRATION_PROFILER_BASED)
    except (RuntimeError, ValueError):
        return slow
    if not _agree(slow.get_model_qsvs(), fast.get_model_qsvs()):
        return slow
    fast.load_model_qsvs(slow.get_model_qsvs())  # the quantizer wants its own shapes
    return fast


def _count(calibration: Any, graph: FloatGraph, pixels: NDArray[np.uint8]) -> None:
    signature, argument = graph.tflite.signature()
    samples = [{argument: graph.feed(image[None])} for image in pixels]  # a list: it is walked twice
    calibration.calibrate({signature: samples}, _recipe())


def _agree(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether every tensor of `wanted` has the same extremes in `found`."""
    for name, one in wanted.items():
        if name not in found or np.size(one["min"]) != 1:
            return False
        (low, high), other = _extremes(one), _extremes(found[name])
        atol = _ALIKE * (high - low) + _ROUNDED * max(abs(low), abs(high))
        if not np.allclose((low, high), other, rtol=0, atol=atol):
            return False
    return True


def quantize_int8(
    graph: FloatGraph,
    calibration: Calibration,
    log: Path,
    *,
    method: Method = "minmax",
    keep_float: tuple[str, ...] = (),
) -> TfliteGraph:
    """int8 weights (per channel, searched scales) and activations, float input and output, buffers inline.

    Args:
        graph: the graph that was calibrated.
        calibration: from `calibrate`.
        log: where the quantizer's chatter goes.
        method: how much of each activation's range is kept.
        keep_float: names of outputs (`TfliteGraph.operator_outputs`) whose operators stay float.
    """
    raw = raw_int8(graph, calibration, log, method=method, keep_float=keep_float)
    return refine_weights(graph.tflite, raw.with_int8_versions())


def raw_int8(
    graph: FloatGraph,
    calibration: Calibration,
    log: Path,
    *,
    method: Method = "minmax",
    keep_float: tuple[str, ...] = (),
) -> TfliteGraph:
    """What the quantizer itself writes: weights outside the flatbuffer, operator versions of the float graph."""
    ranges = {name: dict(found) for name, found in calibration.ranges.items()}
    for name, histogram in calibration.histograms.items():
        _set_range(ranges[name], *kept_range(histogram, method))
    _fix_input_range(ranges, graph)
    _widen_hard_swish(ranges, graph)
    with chatter_to(log):
        from ai_edge_quantizer import quantizer

        recipe = _recipe(keep_float).get_quantization_recipe()
        made = quantizer.Quantizer(str(graph.path), recipe).quantize(ranges)
    return TfliteGraph(bytes(made.quantized_model))


def float_weights(graph: FloatGraph, log: Path, kind: Literal["weight-only", "float16"]) -> TfliteGraph:
    """A graph that computes in float, its weights stored as int8 (per channel) or float16; needs no calibration."""
    with chatter_to(log):
        from ai_edge_quantizer import qtyping, quantizer, recipe, recipe_manager

        recipes = recipe_manager.RecipeManager()
        if kind == "weight-only":
            recipes.load_quantization_recipe(recipe.weight_only_wi8_afp32())
        else:
            half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
            config = qtyping.OpQuantizationConfig(
                weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
            )
            for operator in _WEIGHTED:
                recipes.add_quantization_config(
                    ".*", qtyping.TFLOperationName(operator), op_config=config, algorithm_key="float_casting"
                )
        made = quantizer.Quantizer(str(graph.path), recipes.get_quantization_recipe()).quantize()
    return TfliteGraph(bytes(made.quantized_model)).with_int8_versions()


def _recipe(keep_float: tuple[str, ...] = ()) -> Any:
    from ai_edge_quantizer import qtyping, recipe, recipe_manager

    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(recipe.static_wi8_ai8())
    for border in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        recipes.add_quantization_config(".*", border, algorithm_key="no_quantize")
    if keep_float:  # an operator's scope is the names of its outputs, each with a semicolon
        scope = f"^(?:{'|'.join(map(re.escape, keep_float))});$"
        recipes.add_quantization_config(scope, qtyping.TFLOperationName.ALL_SUPPORTED, algorithm_key="no_quantize")
    return recipes


def _kept_ranges(graph: FloatGraph, pixels: NDArray[np.uint8]) -> Path:
    """Where an interrupted calibration of this graph with these images is kept."""
    name = hashlib.sha256(graph.tflite.data + pixels.tobytes()).hexdigest()[:24]
    return cache_file(f"calibration-{name}.npz")


def _keep(calibration: Any, path: Path, done: int) -> None:
    ranges = calibration.get_model_qsvs()
    arrays = {f"{end}/{name}": found[end] for name, found in ranges.items() for end in ("min", "max")}
    try:
        with replaced(path) as partial:
            np.savez(partial, allow_pickle=False, done=np.array(done), **arrays)
    except DeviceError:
        return  # no cache, no resuming; the conversion itself goes on


def _resume(calibration: Any, path: Path) -> int:
    """The number of images that an earlier run had counted, its ranges loaded."""
    try:
        with parsing("the progress"), np.load(path, allow_pickle=False) as kept:
            names = {key.split("/", 1)[1] for key in kept.files if "/" in key}
            ranges = {name: {end: kept[f"{end}/{name}"] for end in ("min", "max")} for name in names}
            done = int(kept["done"])
    except (OSError, InputError):
        return 0
    calibration.load_model_qsvs(ranges)
    return done


def _fix_input_range(ranges: dict[str, Any], graph: FloatGraph) -> None:
    """Overwrite the range of the graph's input, and of the normalized input, with what 0..255 gives."""
    _set_range(ranges[graph.tflite.input_name()], graph.low, graph.high)
    if graph.normalized is not None:
        _set_range(ranges[graph.normalized], *graph.known_range())


def _widen_hard_swish(ranges: dict[str, Any], graph: FloatGraph) -> None:
    """TensorFlow Lite's int8 HARD_SWISH refuses an output step below 1/128 of its input's: widen the output there.

    It happens where the input is large and negative, so that the output is nearly 0 everywhere.
    """
    for before, after in graph.tflite.hard_swishes():
        if before not in ranges or after not in ranges:
            continue
        (low, high), (out_low, out_high) = _extremes(ranges[before]), _extremes(ranges[after])
        wanted = (max(high, 0.0) - min(low, 0.0)) / _HARD_SWISH_STEPS
        if max(out_high, 0.0) - min(out_low, 0.0) < wanted:
            _set_range(ranges[after], min(out_low, 0.0), min(out_low, 0.0) + wanted)


def _set_range(found: dict[str, Any], low: float, high: float) -> None:
    shape = np.shape(found["min"])
    found["min"], found["max"] = np.full(shape, low, np.float32), np.full(shape, high, np.float32)


def _extremes(found: dict[str, Any]) -> tuple[float, float]:
    return float(np.min(found["min"])), float(np.max(found["max"]))
