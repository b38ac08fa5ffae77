"""Gate images that all get the same answer: the gates pass, and that says little."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.dct.boxes import Box
from edgeguard.model.contract import Contract
from edgeguard.model.detection import detect
from edgeguard.preprocess.geometry import Placement
from edgeguard_converters.graph.run import Outputs
from edgeguard_converters.verify.agreement import classes_of

_FEWEST = 10  # images; fewer may well be all of one kind


def one_answer_line(outputs: Outputs, contract: Contract, targets: NDArray[np.int64] | None) -> str | None:
    """A line where a classifier gives all gate images one class, or a detector finds nothing in any; else None.

    Args:
        outputs: what the float graph says of the gate images, (n, ...) for each output.
        contract: of the model; of one of sound nothing is said.
        targets: the right raw output index of each image, (n,), or None where they are not known: where the one class
            is right, nothing is said.
    """
    n = len(outputs[0])
    if n < _FEWEST or contract.input.kind == "audio":
        return None
    if contract.task == "classify":
        said = classes_of(outputs[0], contract)
        if (said != said[0]).any() or (targets is not None and (targets == said).all()):
            return None
        name = f"'{contract.labels[said[0]]}'" if contract.labels else f"class {said[0]}"
        return (
            f"ALL {n} GATE IMAGES ARE {name} TO THE MODEL, SO AGREEMENT SAYS LITTLE: is it trained, and is its "
            "preprocessing right? If these are all of one kind, give others with --eval"
        )
    if contract.task == "detect" and not any(_finds(outputs, contract, image) for image in range(n)):
        return (
            f"THE MODEL FINDS NOTHING IN ANY OF {n} GATE IMAGES, SO AGREEMENT SAYS NOTHING: is it trained, and are "
            "--boxes and its preprocessing right? If they hold nothing that it knows, give others with --eval"
        )
    return None


def _finds(outputs: Outputs, contract: Contract, image: int) -> bool:
    side = Box(0, 0, contract.input.width, contract.input.height)
    return bool(detect([values[image] for values in outputs], contract, Placement(side, side)).boxes)
