"""Perturbed weights and soft labels of a teacher."""

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
from edgeguard.train.config import AdversarialConfig, TrainConfig
from edgeguard.train.networks import network
from edgeguard.train.robust import Teacher, check_robust, perturbed_weights, robust_loss
from edgeguard.train.run import train
from edgeguard.train.teacher import load_teacher


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32)).astype(np.float32))
    return levels.contiguous(memory_format=torch.channels_last), torch.arange(6) % 3


def _net(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return network("resnet9", 3, 8, 32)


@pytest.mark.parametrize("method", ["pgd", "trades"])
def test_weights_move_by_their_share_raise_the_loss_and_come_back(
    batch: tuple[torch.Tensor, torch.Tensor], method: Any
) -> None:
    levels, targets = batch
    net = _net().eval()
    victim = CodecNetwork(net, TrainingCodec("none"))
    loss = robust_loss(
        victim, levels, targets, AdversarialConfig(method=method, steps=2), torch.Generator().manual_seed(0), None
    )
    before = {name: value.clone() for name, value in net.state_dict().items()}
    plain = float(loss()[0].detach())
    with perturbed_weights(net, loss, 0.005):
        assert float(loss()[0].detach()) > plain
        moved = [
            (name, float((p.detach() - before[name]).norm() / before[name].norm()))
            for name, p in net.named_parameters()
        ]
        assert all(share == pytest.approx(0.005, rel=1e-3) for name, share in moved if before[name].ndim > 1)
        assert all(share == 0 for name, share in moved if before[name].ndim == 1 and float(before[name].norm()))
    after = net.state_dict()
    assert all(torch.allclose(after[name], value, atol=1e-6) for name, value in before.items())


def test_batch_statistics_are_counted_once(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    levels, targets = batch
    net = _net().train()
    victim = CodecNetwork(net, TrainingCodec("none"))
    loss = robust_loss(victim, levels, targets, AdversarialConfig(method="pgd"), torch.Generator(), None)
    before = [buffer.clone() for buffer in net.buffers()]
    with perturbed_weights(net, loss, 0.005):
        assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))


def test_a_teachers_share_is_the_divergence_from_its_probabilities(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    levels, targets = batch
    student, teacher = _net(0).eval(), Teacher(_net(1), 1.0)
    assert not any(p.requires_grad for p in teacher.network.parameters())
    victim = CodecNetwork(student, TrainingCodec("none"))
    config = AdversarialConfig(method="pgd", steps=2)
    other, _ = robust_loss(victim, levels, targets, config, torch.Generator().manual_seed(0), teacher)()
    itself = Teacher(_net(0), 1.0)
    same, _ = robust_loss(victim, levels, targets, config, torch.Generator().manual_seed(0), itself)()
    assert float(other.detach()) > float(same.detach()) > 0  # the attack led away from its own probabilities
    probabilities = teacher(levels)
    assert torch.allclose(probabilities.sum(1), torch.ones(6)) and probabilities.shape == (6, 3)


@pytest.mark.parametrize("settings", [{"teacher": "t"}, {"weight_eps": 0.005, "method": "free"}])
def test_keys_that_would_do_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is for adversarial training with fgsm-rs, pgd or trades"):
        check_robust(TrainConfig(**settings))


@pytest.mark.full
def test_a_student_learns_from_a_training(stripes: Path, tmp_path: Path) -> None:
    base: dict[str, Any] = {
        "data": str(stripes), "width": 8, "batch": 24, "epochs": 4, "learning_rate": 0.05, "precision": "float32",
        "method": "pgd", "steps": 1, "eps_8bit": 4, "device": "cpu",
    }  # fmt: skip
    train(TrainConfig(**base), tmp_path / "teacher")
    config = TrainConfig(**{**base, "weight_eps": 0.005, "teacher": str(tmp_path / "teacher")})
    assert train(config, tmp_path / "student").epochs[-1].test_accuracy > 0.5
    with pytest.raises(InputError, match="other classes or another size"):
        load_teacher(tmp_path / "teacher", ("a", "b"), size=config.size, share=1.0)
