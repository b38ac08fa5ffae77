"""What the guard costs on labelled images: the finished file with it and without it, image by image."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import LabeledImage, prepare
from edgeguard.model.contract import Contract, ContractGuard
from edgeguard.statistics import paired_proportions
from edgeguard_converters.graph.run import Feed, Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph


@dataclass(frozen=True)
class GuardCost:
    """Top-1 of the same file on the same images.

    Attributes:
        n: images.
        without, with_guard: top-1, 0..1.
        low, high: 95 % interval of what is lost (without less with), of pairs (Bonett and Price 2012).
    """

    n: int
    without: float
    with_guard: float
    low: float
    high: float

    @property
    def line(self) -> str:
        """In words.

        Example:
            >>> GuardCost(400, 0.9, 0.88, -0.001, 0.041).line
            'top-1 0.9000 without, 0.8800 with: it costs 2.0 points [-0.1, 4.1] (95 %, paired), n = 400'
            >>> GuardCost(400, 0.88, 0.9, -0.041, 0.001).line
            'top-1 0.8800 without, 0.9000 with: it gains 2.0 points [-0.1, 4.1] (95 %, paired), n = 400'
        """
        cost, low, high = (100 * share for share in (self.without - self.with_guard, self.low, self.high))
        points = f"it gains {-cost:.1f} points [{-high:.1f}, {-low:.1f}]"
        if cost >= 0:
            points = f"it costs {cost:.1f} points [{low:.1f}, {high:.1f}]"
        return f"top-1 {self.without:.4f} without, {self.with_guard:.4f} with: {points} (95 %, paired), n = {self.n}"


def guard_cost(
    images: list[LabeledImage],
    targets: NDArray[np.int64],
    guarded: Outputs,
    *,
    contract: Contract,
    graph: TfliteGraph,
    feed: Feed,
) -> GuardCost | None:
    """Compare the finished graph behind its guard and without it.

    Args:
        images: of the gates.
        targets: the right raw output index of each, (n,).
        guarded: what the graph said of them behind the guard.
        contract: of the file.
        graph: as it will be in the file.
        feed: pixels (1, h, w, 3) to its input.

    Returns:
        None without a guard, and where the guard cannot be taken away (inside the graph, or a model that
        reads its coefficients).
    """
    guard = contract.guard
    if guard == ContractGuard() or guard.place == "in-graph" or contract.input.color == "DCT":
        return None
    bare = replace(contract, guard=ContractGuard(), input=replace(contract.input, dtype="uint8"))
    outputs = graph.outputs(prepare(images, bare), feed)
    without, with_guard = (_right(found[0], targets) for found in (outputs, guarded))
    lost, gained = int((without & ~with_guard).sum()), int((with_guard & ~without).sum())
    _, low, high = paired_proportions(gained, lost, len(targets))
    return GuardCost(len(targets), float(without.mean()), float(with_guard.mean()), low, high)


def _right(outputs: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    return outputs.reshape(len(targets), -1).argmax(axis=1) == targets
