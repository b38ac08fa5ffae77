"""What a report shows of a finished graph beside its contract and its gates."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeguard.model.contract import Contract
from edgeguard_converters.edgetpu.predict import predict
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.run import Feed, Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.verify.latency import measure_latency
from edgeguard_converters.verify.layers import layer_snr
from edgeguard_converters.verify.report import Findings, worst_images


def find(
    float_graph: FloatGraph,
    finished: TfliteGraph,
    *,
    feed: Feed,
    pixels: NDArray[np.uint8],
    received: NDArray[np.uint8],
    outputs: tuple[Outputs, Outputs],
    names: list[str],
    contract: Contract,
    log: Path,
) -> Findings:
    """Measure layers and speed, and look for the worst images.

    Args:
        float_graph: the float graph.
        finished: the graph that the file will hold.
        feed: pixels (1, h, w, 3) to the finished graph's input.
        pixels: the gates' images as the trained network sees them, (n, h, w, 3) of uint8.
        received: the same as the device feeds them to the finished graph.
        outputs: what the two graphs said of them, dequantized.
        names: of the images.
        contract: of the model.
        log: where the runtime's chatter goes.
    """
    return Findings(
        layers=layer_snr(float_graph, finished, pixels, log=log, feed=feed),
        latencies=measure_latency(float_graph.tflite, finished, pixels[0], feed=float_graph.feed, int8_feed=feed),
        worst=worst_images(names, received, *outputs, contract),
        operators=finished.operators(),
        edgetpu=predict(finished),
    )
