"""Where quantisation hurts: the signal-to-noise ratio of every layer's output, int8 against float."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.runtime import dequantise
from edgeguard.statistics import snr_db
from edgeguard_converters.graph.edit import operator_outputs
from edgeguard_converters.graph.run import Feed
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
    float_data: bytes,
    int8_data: bytes,
    pixels: NDArray[np.uint8],
    feed: Feed,
    log: Path,
    int8_feed: Feed = lambda image: image,
) -> tuple[Layer, ...]:
    """SNR of each layer, over up to 8 images, in the order of the int8 graph.

    Args:
        float_data: the float graph, whose tensors have the same names.
        int8_data: the int8 graph.
        pixels: images as the model sees them, (n, h, w, 3).
        feed: one image (1, h, w, 3) to the float graph's input.
        log: where the runtime's chatter goes.
        int8_feed: one image to the int8 graph's input.
    """
    pixels = pixels[:: max(-(-len(pixels) // _IMAGES), 1)]
    with chatter_to(log):
        expected = _outputs(float_data, pixels, feed)
        found = _outputs(int8_data, pixels, int8_feed)
    layers = []
    for index, (operator, name) in enumerate(operator_outputs(int8_data)):
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


def _outputs(data: bytes, pixels: NDArray[np.uint8], feed: Feed) -> dict[str, NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    model.allocate_tensors()
    names = {name for _, name in operator_outputs(data)}
    details = [detail for detail in model.get_tensor_details() if detail["name"] in names]
    collected: dict[str, list[Any]] = {detail["name"]: [] for detail in details}
    for image in pixels:
        model.set_tensor(model.get_input_details()[0]["index"], feed(image[None]))
        model.invoke()
        for detail in details:
            try:
                values = model.get_tensor(detail["index"])
            except ValueError:  # a constant that the runtime folded away
                continue
            collected[detail["name"]].append(dequantise(values, detail)[0] if values.ndim else values)
    return {name: np.stack(values) for name, values in collected.items() if values}
