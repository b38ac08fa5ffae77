"""Attacks of other people: the Adversarial Robustness Toolbox and the reference AutoAttack, behind our interface.

Both are given the victim behind a division by 255, so that every parameter below has the meaning of its paper.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.errors import InputError
from edgeguard.evaluate.attacks.attack import Victim, whole_levels
from edgeguard.evaluate.attacks.toolbox import toolbox
from edgeguard.system.extras import how_to_install


class _PlainLayout(torch.autograd.Function):
    """Channels-last memory forward, where convolutions are faster; plain memory backward, which libraries expect."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


_plain_layout: Callable[[Tensor], Tensor] = _PlainLayout.apply  # torch gives `apply` no types


class _UnitVictim(torch.nn.Module):
    """The victim on pixels 0..1, always in the mode that it is in (exported programs know no other)."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim

    def train(self, mode: bool = True) -> "_UnitVictim":
        """Does nothing."""
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, h, w) in 0..1 to logits."""
        return self.victim(_plain_layout(pixels) * 255)


@dataclass(frozen=True, kw_only=True)
class ArtAttack:
    """An evasion attack of the Adversarial Robustness Toolbox, by its class name.

    Attributes:
        name: for tables.
        kind: the class in `art.attacks.evasion`.
        parameters: its keyword arguments, pixels in 0..1.
        targeted_next: aim at the class after the right one (the setting of Feature Distillation's CW attacks).
        gradient_free: give it only the victim's outputs.
        eps_8bit: budget in levels, for attacks that take one as `eps`.
        within_8bit: budget in levels, for attacks that look for the smallest change: what exceeds it is cut off.
    """

    name: str
    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)
    targeted_next: bool = False
    gradient_free: bool = False
    eps_8bit: float | None = None
    within_8bit: float | None = None

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        classes = _classes(victim, images)
        kind = _art_class(self.kind)
        estimator = _black_box(victim, images, classes) if self.gradient_free else _white_box(victim, images, classes)
        parameters = dict(self.parameters)
        if self.eps_8bit is not None:
            parameters["eps"] = self.eps_8bit / 255
        try:
            attack = kind(estimator, **parameters)
        except (TypeError, ValueError) as error:
            raise InputError(f"the toolbox's {self.kind} does not take {parameters}: {error}") from error
        goal = (labels + 1) % classes if self.targeted_next else labels
        one_hot = np.eye(classes, dtype=np.float32)[goal.numpy()]
        np.random.seed(seed)  # noqa: NPY002  # the toolbox draws from numpy's global generator
        torch.manual_seed(seed)
        found = attack.generate((images / 255).numpy().astype(np.float32), one_hot)
        return whole_levels(
            images, torch.from_numpy(np.asarray(found, np.float32)) * 255, self.eps_8bit or self.within_8bit
        )


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """The reference AutoAttack (Croce and Hein 2020), Linf, or some of its parts.

    Attributes:
        eps_8bit: budget in levels.
        parts: of `apgd-ce`, `apgd-dlr`, `apgd-t`, `fab-t`, `square`. `apgd-dlr` needs three classes and `apgd-t` four:
            they are left out for fewer, since their loss is not defined there.
        steps, restarts: of the APGD parts.
        queries: of Square.
    """

    eps_8bit: float
    parts: tuple[str, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
    steps: int = 100
    restarts: int = 1
    queries: int = 5000

    @property
    def name(self) -> str:
        """For tables."""
        return f"{'+'.join(self.parts)} eps {self.eps_8bit:g}"

    @property
    def gradient_free(self) -> bool:
        """True where Square is its only part."""
        return set(self.parts) == {"square"}

    def __call__(self, victim: Victim, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """See `Attack`."""
        try:
            from pyautoattack import AutoAttack as Reference
        except ImportError as error:
            raise _missing("pyautoattack") from error
        classes = _classes(victim, images)
        fewest = {"apgd-dlr": 3, "apgd-t": 4}
        parts = [part for part in self.parts if classes >= fewest.get(part, 2)]
        if not parts:
            return images.clone()
        attack = Reference(
            _UnitVictim(victim),
            attacks=parts,
            eps=self.eps_8bit / 255,
            norm="Linf",
            seed=seed,
            version="custom",
        )
        attack.verbose = False
        for part in (attack.apgd, attack.apgd_targeted):
            part.n_iter = self.steps
        for part in (attack.apgd_targeted, attack.fab):
            part.n_target_classes = min(part.n_target_classes, classes - 1)
        attack.apgd.n_restarts = self.restarts
        attack.square.n_queries = self.queries
        found, *_ = attack.run_standard_evaluation(images.contiguous() / 255, labels, batch_size=len(images))
        return whole_levels(images, found * 255, self.eps_8bit)


def _classes(victim: Victim, images: Tensor) -> int:
    with torch.no_grad():
        return int(victim(images).shape[1])


def _white_box(victim: Victim, images: Tensor, classes: int) -> Any:
    loss = torch.nn.CrossEntropyLoss()
    return toolbox("estimators.classification").PyTorchClassifier(
        _UnitVictim(victim), loss, tuple(images.shape[1:]), classes, clip_values=(0.0, 1.0), device_type="cpu"
    )


def _black_box(victim: Victim, images: Tensor, classes: int) -> Any:
    def predict(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        # ART hands out float64 on numpy 2
        with torch.no_grad():
            logits = victim((torch.from_numpy(np.asarray(pixels, np.float32)) * 255).round())
        return torch.softmax(logits, 1).numpy()

    return toolbox("estimators.classification").BlackBoxClassifierNeuralNetwork(
        predict, tuple(images.shape[1:]), classes, clip_values=(0.0, 1.0), channels_first=True
    )


def _art_class(kind: str) -> Callable[..., Any]:
    try:
        evasion = toolbox("attacks.evasion")
    except ImportError as error:
        raise _missing("adversarial-robustness-toolbox") from error
    logging.getLogger("art").setLevel(logging.ERROR)
    found: Callable[..., Any] | None = getattr(evasion, kind, None)
    if found is None:
        raise InputError(f"the Adversarial Robustness Toolbox has no attack {kind}")
    return found


def _missing(package: str) -> InputError:
    return InputError(f"this attack needs {package}: {how_to_install('attack')}")
