"""What a detector's graph says before suppression: a box and class scores for every anchor, differentiable (torch)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeguard.evaluate.detectors.score_logits import ScoreLogits
from edgeguard.evaluate.rebuild.graph import Graph
from edgeguard.evaluate.rebuild.network import CannotRebuild, Network
from edgeguard.model.contract import Contract, Detection
from edgeguard.model.detection import box_and_score_outputs
from edgeguard.model.yolo import BOX_NUMBERS, anchor_cells, columns_axis

_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Candidates:
    """Of n pictures and k anchors.

    Attributes:
        boxes: (n, k, 4): x1, y1, x2, y2 in parts of the model's input.
        logits: (n, k, classes): of the scores 0..1, a background left out.
        background: class numbers of the file begin behind it: 1 where `logits` has left one out, else 0.
    """

    boxes: Tensor
    logits: Tensor
    background: int = 0

    @property
    def scores(self) -> Tensor:
        """(n, k, classes) in 0..1."""
        return self.logits.sigmoid()


class DetectorNetwork(torch.nn.Module):
    """Levels of the model's input size, float32 (n, 3, h, w), to `Candidates`.

    Args:
        network: the graph with all outputs; for a `postprocess` head what stands before that operator.
        contract: of the file.
        anchors: of a `postprocess` head; None for the others.

    Raises:
        CannotRebuild: a head whose candidates are not known.
    """

    def __init__(self, network: Network, contract: Contract, anchors: "CodedAnchors | None" = None) -> None:
        super().__init__()
        self.network, self.contract, self.anchors = network, contract, anchors
        self.detection = contract.detection or Detection()
        graph = network.graph
        if anchors is None and self.detection.head == "end-to-end":
            raise CannotRebuild("an end-to-end head gives finished boxes: its candidates are not known")
        if anchors is None and self.detection.head == "postprocess":
            raise CannotRebuild("lists of finished boxes that no known operator made: its candidates are not known")
        self._boxes, self._scores = 0, 0
        if anchors is not None:
            self._scores = 1
        elif self.detection.head == "raw":
            found = box_and_score_outputs([graph.tensors[n].shape[1:] for n in graph.outputs])
            if found is None:
                raise CannotRebuild("the outputs are not boxes and scores")
            self._boxes, self._scores = found
        self._logits = ScoreLogits(graph, graph.outputs[self._scores]) if self._traceable(graph) else None

    def forward(self, levels: Tensor) -> Candidates:
        """See the class."""
        outputs = self.network.graph.outputs
        if self.detection.head == "joined" and self.anchors is None:
            return self._joined(self.network.values(levels, (outputs[0],))[0])
        wanted = (outputs[self._boxes], *(() if self._logits is None else self._logits.sources))
        if self._logits is None:
            wanted = (*wanted, outputs[self._scores])
        boxes, *rest = self.network.values(levels, wanted)
        logits = self._as_logits(rest[0]) if self._logits is None else self._logits(rest)
        boxes = boxes if boxes.shape[-1] == BOX_NUMBERS else boxes.transpose(1, 2)
        logits = logits if logits.shape[1] == boxes.shape[1] else logits.transpose(1, 2)
        if self.anchors is not None:
            # the operator counts a background where the scores have a class more than it has
            first = logits.shape[2] - self.anchors.classes
            return Candidates(self.anchors.decoded(boxes), logits[:, :, first:])
        first = int(self.contract.background)
        if self.detection.objectness:
            logits = _product(logits[:, :, :1], logits[:, :, 1:])
        return Candidates(self._corners(boxes), logits[:, :, first:], first)

    @property
    def score_output(self) -> int:
        """Which of the graph's outputs holds the scores."""
        return self._scores

    def _traceable(self, graph: Graph) -> bool:
        """Only scores that are probabilities have a sigmoid to be traced; class scores alone, without a background's
        softmax."""
        probabilities = self.anchors is not None or self.contract.outputs == "probabilities"
        return probabilities and self.detection.head != "joined" and ScoreLogits.of(graph, graph.outputs[self._scores])

    def _as_logits(self, scores: Tensor) -> Tensor:
        if self.anchors is None and self.contract.outputs == "logits":
            if not self.contract.background:
                return scores
            scores = torch.softmax(scores, -1)
        return torch.logit(scores, eps=_LEAST)

    def _joined(self, output: Tensor) -> Candidates:
        spec, detection = self.contract.input, self.detection
        axis = columns_axis(tuple(output.shape[1:]), spec.width, spec.height)
        if axis is None:
            raise CannotRebuild(f"an output of {tuple(output.shape[1:])} holds no boxes and scores")
        table = output.transpose(1, 2) if axis == 0 else output
        boxes, logits = table[:, :, :BOX_NUMBERS], table[:, :, BOX_NUMBERS:]
        if self.contract.outputs == "probabilities":
            logits = torch.logit(logits, eps=_LEAST)
        if detection.objectness:
            logits = _product(logits[:, :, :1], logits[:, :, 1:])
        return Candidates(self._corners(boxes), logits)

    def _corners(self, boxes: Tensor) -> Tensor:
        detection, spec = self.detection, self.contract.input
        if detection.units == "cells":
            centers, strides = (torch.from_numpy(v) for v in anchor_cells(boxes.shape[1], spec.width, spec.height))
            sides = boxes[..., 2:].clamp(max=20).exp() * strides
            boxes = torch.cat([(boxes[..., :2] + centers) * strides, sides], -1)
        if detection.units in ("pixels", "cells"):
            size = torch.tensor([spec.width, spec.height, spec.width, spec.height], dtype=torch.float32)
            boxes = boxes / (size[[1, 0, 3, 2]] if detection.boxes == "yxyx" else size)
        if detection.boxes == "yxyx":
            return boxes[..., [1, 0, 3, 2]]
        if detection.boxes == "cxcywh":
            half = boxes[..., 2:] / 2
            return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)
        return boxes


@dataclass(frozen=True, eq=False)
class CodedAnchors:
    """The anchors and scales of TFLite_Detection_PostProcess, which decodes boxes as offsets from them.

    Attributes:
        anchors: (k, 4): y, x, h, w in parts of the input.
        y_scale, x_scale, h_scale, w_scale: what the four numbers of a box are divided by.
        classes: how many, the background not counted.
    """

    anchors: Tensor
    y_scale: float
    x_scale: float
    h_scale: float
    w_scale: float
    classes: int

    def decoded(self, boxes: Tensor) -> Tensor:
        """Coded boxes (n, k, 4) to corners x1, y1, x2, y2.

        Source: tensorflow/lite/kernels/detection_postprocess.cc.
        """
        y, x, height, width = self.anchors.unbind(-1)
        middle_y = boxes[..., 0] / self.y_scale * height + y
        middle_x = boxes[..., 1] / self.x_scale * width + x
        half_h = (boxes[..., 2] / self.h_scale).exp() * height / 2
        half_w = (boxes[..., 3] / self.w_scale).exp() * width / 2
        return torch.stack([middle_x - half_w, middle_y - half_h, middle_x + half_w, middle_y + half_h], -1)


def _product(object_logit: Tensor, class_logits: Tensor) -> Tensor:
    """The logit of the product of two probabilities."""
    together = torch.nn.functional.logsigmoid(object_logit) + torch.nn.functional.logsigmoid(class_logits)
    return together - torch.log1p(-together.exp().clamp(max=1 - 1e-6))
