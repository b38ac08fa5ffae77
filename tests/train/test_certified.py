"""Networks of regions, their margin as a loss, and masked training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.errors import InputError
from edgeguard.patchguard.double_masking import MaskSet
from edgeguard.train.certified.margin_loss import MarginLoss, windows_touched
from edgeguard.train.certified.masks import doubly_masked, greedily_masked, mask_sets
from edgeguard.train.certified.region_net import RegionNet, kernels_of
from edgeguard.train.config import TrainConfig
from edgeguard.train.run import train


@pytest.mark.parametrize(("field", "stride"), [(8, 4), (10, 2), (5, 1), (12, 4), (33, 8), (9, 2)])
def test_a_region_sees_its_field_and_no_more(field: int, stride: int) -> None:
    """By the gradient of the votes in the middle, of a network with positive weights and linear activations."""
    torch.manual_seed(0)
    net = RegionNet(3, 4, 64, field=field, stride=stride).eval()
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    votes = net.votes(x)
    side = 64 // stride
    assert votes.shape == (1, 3, side, side)
    votes[0, 0, side // 2, side // 2].backward()
    assert x.grad is not None
    seen = torch.nonzero(x.grad[0].abs().sum(0))
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [field, field]


def test_fields_that_no_kernels_make_are_refused_with_those_near() -> None:
    with pytest.raises(InputError, match="see exactly 4 pixels; near it: 3, 5"):
        kernels_of(4, 1)
    with pytest.raises(InputError, match="stride is 1, 2, 4, 8, 16, not 3"):
        kernels_of(8, 3)
    with pytest.raises(InputError, match="does not fit 30 pixels"):
        RegionNet(3, 4, 30, field=8, stride=4)


@pytest.mark.parametrize(
    ("key", "value"),
    [("mixup", 0.2), ("label_smoothing", 0.1), ("method", "pgd"), ("ensemble", ("jpeg:30", "jpeg:60"))],
)
def test_what_the_margin_would_ignore_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    config = replace(TrainConfig(data="none", network="patchcert"), **{key: value})
    with pytest.raises(InputError, match="patchcert is trained without"):
        train(config, tmp_path)


def test_the_margin_is_what_the_worst_patch_leaves() -> None:
    rng = np.random.default_rng(0)
    shares = torch.from_numpy(rng.random((2, 3, 6, 6)))
    targets = torch.tensor([2, 0])
    found = MarginLoss(2, 1.0).margins(shares, targets)
    for i, truth in enumerate(targets.tolist()):
        for other in {0, 1, 2} - {truth}:
            worst = 1e9
            for y in range(5):
                for x in range(5):
                    own, rival = shares[i, truth].clone(), shares[i, other].clone()
                    own[y : y + 2, x : x + 2], rival[y : y + 2, x : x + 2] = 0, 1
                    worst = min(worst, float((own - rival).mean()))
            assert found[i, other] == pytest.approx(worst)


def test_the_loss_falls_as_the_margin_grows() -> None:
    targets = torch.tensor([0])
    weak, strong = torch.full((1, 2, 8, 8), 3.0), torch.full((1, 2, 8, 8), 3.0)
    strong[:, 0], strong[:, 1] = 6, 0
    for weight in (0.0, 0.5, 1.0):
        assert MarginLoss(3, weight)(strong, targets) < MarginLoss(3, weight)(weak, targets)
    assert windows_touched(5, 8, 4) == 3 and windows_touched(5, 10, 2) == 7 and windows_touched(1, 3, 1) == 3


def test_two_masks_of_the_set_cover_each_picture() -> None:
    masks, _ = mask_sets(32, 5)
    images = np.full((20, 32, 32, 3), 255, np.uint8)
    out = doubly_masked(images, masks, np.random.default_rng(0))
    covered = (out == 127).all(3).sum((1, 2))
    assert (covered >= masks.side**2).all() and (covered <= 2 * masks.side**2).all()
    assert len(np.unique(covered)) > 3 and (images == 255).all()


def test_greedy_masks_cover_what_the_answer_rests_on() -> None:
    """The picture's one bright square is all that the network sees: a greedy mask finds it."""

    class Bright(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            light = x.mean((1, 2, 3))
            return torch.stack([light, -light], 1)

    levels = torch.full((2, 3, 32, 32), 127.0)
    levels[0, :, 2:6, 2:6] = 255
    levels[1, :, 24:28, 26:30] = 255
    out = greedily_masked(Bright(), levels, torch.zeros(2, dtype=torch.long), MaskSet(32, 5, 3))
    assert float(out.max()) < 130 and float(levels.max()) == 255
