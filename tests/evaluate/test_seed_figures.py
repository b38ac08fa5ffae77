"""Small versions of the protocols for published figures: columns, charts, spectra, and an attack that knows a net."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from edgeguard.evaluate.defenses.base import Differentiable
from edgeguard.evaluate.defenses.magnet import GrayAutoencoder, MagnetReformer
from edgeguard.evaluate.defenses.registry import defense_by_name, guard_of
from edgeguard.evaluate.engine.targets import Target, Victim
from edgeguard.evaluate.protocol import load_protocol, parse_protocol
from edgeguard.evaluate.reports.results import read_results
from edgeguard.evaluate.run import evaluate

SMALL = """
schema = 1
name = "small-figure"
title = "small"
box = "gray"
place = "input"
images = 3
batch = 3
undefended_at_most = 1
fidelity = true
[[attack]]
name = "fgsm"
eps_8bit = [2, 8]
[[defence]]
name = "none"
[[defence]]
name = "gif"
[[defence]]
name = "flat:20"
[[defence]]
name = "flat:40"
[[defence]]
name = "flat:80"
[[defence]]
name = "flat:20"
when = "added"
"""


@pytest.mark.full
def test_columns_charts_and_spectra(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    cells = evaluate(card_model, card_images, parse_protocol(SMALL, "small"), tmp_path / "o", workers=1)
    by = {(cell.attack, cell.eps_8bit, cell.defence): cell for cell in cells}
    clean, small, large = (by[key] for key in (("clean", None, "none"), ("fgsm", 2, "none"), ("fgsm", 8, "none")))
    assert clean.ms_ssim == 1 and clean.psnr_db == 99 and clean.spectrum is None
    assert small.psnr_db is not None and large.psnr_db is not None and 99 > small.psnr_db > large.psnr_db
    assert small.ms_ssim is not None and large.ms_ssim is not None and 1 > small.ms_ssim > large.ms_ssim > 0
    assert large.confidence is not None and -1 <= large.confidence <= 1
    assert small.spectrum is not None and large.spectrum is not None and len(large.spectrum) == 64
    assert sum(large.spectrum) > 2 * sum(small.spectrum)
    assert by["fgsm", 2, "gif"].spectrum is None  # the same change is shown to each defense
    page = (tmp_path / "o" / "report.html").read_text()
    assert "Accuracy over the step" in page and page.count("stroke-dasharray") >= 2 and "spectrum" in page
    line = json.loads((tmp_path / "o" / "results.jsonl").read_text().splitlines()[0])
    assert {"confidence", "ms_ssim", "psnr_db"} <= line.keys() and "spectrum" not in line
    assert read_results(tmp_path / "o") == cells


def test_flat_tables_are_guards_of_one_step() -> None:
    guard = guard_of(defense_by_name("flat:20"))
    assert guard is not None and set(guard.profile.tables[0]) == {20} and guard.profile.color == "rgb"


def test_the_sources_figures_stand_in_the_protocol() -> None:
    plan = load_protocol("lossy-codecs-lsb")
    assert plan.fidelity and [attack.eps_8bit for attack in plan.attacks] == [1, 2, 4, 8, 16, 32]
    assert plan.paper["fgsm 1"]["jpeg:75"] == 90 and plan.paper["clean"]["gif"] == 90
    assert plan.paper["fgsm 32"]["none"] == 15 and "no gradient" in plan.paper_source.replace("had no", "no")
    figure = load_protocol("feature-distillation-figure4")
    assert {d.name for d in figure.defenses} == {"none", *(f"flat:{step}" for step in range(10, 81, 10))}
    assert sum(attack.transfer for attack in load_protocol("magnet-mnist").attacks) == 5


@pytest.mark.parametrize("kind", [1, 2])
def test_the_nets_for_digits_keep_the_size_and_are_gray(kind: int) -> None:
    out = GrayAutoencoder(kind)(torch.rand(2, 3, 28, 28))
    assert out.shape == (2, 3, 28, 28) and torch.equal(out[:, 0], out[:, 2])
    assert sum(p.numel() for p in GrayAutoencoder(kind).parameters()) < 400


@pytest.mark.full
def test_a_trained_net_gives_digits_back() -> None:
    rng = np.random.default_rng(0)
    digits = []
    for _ in range(40):
        digit = np.zeros((28, 28, 3), np.uint8)
        top, left = rng.integers(4, 12, 2)
        digit[top : top + 12, left : left + 3] = 255
        digits.append(cv2.imencode(".png", digit)[1].tobytes())
    reformer = defense_by_name("magnet-gray-2", digits)
    shown = cv2.imdecode(np.frombuffer(digits[0], np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    levels: NDArray[np.uint8] = shown.astype(np.uint8)
    assert np.abs(reformer(levels).astype(int) - levels).mean() < 25


def test_an_attack_that_knows_a_net_differentiates_through_it(card_model: Path) -> None:
    torch.manual_seed(0)
    net = MagnetReformer(GrayAutoencoder(2), "magnet-gray-2")
    assert isinstance(net, Differentiable) and not isinstance(defense_by_name("jpeg:75"), Differentiable)
    levels = torch.full((1, 3, 128, 128), 100.0) + torch.rand(
        1, 3, 128, 128, generator=torch.Generator().manual_seed(1)
    )
    gradients = []
    for defense in (net, defense_by_name("none")):
        victim = Victim(Target(str(card_model), "input"), defense, backward="identity", gradient_free=False, seed=0)
        x = levels.clone().requires_grad_(True)
        gradients.append(torch.autograd.grad(victim(x).square().sum(), x)[0])
    through, plain = gradients
    assert torch.equal(through[:, 0], through[:, 1])  # it looks at the mean of the channels
    assert not torch.equal(plain[:, 0], plain[:, 1])
