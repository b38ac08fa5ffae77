import pytest

from edgeguard.errors import InputError

torch = pytest.importorskip("torch")

from edgeguard.train.networks import NETWORKS, network  # noqa: E402

#: He et al. 2016, table 6: ResNet-20 has 0.27 million weights.
EXPECTED = {"resnet9": 611_882, "resnet11": 907_306, "resnet20": 272_474, "resnet8": 78_042}


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "cards"])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_networks_take_small_pictures(name: str, size: int) -> None:
    net = network(name, 7, 16, size).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize(("name", "weights"), EXPECTED.items())
def test_sizes(name: str, weights: int) -> None:
    width = 32 if name in ("resnet9", "resnet11") else 16
    assert sum(p.numel() for p in network(name, 10, width, 32).parameters()) == weights


def test_mobilenet_is_below_a_million_weights() -> None:
    assert sum(p.numel() for p in network("mobilenetv2", 10, 32, 32).parameters()) < 1_000_000


def test_unknown_and_unfit() -> None:
    with pytest.raises(InputError, match="there is no network 'vgg'"):
        network("vgg", 10, 32, 32)
    with pytest.raises(InputError, match="set size = 128"):
        network("cards", 10, 32, 32)
    with torch.no_grad():
        assert network("cards", 11, 32, 128).eval()(torch.zeros(1, 3, 128, 128)).shape == (1, 11)
