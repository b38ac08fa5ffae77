"""A differentiable twin of a deployed classifier: the .tflite's graph in torch, the contract's preparation in front."""

import os
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.differentiable.crop_resize import CropResize
from edgeguard.differentiable.guard_layer import GuardLayer, to_levels
from edgeguard.differentiable.surrogates import Backward
from edgeguard.errors import InputError
from edgeguard.evaluate.rebuild.network import Network, rebuild
from edgeguard.model import Model, load_model
from edgeguard.model.contract import Contract, ContractGuard, require_classifier, require_pixels
from edgeguard.model.input_path import InputPath
from edgeguard.model.prediction import two_classes

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
        which: Pass = "second" if contract.guard.place == "frame" else "only"
        self.guard = None if profile is None else GuardLayer(profile, backward, which)

    def forward(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) RGB 0..255 to (n, classes)."""
        return self.of_classes(self.network(self.prepared(levels)))

    def of_classes(self, outputs: Tensor) -> Tensor:
        """Logits of two classes where the network has one output, that of class 1; others as they are."""
        if outputs.shape[-1] != 1:
            return outputs
        if self.contract.outputs == "probabilities":
            outputs = torch.logit(outputs, eps=1e-6)
        return torch.cat([torch.zeros_like(outputs), outputs], dim=-1)

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

    @property
    def profile(self) -> GuardProfile | None:
        """Of the guard that sees the levels first, for attacks that look into it; None where none does."""
        return self.guard.profile if self.guard is not None and self.contract.guard.place == self.place else None

    @property
    def room(self) -> int:
        """What that guard leaves before its transform: nothing in pass 2, whose levels have it already."""
        return 0 if self.profile is None or self.contract.guard.place == "frame" else self.profile.room

    def through_guard(self, levels: Tensor) -> Tensor:
        """That guard's own bytes, float32 (n, 3, h, w) to the same shape."""
        return levels if self.guard is None else self.guard(levels.detach())

    def behind_guard(self, levels: Tensor) -> Tensor:
        """From that guard's output to logits (n, classes)."""
        return self.network(levels if self.resize is None else self.resize(levels))

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
    require_classifier(model.contract, f"{path}: the twin")
    require_pixels(model.contract, "the twin")
    if model.contract.input.color == "GRAY":
        raise InputError(f"{path}: the twin is for models of colors; this one reads one gray channel")
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
        expected = model.infer(path(path.arrive(frame, "run")).tensor)
        with torch.inference_mode():
            outputs = network.outputs(on_frames.prepared(to_levels(frame[None])))[0].numpy()
        outputs = two_classes(outputs, logits=contract.outputs == "logits")
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
