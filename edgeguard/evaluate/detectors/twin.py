"""A differentiable twin of a deployed detector, up to where boxes are suppressed; and how well it follows the file."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.differentiable.surrogates import Backward
from edgeguard.errors import InputError
from edgeguard.evaluate.detectors.candidates import Candidates, CodedAnchors, DetectorNetwork
from edgeguard.evaluate.rebuild.cut import POSTPROCESS, cut_before
from edgeguard.evaluate.rebuild.graph import Graph, Operator, read_graph
from edgeguard.evaluate.rebuild.network import CannotRebuild, Network
from edgeguard.evaluate.twin import Twin, TwinPlace
from edgeguard.model import Model, load_model
from edgeguard.model.contract import require_pixels
from edgeguard.model.detection import read_raw
from edgeguard.model.flatbuffer import LARGEST_FILE
from edgeguard.model.input_path import InputPath
from edgeguard.system.foreign import parsing, read_bounded


def require_detector(model: Model, path: object, what: str) -> None:
    """Refuse every other task.

    Raises:
        InputError: "`what` is for detectors" and the model's task.
    """
    if model.contract.task != "detect":
        raise InputError(f"{path}: {what} is for detectors; this model's task is {model.contract.task}")


def detector_twin(
    path: str | os.PathLike[str], place: TwinPlace = "frame", backward: Backward = "straight-through"
) -> Twin:
    """Rebuild a .tflite detector in torch, up to its suppression: `prepared` of the twin, then `network`.

    Args:
        path: the file that is on the device.
        place: what it takes: whole received frames, or the model's own input size.
        backward: the derivative that attacks see of a guard in front of the graph.

    Returns:
        A twin whose `network` gives `Candidates`; its `forward`, which is for classifiers, is not used.

    Raises:
        InputError: not a .tflite detector; `CannotRebuild` where its head or an operator is not known.

    Example:
        >>> twin = detector_twin("det.tflite", "input")             # doctest: +SKIP
        >>> twin.network(torch.zeros(1, 3, 300, 300)).boxes.shape    # doctest: +SKIP
    """
    model = load_model(path)
    require_detector(model, path, "the detector's twin")
    require_pixels(model.contract, "the twin")
    if model.contract.input.color != "RGB":
        raise InputError(f"{path}: the twin is for models of colors; this one reads one gray channel")
    data = read_bounded(path, LARGEST_FILE, "the model")
    return Twin(detector_network(data, model), model.contract, place, backward)


def detector_network(data: bytes, model: Model) -> DetectorNetwork:
    """The graph of a detector's file up to its suppression, tried on zeros.

    Raises:
        CannotRebuild: see `DetectorNetwork`; an operator is not known or not proven harmless, and named.
    """
    contract, spec = model.contract, model.contract.input
    try:
        with parsing("the graph"):
            graph = read_graph(data)
            operator = next((o for o in graph.operators if o.name == POSTPROCESS), None)
            if operator is None:
                if model.isolated is not None:
                    raise CannotRebuild(f"the twin is for graphs that may run in this process ({model.isolated})")
                network = DetectorNetwork(Network(graph, contract, every_output=True), contract)
            else:
                anchors = _coded_anchors(graph, operator, data)
                before = read_graph(cut_before(data, operator.inputs[:2]))
                network = DetectorNetwork(Network(before, contract, every_output=True), contract, anchors)
            with torch.no_grad():
                network(torch.zeros(1, 3, spec.height, spec.width))
    except CannotRebuild:
        raise
    except InputError as error:
        raise CannotRebuild(f"the twin cannot follow this graph: {error}") from error
    return network


def _coded_anchors(graph: Graph, operator: Operator, data: bytes) -> CodedAnchors:
    from flatbuffers import flexbuffers

    spec = graph.tensors[operator.inputs[2]]
    if spec.data is None:
        raise CannotRebuild("the anchors of its post-processing are no constants of the file")
    options = flexbuffers.Loads(bytearray(_custom_options(data)))
    y, x, h, w = (float(options[f"{axis}_scale"]) for axis in "yxhw")
    if min(y, x, h, w) <= 0:
        raise CannotRebuild("a scale of its post-processing is not above 0")
    values = torch.from_numpy(np.array(spec.values(), np.float32)).reshape(-1, 4)
    return CodedAnchors(values, y, x, h, w, classes=int(options["num_classes"]))


def _custom_options(data: bytes) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    codes = [(code.customCode or b"").decode("utf-8", "replace") for code in model.operatorCodes]
    found = next(o for o in model.subgraphs[0].operators if codes[o.opcodeIndex] == POSTPROCESS)
    return bytes(found.customOptions)


@dataclass(frozen=True)
class DetectorAgreement:
    """How well the twin follows the interpreter.

    Attributes:
        n: pictures.
        boxes: that were compared: of every anchor, or those that the file lists after its suppression.
        largest_box: difference of an edge, pixels of the model's input.
        largest_score: difference of a score, 0..1.
        step: of the file's scores, where they are quantized; 0 for float ones.
    """

    n: int
    boxes: int
    largest_box: float
    largest_score: float
    step: float

    @property
    def line(self) -> str:
        """For terminal and report."""
        steps = "" if self.step == 0 else f", {self.largest_score / self.step:.2g} steps of its quantization"
        return (
            f"the twin agrees with the file on {self.n} images: of {self.boxes} boxes the largest difference is "
            f"{self.largest_box:.2g} pixels of the input and {self.largest_score:.2g} of a score{steps}"
        )


def detector_agreement(twin: Twin, model: Model, frames: Sequence[NDArray[np.uint8]]) -> DetectorAgreement:
    """Compare the twin with the runtime on frames (HxWx3), both from the frame on, guard included.

    Heads of every anchor are compared anchor by anchor, class by class. What a file lists after its own suppression is
    looked for among the twin's candidates: of the anchors whose score of that class is within two steps, the nearest.
    """
    network, contract = twin.network, model.contract
    assert isinstance(network, DetectorNetwork)
    path = InputPath(contract, patch_guard=None)
    on_frames = Twin(network, contract, "frame")
    sides = np.array([contract.input.width, contract.input.height] * 2, np.float32)
    step = score_step(model, network)
    count, box, score = 0, 0.0, 0.0
    for frame in frames:
        outputs = model.run(path(path.arrive(frame, "run")).tensor)
        with torch.inference_mode():
            candidates = network(on_frames.prepared(to_levels(frame[None])))
        boxes, scores = candidates.boxes[0].numpy(), candidates.scores[0].numpy()
        if network.anchors is None:
            corners, expected = read_raw(outputs, contract)
            count += len(corners)
            box = max(box, float(np.abs((corners - boxes) * sides).max()))
            score = max(score, float(np.abs(expected[:, candidates.background :] - scores).max()))
            continue
        found = _listed_differences(outputs, contract.detection.roles if contract.detection else (), boxes, scores)
        count += len(found)
        if len(found):
            box = max(box, float((found[:, :4] * sides).max()))
            score = max(score, float(found[:, 4].max()))
    return DetectorAgreement(len(frames), count, box, score, step)


def score_step(model: Model, network: DetectorNetwork) -> float:
    """The quantisation step of a file's scores; 0 where they are float."""
    graph = network.network.graph
    number = graph.outputs[1 if network.anchors is not None else network.score_output]
    makers = {n: o for o in graph.operators for n in o.outputs}
    while number in makers and makers[number].name == "DEQUANTIZE":
        number = makers[number].inputs[0]
    spec = graph.tensors[number]
    return float(spec.scale[0]) if spec.is_quantized else 0.0


def _listed_differences(
    outputs: Sequence[NDArray[np.float32]],
    roles: Sequence[str],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(m, 5): of each listed box the differences of its edges (in parts of the input) and of its score."""
    parts = dict(zip(roles, outputs, strict=True))
    listed, classes = parts["boxes"].reshape(-1, 4)[:, [1, 0, 3, 2]], parts["classes"].ravel()
    values = parts["scores"].ravel()
    n = round(float(parts["count"].ravel()[0])) if "count" in parts else len(values)
    rows = []
    for place in range(n):
        apart = np.abs(boxes - listed[place]).max(axis=1)
        apart_score = np.abs(scores[:, round(float(classes[place]))] - values[place])
        nearest = int((apart + apart_score).argmin())
        rows.append([*np.abs(boxes[nearest] - listed[place]), apart_score[nearest]])
    return np.array(rows, np.float32).reshape(-1, 5)


def candidates_of(twin: Twin, frame: NDArray[np.uint8]) -> Candidates:
    """What the twin says of one frame (HxWx3), no gradient."""
    with torch.inference_mode():
        found = twin.network(twin.prepared(to_levels(frame[None])))
    assert isinstance(found, Candidates)
    return found
