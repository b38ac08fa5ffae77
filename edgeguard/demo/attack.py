"""Frames altered in transit for the demo: the project's own attacks on the trained network behind the card model."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeguard.demo.answers import answer_defended, answer_undefended
from edgeguard.demo.assets import AlteredFrame, bundled_program
from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.evaluate.attacks.dct_aware import DctPgd
from edgeguard.evaluate.attacks.gradient import Pgd
from edgeguard.evaluate.twin import Twin
from edgeguard.model import Contract, Model, Prediction

Frame = NDArray[np.uint8]
_BUDGETS_8BIT = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24)
_STEPS, _BANDS = 30, 6


class NormalizedNetwork(torch.nn.Module):
    """The trained network behind the contract's mean and std: levels (n, 3, h, w) to logits (n, classes).

    An attacker of the demo has the float program, which is three times faster to differentiate than the .tflite's twin.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, module: torch.nn.Module, contract: Contract) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("mean", torch.tensor(contract.preprocess.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(contract.preprocess.std)[:, None, None])

    def forward(self, levels: Tensor) -> Any:
        """float32 (n, 3, h, w) levels 0..255 to (n, classes)."""
        return self.module((levels - self.mean) / self.std)


def alter(model: Model, raw: Frame, index: int, truth: int) -> AlteredFrame:
    """The smallest of a few budgets at which each attacker gets through the deployed model, else the largest.

    Args:
        model: the deployed card model, with a guard.
        raw: a frame of the clip as the camera gave it, uint8 HxWx3.
        index: its number in the clip.
        truth: its raw output index.
    """
    from edgeguard_converters.load.exported import load_exported

    assert model.sanitizer is not None
    torch.set_num_threads(1)  # pictures of 128 pixels: more threads only get in each other's way
    network = NormalizedNetwork(load_exported(bundled_program()).module, model.contract)
    knows_guard = Twin(network, model.contract, "frame")
    knows_nothing = knows_guard.undefended()
    passed = model.sanitizer(raw, "first")
    eps, undefended = _first_through(
        [_pgd(e) for e in _BUDGETS_8BIT], knows_nothing, raw, truth, partial(answer_undefended, model)
    )
    adaptive_eps, adaptive = _first_through(
        [attack(e) for e in _BUDGETS_8BIT for attack in (_pgd, _dct_pgd)],
        knows_guard, passed, truth, partial(answer_defended, model),
    )  # fmt: skip
    two_pass = _attacked(_pgd(eps), knows_nothing, passed, truth)
    return AlteredFrame(index, eps, adaptive_eps, undefended, two_pass, adaptive)


def _first_through(
    attacks: list[Pgd], victim: torch.nn.Module, frame: Frame, truth: int, answer: Callable[[Frame], Prediction]
) -> tuple[int, Frame]:
    """Budget and frame of the first attack that the deployed model answers wrongly, else of the last one."""
    for attack in attacks:
        found = _attacked(attack, victim, frame, truth)
        if answer(found).index != truth:
            break
    return int(attack.eps_8bit), found


def _pgd(eps_8bit: int) -> Pgd:
    return Pgd(eps_8bit=eps_8bit, steps=_STEPS, random_start=False)


def _dct_pgd(eps_8bit: int) -> DctPgd:
    return DctPgd(eps_8bit=eps_8bit, steps=_STEPS, random_start=False, bands=_BANDS)


def _attacked(attack: Pgd, victim: torch.nn.Module, frame: Frame, truth: int) -> Frame:
    return to_frames(attack(victim, to_levels(frame[None]), torch.tensor([truth])))[0]
