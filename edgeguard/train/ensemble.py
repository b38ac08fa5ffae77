"""An ensemble: the same network trained behind several codecs, which vote (Das et al. 2018, SHIELD, section 3.3)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from edgeguard.train.config import TrainConfig

MEMBER = "member-{}"


class Vote(nn.Module):
    """The mean of the members' logits.

    The class with the highest mean is the one with the highest mean log-probability, since a member's logits differ
    from its log-probabilities by one number. A majority of hard votes has ties and no derivative for an attack to use,
    which would look like a defence.

    Example:
        >>> Vote([nn.Identity(), nn.Identity()])(torch.tensor([[1.0, 3.0]]))
        tensor([[1., 3.]])
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, classes)."""
        first, *others = self.members
        total = first(x)
        for member in others:
            total = total + member(x)
        return total * (1.0 / len(self.members))


def member_configs(config: TrainConfig, folder: Path) -> list[tuple[TrainConfig, Path]]:
    """What each member is trained with, and where: its codec, and a seed of its own."""
    return [
        (replace(config, codec=codec, ensemble=(), seed=config.seed + number), folder / MEMBER.format(number))
        for number, codec in enumerate(config.ensemble)
    ]
