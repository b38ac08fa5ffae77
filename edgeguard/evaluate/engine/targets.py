"""What is attacked: the deployed file, as something to ask and as something to differentiate."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.dct.profile import GuardProfile, Pass
from edgeguard.differentiable.crop_resize import CropResize, FramePart, part_that_is_read
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import Backward, bpda, surrogate_codec
from edgeguard.errors import InputError
from edgeguard.evaluate.defenses.base import Differentiable
from edgeguard.evaluate.defenses.codecs import in_pass
from edgeguard.evaluate.defenses.detectors import Detector, FeatureSqueezing, MagnetDetector, scaled, threshold
from edgeguard.evaluate.defenses.magnet import trained_reformer
from edgeguard.evaluate.defenses.registry import DETECTORS, NEED_LIBRARY, Defense, Guard, defense_by_name, guard_of
from edgeguard.evaluate.rebuild.network import Network, rebuild
from edgeguard.evaluate.twin import TwinPlace
from edgeguard.model import Model, load_model
from edgeguard.model.input_path import InputPath
from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded
from edgeguard.system.located import located

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Target:
    """A deployed classifier at the place that is attacked.

    Attributes:
        model: path of the .tflite.
        place: `frame` (whole received frames) or `input` (the model's own size).
        library: paths of clean pictures, for defenses that learn from some.
    """

    model: str
    place: TwinPlace
    library: tuple[str, ...] = ()

    def read(self, path: str) -> Frame:
        """An image file as the attacker finds it: the decoded frame, or the model's input made of it.

        Returns:
            uint8 (height, width, 3), RGB.

        Raises:
            JpegError: the bytes do not decode.
        """
        frame = decode_whole(read_bounded(located(path), LARGEST_PICTURE, "the picture"))
        if self.place == "frame":
            return frame
        way = _undefended(self.model)
        return way.levels(way.arrive(frame))[0]

    def defense(self, name: str) -> Defense:
        """A defense by name; `contract` is the model's own guard (nothing where it is inside the graph).

        Raises:
            InputError: no such defense, or it learns from clean pictures and there are none.
        """
        guard = _model(self.model).contract.guard
        if name == "contract":
            if guard.profile is None or guard.place == "in-graph":
                return defense_by_name("none")
            return Guard(guard.profile, "contract")
        if name in DETECTORS:
            return defense_by_name("none")
        return defense_by_name(name, _library(self.library) if name in NEED_LIBRARY else ())

    def refuses(self, name: str, frame: Frame) -> bool:
        """True where the defense is a detector and takes the frame, uint8 (height, width, 3), for an attack."""
        if name not in DETECTORS:
            return False
        detector, limit = _detector(self, name)
        return detector.distance(self.probabilities, frame) > limit

    def probabilities(self, frame: Frame) -> NDArray[np.float32]:
        """The deployed file's probabilities for one frame: uint8 (height, width, 3) to float32 (classes,), 0..1."""
        outputs = self.outputs(frame)
        if _model(self.model).contract.outputs == "logits":
            exponents = np.exp(outputs - outputs.max())
            return np.asarray(exponents / exponents.sum(), np.float32)
        return outputs

    def labels(self, frames: Sequence[Frame]) -> list[int]:
        """The deployed file's labels for frames as they are, no guard applied here."""
        return [int(self.outputs(frame).argmax()) for frame in frames]

    def outputs(self, frame: Frame) -> NDArray[np.float32]:
        """The deployed file's outputs for one frame: uint8 (height, width, 3) to dequantized float32 (classes,)."""
        path = _undefended(self.model)
        tensor = path(path.arrive(frame)).tensor if self.place == "frame" else path.quantize(frame)
        return _model(self.model).infer(tensor)

    def part(self, defense: str, frame: Frame) -> FramePart | None:
        """The part of a frame that an attack through this defense has to change: what the model's crop reads.

        None where the whole frame counts: at the model's input, and behind defenses that are no guards, whose output
        anywhere can depend on pixels anywhere.
        """
        guard = guard_of(self.defense(defense))
        if self.place != "frame" or (guard is None and defense != "none"):
            return None
        profile = None if guard is None else guard.profile
        return part_that_is_read(frame.shape[1], frame.shape[0], _model(self.model).contract, profile)

    def victim(
        self,
        defense: str,
        backward: Backward,
        *,
        gradient_free: bool = False,
        seed: int = 0,
        which: Pass = "only",
        part: FramePart | None = None,
    ) -> "Victim":
        """The model behind a defense.

        Args:
            defense: its name.
            backward: its derivative, where it is a guard profile.
            gradient_free: only to ask, as it is deployed; else to differentiate.
            seed: of a randomized defense.
            which: which pass the defense is, for a guard profile: `second` where the attacker sees what pass 1 gave.
            part: levels are this part of frames only (see `part`); one to differentiate.

        Raises:
            CannotRebuild: it is to be differentiated, and the graph has operators that the twin does not know.
        """
        made = self.defense(defense)
        return Victim(self, made, backward=backward, gradient_free=gradient_free, seed=seed, which=which, part=part)


class Victim(torch.nn.Module):
    """Levels at the attacked place to logits, through a defense.

    The defense's own code runs forward; backward it is our codec's surrogate for guard profiles, a net's own derivative
    for defenses that are nets, the identity for everything else (BPDA). What an attack needs that looks into the guard
    (`GuardedVictim`) is here too.
    """

    def __init__(
        self,
        target: Target,
        defense: Defense,
        *,
        backward: Backward,
        gradient_free: bool,
        seed: int,
        which: Pass = "only",
        part: FramePart | None = None,
    ) -> None:
        super().__init__()
        self.target, self.defense, self.backward, self.seed = target, defense, backward, seed
        self.which: Pass = which
        self.gradient_free = gradient_free
        self.draws = 0
        if not gradient_free:
            self.network = _network(target.model)
            self.resize = CropResize(self.network.contract, part) if target.place == "frame" else None

    def forward(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) to (n, classes)."""
        if self.gradient_free:
            frames = [self._defended(frame) for frame in to_frames(levels)]
            outputs = np.stack([self.target.outputs(frame) for frame in frames])
            return torch.from_numpy(np.log(outputs + 1e-9) if self._gives_probabilities() else outputs)
        x = levels
        if self.defense.name != "none":
            exact, profile = self.through_guard(levels), self.profile
            if profile is not None and levels.requires_grad:
                x = bpda(exact, surrogate_codec(levels, profile, self.backward, self.which))
            elif levels.requires_grad:
                net = self.defense if isinstance(self.defense, Differentiable) else None
                x = bpda(exact, levels if net is None else net.differentiable(levels))
            else:
                x = exact
        return self.behind_guard(x)

    @property
    def profile(self) -> GuardProfile | None:
        """Of the guard that sees attacked levels first; None where there is none, or a defense of another kind."""
        guard = guard_of(self.defense)
        return None if guard is None else guard.profile

    @property
    def room(self) -> int:
        """See `GuardedVictim`: pass 2 gets levels that have the profile's room."""
        return 0 if self.profile is None or self.which == "second" else self.profile.room

    def through_guard(self, levels: Tensor) -> Tensor:
        """The defense's own bytes, float32 (n, 3, h, w) to the same shape; no derivative."""
        return to_levels(np.stack([self._defended(frame) for frame in to_frames(levels)]))

    def behind_guard(self, levels: Tensor) -> Tensor:
        """From the defense's output to logits (n, classes), with a derivative."""
        return self.network(levels if self.resize is None else self.resize(levels))

    def _defended(self, frame: Frame) -> Frame:
        """A randomized defense draws anew for each query."""
        self.draws += 1
        seed = self.seed + (self.draws if self.defense.randomized else 0)
        return in_pass(self.defense, self.which, frame, seed)

    def _gives_probabilities(self) -> bool:
        return _model(self.target.model).contract.outputs == "probabilities"


class ExpectationOverTransformation(torch.nn.Module):
    """Expectation over a victim's randomness (EOT, Athalye et al. 2018): the mean logits of `draws` queries.

    Args:
        victim: levels to logits, other ones each time.
        draws: queries, 1 or more.
    """

    def __init__(self, victim: torch.nn.Module, draws: int) -> None:
        super().__init__()
        self.victim, self.draws = victim, draws

    def forward(self, levels: Tensor) -> Tensor:
        """float32 (n, 3, h, w) to (n, classes)."""
        return torch.stack([self.victim(levels) for _ in range(self.draws)]).mean(0)


@lru_cache(maxsize=2)
def _model(path: str) -> Model:
    return load_model(located(path), threads=1 if os.environ.get("EDGEGUARD_EVALUATE_WORKER") else None)


@lru_cache(maxsize=2)
def _undefended(path: str) -> InputPath:
    """The way into a model without any guard: defenses are applied by whoever asks."""
    return InputPath(_model(path).contract, profile=None, patch_guard=None)


@lru_cache(maxsize=2)
def _network(path: str) -> Network:
    return rebuild(located(path), _model(path))


@lru_cache(maxsize=2)
def _detector(target: Target, name: str) -> tuple[Detector, float]:
    """A detector with the threshold that one in twenty of the library's clean pictures exceeds."""
    if not target.library:
        raise InputError(f"{name} needs clean pictures to learn from: give more images than are attacked")
    clean = [target.read(path) for path in target.library]
    detector: Detector = FeatureSqueezing()
    if name == "magnet-detector":
        made = MagnetDetector(trained_reformer(_library(target.library)))
        detector = scaled(made, target.probabilities, clean)
    return detector, threshold(detector, target.probabilities, clean)


@lru_cache(maxsize=2)
def _library(paths: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(read_bounded(located(path), LARGEST_PICTURE, "the picture") for path in paths)
