from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from edgeguard.differentiable.dct_step import dct_direction
from edgeguard.differentiable.surrogates import BACKWARDS, dct_matrix, to_blocks
from edgeguard.errors import InputError
from edgeguard.train.adversarial import adversarial_losses
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import AdversarialMethod, TrainConfig
from edgeguard.train.networks import network


class _Watched(torch.nn.Module):
    """Keeps what it was asked."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.asked: list[torch.Tensor] = []

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        self.asked.append(levels.detach().clone())
        return self.inner(levels)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.integers(0, 256, (6, 3, 32, 32)).astype(np.float32))
    return levels.contiguous(memory_format=torch.channels_last), torch.arange(6) % 3


def _victim(codec: str = "none") -> _Watched:
    torch.manual_seed(0)
    return _Watched(CodecNetwork(network("resnet9", 3, 8, 32).eval(), TrainingCodec(codec)))


@pytest.mark.parametrize("method", ["fgsm-rs", "pgd", "trades", "free"])
@pytest.mark.parametrize("codec", ["none", "fd", "fd-jpeg", "jpeg:30..80"])
def test_attacks_stay_in_the_budget_and_raise_the_loss(
    batch: tuple[torch.Tensor, torch.Tensor], method: AdversarialMethod, codec: str
) -> None:
    levels, targets = batch
    config = TrainConfig(method=method, eps_8bit=8, steps=3, codec=codec)
    victim = _victim(codec)
    losses = 0
    for loss, _ in adversarial_losses(victim, levels, targets, config, torch.Generator().manual_seed(1)):
        loss.backward()
        losses += 1
    assert losses == (3 if method == "free" else 1)
    for asked in victim.asked:
        assert float((asked - levels).abs().max()) <= 8 + 1e-4
        assert float(asked.min()) >= 0 and float(asked.max()) <= 255
    last = victim.asked[-1] if method != "trades" else victim.asked[-2]
    if method in ("fgsm-rs", "pgd"):
        assert torch.equal(last, last.round())  # whole levels are what is trained on
    if codec == "none" and method == "pgd":
        with torch.no_grad():
            clean = torch.nn.functional.cross_entropy(victim(levels), targets)
            assert torch.nn.functional.cross_entropy(victim(last), targets) > clean


def test_pgd_is_as_strong_as_the_evaluations(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The inner attack against `evaluate`'s PGD, which is checked against a library: same model, budget and steps."""
    from edgeguard.evaluate.attacks.gradient import Pgd

    levels, targets = batch
    victim = _victim()
    config = TrainConfig(method="pgd", eps_8bit=4, steps=10)
    list(adversarial_losses(victim, levels, targets, config, torch.Generator().manual_seed(5)))
    ours = victim.asked[-1]
    theirs = Pgd(eps_8bit=4, step_8bit=1.0, steps=10)(victim.inner, levels, targets, seed=5)
    assert torch.equal(ours, theirs)


