"""A network behind the codec that it is trained through: levels in, logits out."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.differentiable.surrogates import Backward, bpda, surrogate_codec
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.coefficient_net import CoefficientNet
from edgeguard.train.config import GradientMode

MEAN, STD = 127.5, 127.5
#: What `drawn` draws from: a training's name stands for these, so that it keeps its meaning.
DRAWN: tuple[Backward, ...] = ("straight-through", "identity", "differentiable-jpeg")


class CodecNetwork(nn.Module):
    """float32 (n, 3, h, w) levels through the codec's own bytes, normalised to [-1, 1], to logits.

    Backward, a fixed profile has the given derivative; a codec that is drawn for each image counts as the identity.

    Args:
        network: normalised pixels to logits.
        codec: what the device does with a frame.
        gradient: see `surrogates`; `drawn` is another one of them at each call.
        rng: of what is drawn.
        half: run the network in bfloat16 (weights stay float32).
    """

    def __init__(
        self,
        network: nn.Module,
        codec: TrainingCodec,
        gradient: GradientMode = "straight-through",
        rng: np.random.Generator | None = None,
        half: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.codec, self.gradient = network, codec, gradient
        self.in_bfloat16 = half  # nn.Module.half is a method
        self.rng = rng or np.random.default_rng(0)

    def forward(self, levels: Tensor) -> Tensor:
        """See the class."""
        exact = self.through_guard(levels)
        if torch.is_grad_enabled() and levels.requires_grad:
            profile = self.codec.profile
            gradient = DRAWN[self.rng.integers(len(DRAWN))] if self.gradient == "drawn" else self.gradient
            surrogate = levels if profile is None else surrogate_codec(levels, profile, gradient)
            exact = bpda(exact, surrogate)
        return self.behind_guard(exact)

    @property
    def profile(self) -> GuardProfile | None:
        """Of a fixed codec, for attacks that look into it."""
        return self.codec.profile

    @property
    def room(self) -> int:
        """What that codec leaves before its transform: it is both passes in one."""
        return 0 if self.codec.profile is None else self.codec.profile.room

    def through_guard(self, levels: Tensor) -> Tensor:
        """The codec's own bytes, float32 (n, 3, h, w) to the same shape; no derivative."""
        return to_levels(self.codec(to_frames(levels), self.rng)).to(levels.device)

    def behind_guard(self, levels: Tensor) -> Tensor:
        """From the codec's output to logits (n, classes), with a derivative."""
        return logits(self.network, levels, self.in_bfloat16)


def logits(network: nn.Module, levels: Tensor, half: bool) -> Tensor:
    """float32 logits of levels 0..255, normalised or, for a network that reads them, as coefficients."""
    x = network.from_levels(levels) if isinstance(network, CoefficientNet) else normalized(levels)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
        out: Any = network(x)
    while isinstance(out, (tuple, list)):
        (out,) = out
    result: Tensor = out.float()
    return result


def normalized(levels: Tensor) -> Tensor:
    """Levels 0..255 to what networks of pixels read, [-1, 1]."""
    return (levels - MEAN) / STD


def runs_half(precision: str, device: torch.device) -> bool:
    """True where `auto` means bfloat16: a processor with instructions for it, on which it is faster.

    `float32` and `bfloat16` mean themselves.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            return any(line.startswith("flags") and "avx512_bf16" in line for line in stream)
    except OSError:
        return False
