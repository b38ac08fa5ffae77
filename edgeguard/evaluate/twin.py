"""A differentiable twin of a deployed classifier: the .tflite's graph in torch, the contract's preparation in front."""

import os
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.crop_resize import CropResize
from edgeguard.differentiable.guard_layer import GuardLayer, to_levels
from edgeguard.differentiable.surrogates import Backward
from edgeguard.errors import InputError
from edgeguard.evaluate.rebuild.network import Network, rebuild
from edgeguard.model import Model, load_model
from edgeguard.model.classifier import require_classifier
from edgeguard.model.contract import Contract, ContractGuard, require_pixels
from edgeguard.model.input_path import InputPath

TwinPlace = Literal["frame", "input"]


class Twin(torch.nn.Module):
    """Levels of frames (`place = "frame"`, any size) or of the model's input (`"input"`) to logits.

    On frames the contract's guard, crop and resize stand in front; at the input only a guard whose place is `input`
    (one that is inside the graph is part of it). For a `ycbcr*` profile on frames, pass 2 works on received pixels
    here; the device requantises received coefficients.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        contract: Contract,
        place: TwinPlace,
        backward: Backward = "straight-through",
    ) -> None:
        super().__init__()
        self.network, self.contract, self.place, self.backward = network, contract, place, backward
        self.resize = CropResize(contract) if place == "frame" else None
        profile = contract.guard.profile if contract.guard.place in ("frame", "input") else None
        if place == "input" and contract.guard.place == "frame":
            profile = None
        self.guard = None if profile is None else GuardLayer(profile, backward)

    def forward(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) RGB 0..255 to (n, classes)."""
        return self.network(self.prepared(levels))

    def prepared(self, levels: Tensor) -> Tensor:
        """What the network gets: levels behind the guard, of the model's size."""
        x = levels
        if self.guard is not None and self.contract.guard.place == "frame":
            x = self.guard(x)
        if self.resize is not None:
            x = self.resize(x)
        if self.guard is not None and self.contract.guard.place == "input":
            x = self.guard(x)
        return x

    def undefended(self) -> "Twin":
        """The same network without the guard in front of it (one inside the graph stays)."""
        if self.contract.guard.place == "in-graph":
            return self
        return self.guarded(None)

    def guarded(self, profile: GuardProfile | None) -> "Twin":
        """The same network behind another guard at this twin's place."""
        guard = ContractGuard() if profile is None else ContractGuard(profile, self.place)
        contract = replace(self.contract, guard=guard)
        return Twin(self.network, contract, self.place, self.backward)


def twin(path: str | os.PathLike[str], place: TwinPlace = "frame", backward: Backward = "straight-through") -> Twin:
    """Rebuild a .tflite classifier in torch with its weights, its quantisation and its contract.

    Args:
        path: the file that is on the device.
        place: what it takes: whole received frames of any size, or the model's own input size.
        backward: the derivative that attacks see of a guard in front of the graph.

    Returns:
        A module from float32 (n, 3, h, w) RGB 0..255 to dequantised outputs, logits where the graph ends in SOFTMAX.

    Raises:
        InputError: not a .tflite classifier; `CannotRebuild` where it has an operator that the twin does not know.

    Example:
        >>> module = twin("model.tflite", place="input")        # doctest: +SKIP
        >>> module(torch.zeros(1, 3, 224, 224)).argmax()         # doctest: +SKIP
    """
    model = load_model(path)
    require_classifier(model, path, "the twin is for classifiers")
    require_pixels(model.contract, "the twin")
    return Twin(rebuild(path, model), model.contract, place, backward)


@dataclass(frozen=True)
class TwinAgreement:
    """How well the twin follows the interpreter.

    Attributes:
        agreeing: images with equal labels, of n.
        tied: further images where the twin's label has the file's best score too (8-bit scores are often equal).
        largest_difference: of an output.
    """

    agreeing: int
    tied: int
    n: int
    largest_difference: float


def agreement(twin_: Twin, model: Model, frames: list[NDArray[np.uint8]]) -> TwinAgreement:
    """Compare the twin with the runtime on frames (HxWx3), both from the frame on, guard included.

    Raises:
        InputError: they give outputs of different sizes: the file says one thing of its shapes and does another.
    """
    agreeing, tied, largest, contract = 0, 0, 0.0, model.contract
    path = InputPath(contract, patch_guard=None)
    network = twin_.network
    assert isinstance(network, Network)  # what `twin` rebuilds
    on_frames = Twin(network, contract, "frame")
    for frame in frames:
        expected = model.infer(path(path.arrive(frame)).tensor)
        with torch.inference_mode():
            outputs = network.outputs(on_frames.prepared(to_levels(frame[None])))[0].numpy()
        if outputs.shape != expected.shape:
            raise InputError(
                f"the runtime gives an output of shape {expected.shape} where the graph's operators give "
                f"{outputs.shape}: the file is damaged"
            )
        equal = bool(outputs.argmax() == expected.argmax())
        agreeing += equal
        tied += not equal and bool(expected[outputs.argmax()] == expected.max())
        largest = max(largest, float(np.abs(outputs - expected).max()))
    return TwinAgreement(agreeing, tied, len(frames), largest)
