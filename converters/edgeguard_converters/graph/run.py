"""Running .tflite bytes over a batch of images on the workstation."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.runtime import dequantise

Feed = Callable[[NDArray[np.uint8]], NDArray[Any]]
#: One float array (n, ...) for each output of a model.
Outputs = tuple[NDArray[np.float32], ...]


def run_graph(data: bytes, pixels: NDArray[np.uint8], feed: Feed) -> Outputs:
    """The dequantised outputs of a graph; `feed` turns one image (1, h, w, 3) into its input tensor."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=data, num_threads=os.cpu_count())
    model.allocate_tensors()
    source, targets = model.get_input_details()[0], model.get_output_details()
    collected: list[list[NDArray[np.float32]]] = [[] for _ in targets]
    for image in pixels:
        model.set_tensor(source["index"], feed(image[None]))
        model.invoke()
        for target, values in zip(targets, collected, strict=True):
            values.append(dequantise(model.get_tensor(target["index"]), target)[0])
    return tuple(np.stack(values) for values in collected)


def integer_feed(dtype: str) -> Feed:
    """Pixels to the input of an 8-bit graph: levels as they are for uint8, minus 128 for int8.

    Example:
        >>> integer_feed("int8")(np.zeros((1, 1, 1, 3), np.uint8)).ravel().tolist()
        [-128, -128, -128]
    """
    return (lambda image: image) if dtype == "uint8" else (lambda image: (image ^ np.uint8(0x80)).view(np.int8))
