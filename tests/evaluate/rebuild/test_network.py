"""How the twin rounds to a tensor's grid."""

import pytest
import torch

from edgeguard.evaluate.rebuild.network import _on_grid


@pytest.mark.parametrize(("zero", "low", "high"), [(0, -128, 127), (3, -128, 127), (128, 0, 255), (-127, -128, 127)])
def test_the_grid_is_torchs_own_ties_and_gradients_included(zero: int, low: int, high: int) -> None:
    x = torch.cat([torch.arange(-600, 600) / 2, torch.linspace(-300, 300, 999), torch.tensor([0.49999997])])
    weights = torch.arange(len(x)) / 7
    for scale in (torch.ones(()), torch.tensor(0.37)):
        ours, theirs = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
        a = _on_grid(ours, scale, low - zero, high - zero)
        b = torch.fake_quantize_per_tensor_affine(theirs * scale, 1.0, zero, low, high)
        assert torch.equal(a, b)
        (a * weights).sum().backward()
        (b * weights).sum().backward()
        assert ours.grad is not None and theirs.grad is not None and torch.equal(ours.grad, theirs.grad)
