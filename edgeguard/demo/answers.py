"""What the card model says of a frame, with its guard and without."""

import numpy as np
from numpy.typing import NDArray

from edgeguard.demo.assets import AlteredFrame
from edgeguard.model import Model, Prediction
from edgeguard.model.input_path import InputPath

Frame = NDArray[np.uint8]


def answer_undefended(model: Model, frame: Frame) -> Prediction:
    """The model's answer to a frame (uint8 HxWx3) without any guard."""
    path = InputPath(model.contract, profile=None, patch_guard=None)
    return model.rank(model.infer(path(path.arrive(frame)).tensor))


def answer_defended(model: Model, received: Frame) -> Prediction:
    """Pass 2 and the model, on the frame (uint8 HxWx3) that arrived after transit."""
    path = model.input_path
    return model.rank(model.infer(path(path.arrive(received, "run")).tensor))


def classify_altered(model: Model, raw: Frame, altered: AlteredFrame) -> dict[str, Prediction]:
    """The answers to a clip's frame and to its altered versions, by the column of the demo's table."""
    return {
        "clean": answer_undefended(model, raw),
        "undefended": answer_undefended(model, altered.undefended),
        "two_pass": answer_defended(model, altered.two_pass),
        "adaptive": answer_defended(model, altered.adaptive),
    }
