"""The network that reads coefficients: against the pixel convolution that it stands for, and against the device."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.fft import idctn

from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile
from edgeguard.preprocess.dct_input import frame_indices

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from edgeguard.train.coefficient_net import CoefficientNet, _Filters, exact_indices, smooth_indices
from edgeguard.train.networks import network

Q75 = GuardProfile.preset("jpeg:75")


@pytest.fixture()
def net() -> CoefficientNet:
    torch.manual_seed(0)
    found = network("dct11", 10, 16, 32, Q75)
    assert isinstance(found, CoefficientNet)
    return found


def levels_of(count: int, height: int, width: int) -> torch.Tensor:
    small = torch.rand(count, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(1)) * 255
    return torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 255).round()


def test_its_first_layer_is_a_convolution_of_the_pixels_behind_the_coefficients(net: CoefficientNet) -> None:
    """Decode the luma with scipy and convolve: the same, block borders included, as the layer on indices."""
    indices = exact_indices(levels_of(2, 48, 64), Q75)[:, :, :6]
    steps = np.reshape(Q75.component_tables[0], (8, 8))
    blocks = indices.numpy().transpose(0, 2, 3, 1).reshape(2, 6, 8, 8, 8) * steps
    pixels = idctn(blocks, axes=(3, 4), norm="ortho").transpose(0, 1, 3, 2, 4).reshape(2, 1, 48, 64) / 64
    assert isinstance(net.luma, _Filters)
    filters = net.luma.filters
    expected = torch.nn.functional.conv2d(torch.from_numpy(pixels).float(), filters, stride=2, padding=2)
    found = torch.nn.functional.conv_transpose2d(indices, net.luma.weight(), None, 4, padding=1)
    assert torch.allclose(found, expected, atol=1e-4) and expected.std() > 0.1


def test_what_is_exported_computes_the_same(net: CoefficientNet) -> None:
    indices = net.from_levels(levels_of(8, 32, 32))
    net.train()
    for _ in range(5):
        net(indices)
    net.eval()
    with torch.no_grad():
        assert torch.allclose(net.folded()(indices), net(indices), atol=1e-4)
    large = network("dct11", 10, 32, 32, Q75)
    assert isinstance(large, CoefficientNet)
    assert sum(p.numel() for p in large.folded().parameters()) == 1_100_874


def test_it_sees_what_the_device_feeds(net: CoefficientNet) -> None:
    levels = levels_of(3, 32, 64)
    for image, found in zip(levels, net.from_levels(levels), strict=True):
        frame = image.permute(1, 2, 0).numpy().astype(np.uint8)
        assert (found.permute(1, 2, 0).numpy() == frame_indices(frame, Q75).astype(int) - 128).all()


def test_gradients_reach_the_pixels(net: CoefficientNet) -> None:
    """The exact indices forward, those without rounding backward."""
    levels = levels_of(2, 32, 32).requires_grad_()
    net.eval()
    net.from_levels(levels).square().sum().backward()
    assert levels.grad is not None and levels.grad.abs().max() > 0
    again = levels.detach().clone().requires_grad_()
    (2 * exact_indices(again, Q75).detach() * smooth_indices(again, Q75)).sum().backward()
    assert again.grad is not None
    assert torch.allclose(levels.grad, again.grad, atol=1e-4)
    assert (smooth_indices(levels, Q75) - exact_indices(levels, Q75)).abs().max() < 0.6


@pytest.mark.parametrize(
    ("profile", "size", "line"),
    [(None, 32, "one ycbcr420 profile"), ("fd", 32, "one ycbcr420 profile"), ("jpeg:75", 40, "a multiple of 16")],
)
def test_unfit(profile: str | None, size: int, line: str) -> None:
    with pytest.raises(InputError, match=line):
        network("dct11", 10, 16, size, None if profile is None else GuardProfile.preset(profile))
