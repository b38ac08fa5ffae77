"""Running .tflite bytes over a batch of images on the workstation."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.interpreter import dequantise

Feed = Callable[[NDArray[np.uint8]], NDArray[Any]]


def run_graph(data: bytes, pixels: NDArray[np.uint8], feed: Feed) -> NDArray[np.float32]:
    """Dequantised outputs (n, classes) of a graph; `feed` turns one image (1, h, w, 3) into its input tensor."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=data, num_threads=os.cpu_count())
    model.allocate_tensors()
    source, target = model.get_input_details()[0], model.get_output_details()[0]
    outputs = []
    for image in pixels:
        model.set_tensor(source["index"], feed(image[None]))
        model.invoke()
        outputs.append(dequantise(model.get_tensor(target["index"]), target).ravel())
    return np.stack(outputs)
