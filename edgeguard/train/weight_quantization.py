"""Binary and ternary first layers: the layer that meets the quantised input keeps two or three values a filter.

    binary    Rastegari et al. 2016 (XNOR-Net), section 3.1: sign(w) times the mean |w| of the filter
    ternary   Li and Liu 2016 (ternary weight networks), equations 5 and 6: zero below 0.7 times the mean |w| of the
              filter; beyond, the sign times the mean |w| of what is left

Backward, both are the identity (straight-through). torch's own `parametrize` does the bookkeeping: the optimizer sees
the float weights behind the values, the program that is exported holds the values alone. A scale for each filter is
what TFLite has for each output channel, so int8 keeps them exactly: -127, 0 and 127.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeguard.differentiable.surrogates import bpda
from edgeguard.errors import InputError


class WeightQuantizer(nn.Module):
    """Weights (filters, ...) to values; see the module.

    Args:
        share: of the mean |w| below which a weight is zero: 0 for binary.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, weight: Tensor) -> Tensor:
        """See the class."""
        size = weight.detach().abs().flatten(1)
        kept = size >= self.share * size.mean(1, keepdim=True)
        scale = (size * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True)
        sign = torch.where(weight.detach().flatten(1) < 0, -scale, scale)
        return bpda((sign * kept).view_as(weight), weight)


def restrict_first_layer(network: nn.Module, kind: str) -> None:
    """Let the first layer (of a network of coefficients: the filters of all three planes) have few values, in place.

    Args:
        network: one of ours.
        kind: `float` (nothing happens), `ternary` or `binary`.

    Raises:
        InputError: the network has no convolution to restrict.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3))
        >>> restrict_first_layer(net, "binary")
        >>> len(net[0].weight[0].abs().unique())
        1
    """
    if kind == "float":
        return
    for module, name in _first_weights(network):
        parametrize.register_parametrization(module, name, WeightQuantizer(0.7 if kind == "ternary" else 0.0))


def with_plain_weights(network: nn.Module) -> nn.Module:
    """The network with its values as weights, in place: what is exported."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            restricted = module.parametrizations
            assert isinstance(restricted, nn.ModuleDict)
            for name in list(restricted):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return network


def _first_weights(network: nn.Module) -> list[tuple[nn.Module, str]]:
    filters = [module for module in network.modules() if isinstance(getattr(module, "filters", None), nn.Parameter)]
    if filters:
        return [(module, "filters") for module in filters]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return [(module, "weight")]
    raise InputError("the network has no convolution whose values could be few: leave first_layer out")