def test_trades_is_its_equation(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    levels, targets = batch
    victim = _victim()
    config = TrainConfig(method="trades", eps_8bit=4, steps=2, beta=3)
    ((loss, _),) = adversarial_losses(victim, levels, targets, config, torch.Generator().manual_seed(2))
    with torch.no_grad():
        p = victim.inner(levels).softmax(1).double()
        q = victim.inner(victim.asked[-1]).softmax(1).double()
        clean = -p[torch.arange(6), targets].log().mean()
        wanted = clean + 3 * (p * (p.log() - q.log())).sum(1).mean()
    assert float(loss.detach()) == pytest.approx(float(wanted), rel=1e-4)


def test_dct_steps_move_few_coefficients(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    gradient = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    moved = dct_direction(gradient, 3)
    dct = dct_matrix()
    coefficients = (dct @ to_blocks(moved) @ dct.T).flatten(-2)
    assert int((coefficients.abs() > 1e-4).sum(-1).max()) == 3
    assert float(moved.abs().max()) == pytest.approx(1)
    levels, targets = batch
    victim = _victim("fd")
    config = replace(TrainConfig(method="pgd", eps_8bit=8, steps=2, codec="fd"), dct_bands=3)
    list(adversarial_losses(victim, levels, targets, config, torch.Generator().manual_seed(2)))
    assert float((victim.asked[-1] - levels).abs().max()) <= 8


class _Open(_Watched):
    """What the lattice attack needs to know of a guard is handed on."""

    def __init__(self, inner: torch.nn.Module) -> None:
        assert isinstance(inner, CodecNetwork)
        super().__init__(inner)
        self.network = inner

    @property
    def profile(self) -> object:
        return self.network.profile

    @property
    def room(self) -> int:
        return self.network.room

    def through_guard(self, levels: torch.Tensor) -> torch.Tensor:
        return self.network.through_guard(levels)

    def behind_guard(self, levels: torch.Tensor) -> torch.Tensor:
        return self.network.behind_guard(levels)


@pytest.mark.parametrize("method", ["fgsm-rs", "pgd", "trades"])
def test_the_inner_attack_can_move_on_the_codecs_lattice(
    method: AdversarialMethod, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Whole levels within the budget that change what the codec gives, and raise the loss."""
    levels, targets = batch
    config = TrainConfig(method=method, eps_8bit=4, steps=2, codec="fd", lattice=True)
    victim = _Open(_victim("fd").inner)
    for loss, _ in adversarial_losses(victim, levels, targets, config, torch.Generator().manual_seed(2)):
        loss.backward()
    changed = victim.asked[-1]
    assert float((changed - levels).abs().max()) <= 4 and torch.equal(changed, changed.round())
    assert float((victim.through_guard(changed) != victim.through_guard(levels)).float().mean()) > 0.2
    with torch.no_grad():
        before, after = (torch.nn.functional.cross_entropy(victim(x), targets) for x in (levels, changed))
    assert after > before or method == "trades"  # which only wants another answer than before


def test_the_lattice_needs_a_fixed_profile(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    levels, targets = batch
    refused: list[tuple[str, AdversarialMethod]] = [("none", "pgd"), ("jpeg:20..90", "pgd"), ("fd", "free")]
    for codec, method in refused:
        config = TrainConfig(method=method, eps_8bit=4, codec=codec, lattice=True)
        with pytest.raises(InputError, match=r"adversarial\.lattice"):
            list(adversarial_losses(_Open(_victim(codec).inner), levels, targets, config, torch.Generator()))


def test_the_codec_is_exact_forward_and_has_a_derivative(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    from edgeguard.differentiable.guard_layer import to_frames, to_levels
    from edgeguard.guard import GuardProfile, Sanitizer
    from edgeguard.train.codec_network import logits

    levels, _ = batch
    torch.manual_seed(0)
    net = network("resnet9", 3, 8, 32).eval()
    through = CodecNetwork(net, TrainingCodec("fd"))
    sanitizer = Sanitizer(GuardProfile.preset("fd"))
    exact = to_levels(np.stack([sanitizer(frame) for frame in to_frames(levels)]))
    with torch.no_grad():
        assert torch.equal(through(levels), logits(net, exact, half=False))
    x = levels.clone().requires_grad_(True)
    through(x).sum().backward()
    assert x.grad is not None and float(x.grad.abs().max()) > 0


def test_drawn_derivatives_are_those_that_there_are(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    levels, _ = batch
    torch.manual_seed(0)
    net = network("resnet9", 3, 8, 32).eval()

    def gradient(through: CodecNetwork) -> torch.Tensor:
        x = levels.clone().requires_grad_(True)
        return torch.autograd.grad(through(x).square().sum(), x)[0]

    each = [gradient(CodecNetwork(net, TrainingCodec("fd"), backward)) for backward in BACKWARDS]

    def drawn(seed: int) -> list[int]:
        through = CodecNetwork(net, TrainingCodec("fd"), "drawn", np.random.default_rng(seed))
        found = [gradient(through) for _ in range(12)]
        distances = [[float((g - known).norm() / known.norm()) for known in each] for g in found]
        assert all(min(row) < 1e-4 for row in distances)
        return [row.index(min(row)) for row in distances]

    assert set(drawn(0)) == {0, 1, 2} and drawn(0) == drawn(0) != drawn(1)
