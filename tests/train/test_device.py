"""Training on another device than the CPU, as far as a machine without a GPU can show it.

Tensors on torch's `meta` device have shapes and a device but no values: an operation that mixes them with a CPU tensor
raises. What reads values (the codec, the batches) is on the CPU everywhere.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.errors import DeviceError

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from edgeguard.differentiable.surrogates import BACKWARDS, Backward, surrogate_codec
from edgeguard.guard import GuardProfile
from edgeguard.train.adversarial import adversarial_losses
from edgeguard.train.codec_network import logits
from edgeguard.train.coefficient_net import CoefficientNet, smooth_indices
from edgeguard.train.config import AdversarialMethod, TrainConfig
from edgeguard.train.loop import device_of
from edgeguard.train.networks import NETWORKS, network
from edgeguard.train.run import train
from edgeguard.train.weight_quantization import restrict_first_layer

META = torch.device("meta")
JPEG = GuardProfile.preset("jpeg:75")


def _levels() -> torch.Tensor:
    return torch.zeros(2, 3, 32, 32, device=META)


def test_meta_tensors_do_not_mix() -> None:
    with pytest.raises(RuntimeError):
        _levels() + torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "cards"])
def test_networks(name: str) -> None:
    net = network(name, 4, 8, 32)
    restrict_first_layer(net, "ternary")
    out = logits(net.to(META), _levels(), half=False)
    out.sum().backward()
    assert out.device == META and all(p.grad is not None and p.grad.device == META for p in net.parameters())


def test_coefficients() -> None:
    net = network("dct11", 4, 16, 32, JPEG).to(META)
    assert isinstance(net, CoefficientNet)
    assert net(smooth_indices(_levels(), JPEG)).device == META


@pytest.mark.parametrize("method", ["fgsm-rs", "pgd", "trades", "free"])
@pytest.mark.parametrize("bands", [0, 3])
def test_attacks(method: AdversarialMethod, bands: int) -> None:
    net = network("resnet9", 4, 8, 32).to(META)
    config = TrainConfig(method=method, dct_bands=bands, steps=2)
    targets = torch.zeros(2, dtype=torch.long, device=META)
    for loss, _ in adversarial_losses(lambda x: net(x / 255), _levels(), targets, config, torch.Generator()):
        loss.backward()
        assert loss.device == META


@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("name", ["fd", "fd-jpeg", "jpeg:75"])
def test_codecs(backward: Backward, name: str) -> None:
    assert surrogate_codec(_levels(), GuardProfile.preset(name), backward).device == META


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu(stripes: Path, tmp_path: Path) -> None:
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="no GPU"):
        train(TrainConfig(data=str(stripes), device="cuda"), tmp_path / "a")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "settings", [{}, {"method": "fgsm-rs", "codec": "fd"}, {"network": "dct11", "codec": "jpeg:75"}]
)
def test_on_a_gpu(stripes: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Trained on the GPU, gone on with on the CPU, exported."""
    base = {"data": str(stripes), "width": 16, "batch": 24, "epochs": 6, "learning_rate": 0.05, **settings}
    there = train(TrainConfig(**base, device="cuda"), tmp_path / "a")
    here = train(TrainConfig(**base, device="cpu"), tmp_path / "a")
    assert there.epochs == here.epochs and there.epochs[-1].test_accuracy > 0.5
