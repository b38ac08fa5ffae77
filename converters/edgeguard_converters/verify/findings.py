"""What a report shows of a finished graph beside its contract and its gates."""

from pathlib import Path

from edgeguard.model.contract import Contract
from edgeguard_converters.contract.image_sets import GateImages
from edgeguard_converters.edgetpu.predict import predict
from edgeguard_converters.graph.float_graph import FloatGraph
from edgeguard_converters.graph.run import Feed, Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.verify.guard_cost import GuardCost
from edgeguard_converters.verify.latency import measure_latency
from edgeguard_converters.verify.layers import layer_snr
from edgeguard_converters.verify.report import Findings, worst_images


def find(
    float_graph: FloatGraph,
    finished: TfliteGraph,
    *,
    feed: Feed,
    images: GateImages,
    names: list[str],
    outputs: tuple[Outputs, Outputs],
    contract: Contract,
    log: Path,
    classes: str = "",
    cost: GuardCost | None = None,
) -> Findings:
    """Measure layers and speed, and look for the worst images.

    Args:
        float_graph: the float graph.
        finished: the graph that the file will hold.
        feed: pixels (1, h, w, 3) to the finished graph's input.
        images: the gates' images among them, n.
        names: of the gates' images.
        outputs: what the two graphs said of these, float32 arrays (n, ...).
        contract: of the model.
        log: where the runtime's chatter goes.
        classes: how a folder of labelled images became class indices, in words.
        cost: what the guard costs.
    """
    pixels = images.evaluation
    return Findings(
        layers=layer_snr(float_graph, finished, pixels, log=log, feed=feed),
        latencies=measure_latency(float_graph.tflite, finished, pixels[0], feed=float_graph.feed, int8_feed=feed),
        worst=worst_images(names, images.received, *outputs, contract),
        operators=finished.operators(),
        edgetpu=predict(finished),
        classes=classes,
        cost=cost,
    )
