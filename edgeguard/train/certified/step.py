"""One step of a training for a proven margin."""

from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.train.certified.margin_loss import MarginLoss, windows_touched
from edgeguard.train.certified.region_net import RegionNet
from edgeguard.train.codec_network import normalized
from edgeguard.train.config import PatchConfig


def margin_step(network: nn.Module, levels: Tensor, targets: Tensor, patch: PatchConfig) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its mean votes (n, classes).

    Args:
        network: a `RegionNet`.
        levels: float32 (n, 3, size, size), 0..255.
        targets: class indices (n,).
        patch: what is proven against.
    """
    if not isinstance(network, RegionNet):
        raise InputError("a proven margin needs a network of regions: --model patchcert")
    votes = network.votes(normalized(levels)).float()
    loss = MarginLoss(windows_touched(patch.patch_px, patch.field, patch.stride), patch.margin_weight)
    return loss(votes, targets), votes.mean((2, 3))
