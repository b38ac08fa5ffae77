"""Weights in parts (pruned, normalized by length or by the largest singular value) against torch's own answer."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_records import Tensor
from edgeguard_converters.load.reparametrized import put_together
from edgeguard_converters.load.source import FileFacts
from edgeguard_converters.load.state_dict import source_of_weights
from edgeguard_converters.load.torch_source import TorchSource
from edgeguard_converters.load.weights import Weights

pytestmark = pytest.mark.convert

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(3, 8, 3),
    "linear": lambda: nn.Linear(5, 7),
    "one output": lambda: nn.Linear(5, 1),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3),
    "square transposed": lambda: nn.ConvTranspose2d(4, 4, 2),
}
WAYS: dict[str, Callable[[nn.Module], object]] = {
    "weight_norm": lambda m: nn.utils.weight_norm(m),
    "weight_norm of all": lambda m: nn.utils.weight_norm(m, dim=None),  # type: ignore[arg-type]  # its stub wants a number
    "weight_norm of inputs": lambda m: nn.utils.weight_norm(m, dim=1),
    "spectral_norm": lambda m: nn.utils.spectral_norm(m),
    "parametrized weight_norm": lambda m: parametrizations.weight_norm(m),
    "parametrized spectral_norm": lambda m: parametrizations.spectral_norm(m),
    "pruning": lambda m: prune.l1_unstructured(m, "weight", 0.5),
}


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    return {name: Tensor("float32", value.detach().numpy()) for name, value in net.state_dict().items()}


def _trained(layer: Callable[[], nn.Module], way: Callable[[nn.Module], object]) -> nn.Sequential:
    """In evaluation mode after some steps: a largest singular value needs them."""
    torch.manual_seed(1)
    net = nn.Sequential(layer())
    way(net[0])
    shape = (2, 5) if isinstance(net[0], nn.Linear) else (2, 3 if isinstance(net[0], nn.Conv2d) else 4, 9, 9)
    for _ in range(30):
        net(torch.randn(shape))
    return net.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layer", LAYERS)
def test_each_way_gives_the_weight_that_torch_uses(layer: str, way: str) -> None:
    net = _trained(LAYERS[layer], WAYS[way])
    shape = (1, 5) if isinstance(net[0], nn.Linear) else (1, 3 if isinstance(net[0], nn.Conv2d) else 4, 9, 9)
    x = torch.randn(shape)
    expected = net(x)
    kept, said = put_together(_tensors(net))
    plain = nn.Sequential(LAYERS[layer]()).eval()
    plain.load_state_dict({name: torch.from_numpy(tensor.values.copy()) for name, tensor in kept.items()}, strict=True)
    assert float((plain(x) - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    assert said == [
        f"1 weights were put together, which {way.split(' of ')[0].removeprefix('parametrized ')} had split"
    ]


def test_half_precision_counts_in_full() -> None:
    net = _trained(LAYERS["linear"], WAYS["parametrized weight_norm"])
    half = {
        name: Tensor("bfloat16", value.detach().bfloat16().view(torch.int16).numpy())
        for name, value in net.state_dict().items()
    }
    values = put_together(half)[0]["0.weight"].values
    whole = put_together(_tensors(net))[0]["0.weight"].values
    assert np.allclose(values, whole, atol=0.01) and values.dtype == np.float32


def test_names_that_only_look_like_parts_stay() -> None:
    values = {"q_g": np.ones((4, 4), "f4"), "q_v": np.ones((4, 4), "f4"), "u_orig": np.ones(3, "f4")}
    tensors = {name: Tensor("float32", value) for name, value in values.items()}
    assert put_together(tensors) == (tensors, [])


def test_what_is_not_known_is_refused_by_name() -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    parametrizations.orthogonal(net[0])
    tensors = {name: Tensor("float32", value.detach().numpy()) for name, value in net.state_dict().items()}
    with pytest.raises(InputError, match=r"the weight '0.parametrizations.weight.* call .*remove_parametrizations"):
        put_together(tensors)
    parts = {"a_orig": np.ones((3, 4), "f4"), "a_u": np.ones(7, "f4"), "a_v": np.ones(2, "f4")}
    with pytest.raises(InputError, match="the parts of the weight 'a', which spectral_norm had split, do not fit"):
        put_together({name: Tensor("float32", value) for name, value in parts.items()})


def _normed() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    parametrizations.weight_norm(net[0])
    return net


def _plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("factory", ["_normed", "_plain"])
def test_your_own_module_gets_them_as_it_keeps_them(
    factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(Path(__file__).read_text())
    monkeypatch.chdir(tmp_path)
    net = _normed().eval()
    source = source_of_weights(Weights("w.pt", _tensors(net), FileFacts()), f"mine:{factory}", (9, 9))
    assert isinstance(source, TorchSource)
    x = torch.randn(1, 3, 9, 9)
    assert torch.allclose(source.module(x), net(x), atol=1e-6)
    assert bool(source.facts.said) == (factory == "_plain")
