"""Where quantization costs most: the signal-to-noise ratio of every layer's output, int8 against float."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.runtime import dequantize
from edgeguard.statistics import snr_db
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.run import Feed
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.support.log import chatter_to

_IMAGES = 8
_CLEAN_DB = 60.0


@dataclass(frozen=True)
class Layer:
    """One operator that both graphs have: SNR in dB of its int8 output against the float one."""

    index: int
    operator: str
    output: str
    shape: tuple[int, ...]
    snr_db: float


def layer_snr(
    float_graph: FloatGraph,
    quantized: TfliteGraph,
    pixels: NDArray[np.uint8],
    *,
    log: Path,
    feed: Feed = lambda image: image,
) -> tuple[Layer, ...]:
    """SNR of each layer, over up to 8 images, in the order of the quantized graph.

    Args:
        float_graph: the float graph, whose tensors have the same names.
        quantized: the quantized graph.
        pixels: images as the model sees them, (n, h, w, 3) of uint8.
        log: where the runtime's chatter goes.
        feed: one image (1, h, w, 3) to the quantized graph's input.
    """
    pixels = pixels[:: max(-(-len(pixels) // _IMAGES), 1)]
    with chatter_to(log):
        expected = _outputs(float_graph.tflite, pixels, float_graph.feed)
        found = _outputs(quantized, pixels, feed)
    layers = []
    for index, (operator, name) in enumerate(quantized.operator_outputs()):
        if name in expected and name in found:
            shape = expected[name].shape[1:]
            layers.append(Layer(index, operator, name, shape, snr_db(expected[name], found[name])))
    return tuple(layers)


def blame(layers: tuple[Layer, ...], most: int = 5) -> list[str]:
    """The layers behind which the SNR falls most, for people: `#12 CONV_2D (18 dB)`."""
    drops, before = [], _CLEAN_DB
    for layer in layers:
        now = min(layer.snr_db, _CLEAN_DB)
        drops.append((now - before, f"#{layer.index} {layer.operator} ({layer.snr_db:.0f} dB)"))
        before = now
    return [text for _, text in sorted(drops)[:most]]


def _outputs(graph: TfliteGraph, pixels: NDArray[np.uint8], feed: Feed) -> dict[str, NDArray[np.float32]]:
    collected: dict[str, list[NDArray[Any]]] = {}
    for found in graph.activations(pixels, feed, {name for _, name in graph.operator_outputs()}):
        for name, detail, values in found:
            collected.setdefault(name, []).append(dequantize(values, detail)[0] if values.ndim else values)
    return {name: np.stack(values) for name, values in collected.items()}
