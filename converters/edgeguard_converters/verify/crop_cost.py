"""What a crop that was said costs on labelled images: the finished file with it and with the whole picture."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeguard.datasets.images import LabeledImage, prepare
from edgeguard.model.contract import Contract
from edgeguard.statistics import paired_proportions
from edgeguard_converters.contract.crop import as_flag, judged_images
from edgeguard_converters.graph.run import Feed, Outputs
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.verify.agreement import classes_of


def crop_cost(
    images: list[LabeledImage],
    targets: NDArray[np.int64],
    cropped: Outputs,
    *,
    contract: Contract,
    graph: TfliteGraph,
    feed: Feed,
) -> str | None:
    """A line where the finished graph is better on whole pictures than with the crop of its contract.

    Both sides of every other gate get the crop, so that only labels can tell.

    Args:
        images: of the gates; at most 200 are looked at.
        targets: the right raw output index of each, (n,).
        cropped: what the graph said of them with the crop.
        contract: of the file.
        graph: as it will be in the file.
        feed: pixels (1, h, w, 3) to its input.

    Returns:
        None for models that read coefficients, and where chance explains the difference.
    """
    if contract.preprocess.crop != "center" or contract.input.color == "DCT":
        return None
    numbers = judged_images(len(targets))
    whole = replace(
        contract,
        input=replace(contract.input, dtype="uint8"),
        preprocess=replace(contract.preprocess, crop="none", crop_fraction=1.0),
    )
    outputs = graph.outputs(prepare([images[i] for i in numbers], whole), feed)
    return line_of_costs(
        contract,
        classes_of(cropped[0][numbers], contract) == targets[numbers],
        classes_of(outputs[0], contract) == targets[numbers],
    )


def line_of_costs(contract: Contract, right: NDArray[np.bool_], right_whole: NDArray[np.bool_]) -> str | None:
    """The line for images on which the model is right with the crop, and with the whole picture."""
    n = len(right)
    gain, low, high = paired_proportions(int((right & ~right_whole).sum()), int((right_whole & ~right).sum()), n)
    if low <= 0:
        return None
    return (
        f"THE CROP COSTS ACCURACY: top-1 {right.mean():.3f} with --crop "
        f"{as_flag('center', contract.preprocess.crop_fraction)}, {right_whole.mean():.3f} with the whole picture "
        f"({100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], n = {n}); see --crop none"
    )
