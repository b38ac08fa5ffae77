"""Training the base of a randomized smoothing: noise, budget of the attack, MACER's loss."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from edgeguard.errors import InputError
from edgeguard.train.codec import TrainingCodec
from edgeguard.train.codec_network import CodecNetwork
from edgeguard.train.config import SmoothingConfig, SmoothingMethod, TrainConfig
from edgeguard.train.networks import network
from edgeguard.train.run import train
from edgeguard.train.smoothing import check_smoothing, macer_loss, smoothing_loss


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
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32)).astype(np.float32))
    return levels.contiguous(memory_format=torch.channels_last), torch.arange(6) % 3


def _victim() -> _Watched:
    torch.manual_seed(0)
    return _Watched(CodecNetwork(network("resnet9", 3, 8, 32).eval(), TrainingCodec("none")))


@pytest.mark.parametrize("method", ["gaussian", "smoothadv", "macer"])
def test_images_carry_the_noise_and_the_attack_keeps_its_budget(
    batch: tuple[torch.Tensor, torch.Tensor], method: SmoothingMethod
) -> None:
    levels, targets = batch
    config = SmoothingConfig(smoothing=method, sigma=0.1, noise_eps_8bit=50, noise_steps=3, noise_draws=2)
    victim = _victim()
    loss, out = smoothing_loss(victim, levels, targets, config, torch.Generator().manual_seed(1))
    loss.backward()
    assert out.shape == (6, 3) and torch.isfinite(loss)
    assert len(victim.asked) == (4 if method == "smoothadv" else 1)
    shown, wide = victim.asked[-1], levels.repeat_interleave(2, 0)
    deviation = float((shown - wide).std())
    assert 0.95 * 25.5 < deviation < 1.1 * 25.5
    if method == "smoothadv":  # the noise is the same in every step, so that what differs is the attack's
        moved = (victim.asked[-1] - victim.asked[0]).flatten(1).norm(dim=1)
        assert float(moved.max()) <= 50.01 and float(moved.min()) > 1
        assert torch.allclose(
            victim.asked[-1][0] - victim.asked[0][0], victim.asked[-1][1] - victim.asked[0][1], atol=1e-3
        )


def test_the_attack_lowers_the_smoothed_probability(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    levels, targets = batch
    victim = _victim()
    targets = victim(levels).argmax(1)
    losses = [
        float(smoothing_loss(victim, levels, targets, SmoothingConfig(
            smoothing="smoothadv", sigma=0.05, noise_draws=2, noise_steps=4, noise_eps_8bit=eps),
            torch.Generator().manual_seed(1))[0].detach())
        for eps in (1, 255)
    ]  # fmt: skip
    assert losses[1] > losses[0]
    warm = smoothing_loss(
        victim, levels, targets, SmoothingConfig(smoothing="smoothadv", sigma=0.05, noise_draws=2, noise_steps=4,
                                                 noise_eps_8bit=255, noise_warmup=0.5),
        torch.Generator().manual_seed(1), done=0.0)[0]  # fmt: skip
    assert float(warm.detach()) <= losses[0] + 1e-3  # at the start the budget is nothing


def test_macer_by_hand() -> None:
    config = SmoothingConfig(smoothing="macer", sigma=0.5, macer_weight=2, macer_scale=1, macer_margin=4)
    p = 0.8
    logits = torch.log(torch.tensor([[[p, 1 - p], [p, 1 - p]], [[0.3, 0.7], [0.3, 0.7]]]))
    targets = torch.tensor([0, 0])  # the second one is wrong: only its cross-entropy counts
    radius = 2 * 0.8416212335729143  # ppf(.8) - ppf(.2)
    wanted = -(math.log(p) + math.log(0.3)) / 2 + 2 * 0.5 / 2 * (4 - radius) / 2
    assert float(macer_loss(logits, targets, config)) == pytest.approx(wanted, abs=1e-5)


def test_an_infinite_radius_pushes_nothing() -> None:
    logits = torch.tensor([[[400.0, 0.0], [400.0, 0.0]]], requires_grad=True)
    loss = macer_loss(logits, torch.tensor([0]), SmoothingConfig(smoothing="macer"))
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "pgd"}, "two ways to train"),
        ({"mixup": 0.2}, "leave out mixup"),
        ({"network": "dct11"}, "reads coefficients"),
        ({"smoothing": "macer", "noise_draws": 1}, "2 or more"),
    ],
)
def test_what_does_not_go_together(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_smoothing(TrainConfig(**{"smoothing": "gaussian", **settings}))


@pytest.mark.full
@pytest.mark.parametrize("method", ["gaussian", "smoothadv", "macer"])
def test_trained_bases_know_noisy_images(stripes: Path, tmp_path: Path, method: str) -> None:
    config: dict[str, Any] = {
        "data": str(stripes), "width": 8, "batch": 24, "epochs": 16, "learning_rate": 0.05, "smoothing": method,
        "sigma": 0.1, "precision": "float32", "device": "cpu",
    }  # fmt: skip  # macer's loss learns slowest
    whole = train(TrainConfig(**config), tmp_path / "a")
    assert whole.epochs[-1].test_accuracy > 0.5
