"""Attacks that want one label."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgeguard.differentiable.guarded_victim import GuardedVictim
from edgeguard.errors import InputError
from edgeguard.evaluate import run
from edgeguard.evaluate.attacks.gradient import Pgd
from edgeguard.evaluate.engine.executors import ThisProcess
from edgeguard.evaluate.engine.targeted import TargetedVictim
from edgeguard.evaluate.protocol import parse_protocol
from edgeguard.evaluate.run import evaluate

PLAN = """
schema = 1
name = "t"
title = "t"
box = "white"
place = "frame"
images = 2
[[attack]]
name = "pgd"
eps_8bit = [1, 48]
steps = 20
early_stop = true
[[attack]]
name = "hop-skip-jump"
eps_8bit = [48]
steps = 2
queries = 100
[[defence]]
name = "none"
"""


class _Linear(torch.nn.Module):
    """The mean of each channel is a class's logit."""

    def __init__(self, factor: float = 10) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, levels: Tensor) -> Tensor:
        return levels.mean((2, 3)) * self.factor / 100


def test_a_margin_and_zero() -> None:
    victim = TargetedVictim(_Linear(), 1)
    image = torch.tensor([200.0, 50.0, 90.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()
    assert victim(image).tolist() == [[pytest.approx(4 * 15 / 19), 0]]
    far = TargetedVictim(_Linear(1000), 1)
    shown = image.clone().requires_grad_(True)
    torch.nn.functional.cross_entropy(far(shown), torch.zeros(1, dtype=torch.int64)).backward()
    assert shown.grad is not None and shown.grad.abs().sum() > 0, "1,500 logits away there is a gradient too"
    assert isinstance(victim, GuardedVictim) and victim.profile is None and victim.room == 0
    found = Pgd(eps_8bit=90, steps=20)(victim, image, torch.zeros(1, dtype=torch.int64))
    assert _Linear()(found).argmax() == 1, "not the second best, which is nearer"


@pytest.mark.full
def test_an_image_is_lost_where_the_file_says_the_target(
    card_model: Path,
    card_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(run, "LocalProcesses", lambda workers: ThisProcess())
    cells = evaluate(card_model, card_images, parse_protocol(PLAN, "t"), tmp_path / "out", target="no entry", workers=1)
    by = {(c.attack, c.eps_8bit): c for c in cells}
    assert by["pgd", 1].correct == 2 and by["pgd", 48].correct < 2
    assert "left out with --target: hop-skip-jump" in caplog.text
    with pytest.raises(InputError, match="another evaluation"):
        evaluate(card_model, card_images, parse_protocol(PLAN, "t"), tmp_path / "out", target="stop", workers=1)
    with pytest.raises(InputError, match="no label 'entry'; did you mean no entry"):
        evaluate(card_model, card_images, parse_protocol(PLAN, "t"), tmp_path / "o", target="entry", workers=1)
