"""The derivatives that attacks see of a codec: forward values, slopes, and where they differ."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from edgeguard.dct.profile import GuardProfile
from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.differentiable.surrogates import (
    BACKWARDS,
    clip_with_slope,
    dct_matrix,
    from_blocks,
    round_straight_through,
    round_with_slope,
    surrogate_codec,
    to_blocks,
)


def test_rounding_is_exact_forward_and_cubic_backward() -> None:
    x = torch.tensor([-1.4, 0.0, 0.3, 0.5, 2.9], requires_grad=True)
    out = round_with_slope(x)
    assert torch.equal(out, x.detach().round())
    slope = torch.autograd.grad(out.sum(), x)[0]
    assert torch.allclose(slope, 3 * (x.detach() - x.detach().round()) ** 2)


def test_clipping_keeps_a_slope() -> None:
    x = torch.tensor([-5.0, 0.0, 128.0, 255.0, 300.0], requires_grad=True)
    out = clip_with_slope(x)
    assert out.tolist() == [0.0, 0.0, 128.0, 255.0, 255.0]
    assert torch.allclose(torch.autograd.grad(out.sum(), x)[0], torch.tensor([1e-3, 1.0, 1.0, 1.0, 1e-3]))


def test_the_straight_through_derivative_is_that_of_the_codec_without_roundings() -> None:
    """The short cut for rgb profiles, against the DCT and back; sides that are no multiples of 8."""
    profile = GuardProfile.preset("fd")
    generator = torch.Generator().manual_seed(0)
    levels = (torch.rand(2, 3, 20, 35, generator=generator) * 300 - 20).clamp(0, 255)
    weights = torch.randn(2, 3, 20, 35, generator=generator)
    ours, expected = levels.clone().requires_grad_(True), levels.clone().requires_grad_(True)
    short = surrogate_codec(ours, profile, "straight-through")
    steps = torch.tensor(profile.component_tables[:3], dtype=torch.float32).view(1, 3, 1, 1, 8, 8)
    padded = torch.nn.functional.pad(expected, (0, 5, 0, 4), mode="replicate")
    indices = round_straight_through(dct_matrix() @ to_blocks(padded) @ dct_matrix().T / steps)
    long = from_blocks(dct_matrix().T @ (indices * steps) @ dct_matrix())[:, :, :20, :35].clamp(0, 255)
    assert float((short - long).detach().abs().max()) < 1e-3
    found, wanted = (torch.autograd.grad((out * weights).sum(), x)[0] for out, x in ((short, ours), (long, expected)))
    assert float((found == 0).float().mean()) > 0.01  # what is clipped has none
    assert float((found - wanted).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["fd", "fd-jpeg", "jpeg:10"])
def test_the_fourth_derivative_is_another_one_and_nearer_to_the_codec_forward(name: str) -> None:
    """Reich et al.: what is rounded smoothly deviates from the codec, most where compression is strong."""
    from edgeguard.preprocess.crop_resize import sanitize

    profile = GuardProfile.preset(name)
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    exact = to_levels(sanitize(frame, profile)[None])
    gradients, errors = {}, {}
    for backward in BACKWARDS:
        levels = to_levels(frame[None]).requires_grad_(True)
        out = surrogate_codec(levels, profile, backward)
        errors[backward] = float((out.detach() - exact).abs().mean())
        weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(0))
        gradients[backward] = torch.autograd.grad((out * weights).sum(), levels)[0]
    assert errors["differentiable-jpeg-ste"] < errors["differentiable-jpeg"]
    mine = gradients["differentiable-jpeg-ste"]
    others = [gradients[b] for b in BACKWARDS if b != "differentiable-jpeg-ste"]
    assert all(float((mine - other).abs().max()) > 1e-3 for other in others)
