"""Attacks on the card model's twin at its input, and against a library's on a net of our own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model
from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.errors import InputError
from edgeguard.evaluate import twin
from edgeguard.evaluate.attacks import attack, is_wrong
from edgeguard.evaluate.attacks.installed import check_installed
from edgeguard.evaluate.attacks.toolbox import toolbox
from edgeguard.evaluate.twin import Twin
from edgeguard.guard import GuardProfile
from edgeguard.preprocess.crop_resize import crop_and_resize

if importlib.util.find_spec("art") is None:
    pytest.skip("needs the attack extra", allow_module_level=True)

LINF: dict[str, dict[str, Any]] = {
    "fgsm": {"eps_8bit": 4},
    "bim": {"eps_8bit": 4, "step_8bit": 1, "steps": 4},
    "pgd": {"eps_8bit": 4, "steps": 6, "restarts": 2},
    "dct-pgd": {"eps_8bit": 4, "steps": 6, "bands": 3},
    "autoattack": {"eps_8bit": 4, "parts": ["apgd-ce", "apgd-dlr"], "steps": 4},
    "square": {"eps_8bit": 4, "queries": 15},
    "art": {"attack": "BasicIterativeMethod", "eps_8bit": 4, "parameters": {"eps_step": 0.004, "max_iter": 4}},
}
SLOW = ("deepfool", "cw-l2", "cw-linf", "hop-skip-jump")
OTHERS: dict[str, dict[str, Any]] = {
    "deepfool": {"steps": 10, "overshoot": 1.0},
    "cw-l2": {"steps": 25, "searches": 2, "learning_rate": 0.02, "confidence": 0.0},
    "cw-linf": {"steps": 25, "searches": 1, "learning_rate": 0.02, "confidence": 0.0},
    "cw-l0": {"steps": 20, "rounds": 4, "confidence": 0.0},
    "hop-skip-jump": {"steps": 1, "queries": 50},
}


@pytest.fixture(scope="module")
def victim() -> Twin:
    return twin(bundled_model(), place="input")


@pytest.fixture(scope="module")
def cards(scenes: list[NDArray[np.uint8]], victim: Twin) -> tuple[torch.Tensor, torch.Tensor]:
    contract = victim.contract
    pixels = np.stack([crop_and_resize(frame, contract.input, contract.preprocess) for frame in scenes[:3]])
    levels = to_levels(pixels)
    with torch.no_grad():
        return levels, victim(levels).argmax(1)


@pytest.mark.parametrize("kind", LINF)
def test_linf_attacks_keep_their_budget_and_whole_levels(
    kind: str, victim: Twin, cards: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = cards
    found = attack(kind, LINF[kind])(victim, images, labels, seed=1)
    assert found.shape == images.shape and (found == found.round()).all()
    assert found.min() >= 0 and found.max() <= 255
    assert 0 < (found - images).abs().max() <= 4


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.full) if k in SLOW else k for k in OTHERS])
def test_other_attacks_find_another_label(kind: str, victim: Twin, cards: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = cards
    found = attack(kind, OTHERS[kind])(victim, images, labels, seed=1)
    assert (found == found.round()).all() and found.min() >= 0 and found.max() <= 255
    if kind not in ("cw-l2", "cw-l0"):  # targeted at one class; on three images they may miss some
        assert is_wrong(victim, found, labels).float().mean() >= 0.6
    else:
        assert is_wrong(victim, found, labels).any()


@pytest.mark.full
def test_l0_changes_few_pixels(victim: Twin, cards: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = (part[:1] for part in cards)
    found = attack("cw-l0", {"rounds": 12, "confidence": 0.0, "targeted_next": False})(victim, images, labels)
    assert is_wrong(victim, found, labels).all()
    assert 0 < (found != images).any(1).sum() <= 0.02 * images[0, 0].numel()


def test_an_attack_with_the_same_seed_is_the_same(victim: Twin, cards: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = cards
    first, again, other = (
        attack("pgd", {"eps_8bit": 4, "steps": 2})(victim, images, labels, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("eps", [0.031, 0, -4, 1.9, 256, float("nan"), True])
def test_a_budget_that_no_file_can_carry_is_refused(eps: float) -> None:
    with pytest.raises(InputError, match=r"whole number of levels from 1 to 255 \(8/255 is eps_8bit = 8\)"):
        attack("pgd", {"eps_8bit": eps})


def test_dct_steps_reach_what_the_guard_keeps(cards: tuple[torch.Tensor, torch.Tensor], victim: Twin) -> None:
    """A sign step of 2 levels hardly crosses half a quantisation step; a DC step of 2 levels moves every block."""
    images, labels = cards
    guarded = victim.guarded(GuardProfile.preset("fd-paper"))
    assert guarded.guard is not None
    base = guarded.guard(images)
    found = attack("dct-pgd", {"eps_8bit": 2, "steps": 4, "bands": 1, "random_start": False})(guarded, base, labels)
    moved = (guarded.guard(found) != guarded.guard(base)).float().mean()
    sign = attack("pgd", {"eps_8bit": 2, "steps": 4, "random_start": False})(guarded, base, labels)
    assert moved > (guarded.guard(sign) != guarded.guard(base)).float().mean()


@pytest.mark.full
def test_the_toolbox_is_imported_by_several_processes_at_once(tmp_path: Path) -> None:
    """And leaves nothing in the home folder, where it wants to write."""
    program = "from edgeguard.evaluate.attacks.toolbox import toolbox; toolbox('attacks.evasion')"
    started = [
        subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"HOME": str(tmp_path)}) for _ in range(3)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert list(tmp_path.glob(".art")) == []


def test_pgd_is_as_strong_as_the_librarys() -> None:
    """Same net, same budget, same steps: accuracies within one point of 400 images."""
    library, estimators = toolbox("attacks.evasion"), toolbox("estimators.classification")
    torch.manual_seed(0)
    count = 400
    images = torch.randint(0, 256, (count, 3, 16, 16)).float()
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 49, 5)
    )
    with torch.no_grad():
        labels = net(images / 255).argmax(1)
    ours = attack("pgd", {"eps_8bit": 2, "step_8bit": 0.5, "steps": 20})(lambda x: net(x / 255), images, labels)
    classifier = estimators.PyTorchClassifier(
        net, torch.nn.CrossEntropyLoss(), (3, 16, 16), 5, clip_values=(0.0, 1.0), device_type="cpu"
    )
    reference = library.ProjectedGradientDescentPyTorch(
        classifier, eps=2 / 255, eps_step=0.5 / 255, max_iter=20, num_random_init=1, batch_size=count, verbose=False
    )
    theirs = torch.from_numpy(reference.generate((images / 255).numpy(), labels.numpy())) * 255
    with torch.no_grad():
        accuracies = [float((net(x / 255).argmax(1) == labels).float().mean()) for x in (ours, theirs)]
    assert 0.02 < accuracies[0] < 0.98, "the comparison would say nothing"
    assert abs(accuracies[0] - accuracies[1]) <= 0.01


@pytest.mark.parametrize(("kind", "parameters"), [("nope", {}), ("pgd", {"eps": 4}), ("fgsm", {})])
def test_wrong_names_are_refused(kind: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=kind):
        attack(kind, parameters)


def test_stopping_early_is_as_good(victim: Twin, cards: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = cards
    parameters = {"eps_8bit": 16, "steps": 8, "random_start": False}
    calls = []

    def counting(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return victim(x)

    found = attack("pgd", {**parameters, "early_stop": True})(counting, images, labels)
    assert is_wrong(victim, found, labels).all() and sum(calls) < 8 * len(images)


def test_hop_skip_jump_stays_within_a_budget(victim: Twin, cards: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = (part[:1] for part in cards)
    made = attack("hop-skip-jump", {"eps_8bit": 3, "steps": 1, "queries": 20})
    assert made.gradient_free and (made(victim, images, labels) - images).abs().max() <= 3


def test_what_is_not_installed_is_said_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="the Adversarial Robustness Toolbox has no attack Nonsense"):
        check_installed([attack("art", {"attack": "Nonsense"})])
    monkeypatch.setattr("edgeguard.evaluate.attacks.installed.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs pyautoattack: .*pip install"):
        check_installed([attack("autoattack", {"eps_8bit": 2})])
