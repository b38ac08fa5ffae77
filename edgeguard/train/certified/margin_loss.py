"""The certification margin as a loss: how far the label is from being changed by the worst patch."""

from dataclasses import dataclass

from torch import Tensor, nn

from edgeguard.train.certified.region_net import HIGHEST_VOTE

_SHARPNESS = 15.0  # of the softmax over mean votes, which lie in 0..1 here


@dataclass(frozen=True)
class MarginLoss:
    """Cross-entropy of the mean votes, and the same of what the worst patch leaves of them.

    A patch that touches `windows` regions along an axis can at worst turn each of their votes for the label to none
    and each vote for one other class to the highest. The margin that is left over the worst of all places is exactly
    what `edgeguard.model.patch_certificate` computes, but for the border.

    Attributes:
        windows: regions along an axis that one patch touches at most.
        weight: share of the proven part, 0..1.

    Example:
        >>> float(MarginLoss(1, 1.0)(torch.zeros(1, 2, 4, 4), torch.tensor([0]))) > 0.6931
        True
    """

    windows: int
    weight: float

    def __call__(self, votes: Tensor, targets: Tensor) -> Tensor:
        """Of votes 0..6, (n, classes, rows, columns), and class indices (n,)."""
        shares = votes / HIGHEST_VOTE
        plain = nn.functional.cross_entropy(_SHARPNESS * shares.mean((2, 3)), targets)
        if not self.weight:
            return plain
        logits = -_SHARPNESS * self.margins(shares, targets)
        logits = logits.scatter(1, targets[:, None], 0.0)  # the label against itself: no margin
        proven = logits.logsumexp(1)
        return (1 - self.weight) * plain + self.weight * proven.mean()

    def margins(self, shares: Tensor, targets: Tensor) -> Tensor:
        """(n, classes): the label's lead over each class under the worst patch; negative where a patch may win."""
        own = shares.gather(1, targets[:, None, None, None].expand(-1, 1, *shares.shape[2:]))
        lead = own - shares
        touched = nn.functional.avg_pool2d(lead + 1, min(self.windows, *lead.shape[2:]), 1)
        area = min(self.windows, lead.shape[2]) * min(self.windows, lead.shape[3])
        worst = touched.flatten(2).amax(2) * (area / (lead.shape[2] * lead.shape[3]))
        return lead.mean((2, 3)) - worst


def windows_touched(patch_px: int, field: int, stride: int) -> int:
    """Regions along an axis that a patch of so many pixels touches at most.

    Example:
        >>> windows_touched(5, 8, 4)
        3
    """
    return -(-(patch_px + field - 1) // stride)
