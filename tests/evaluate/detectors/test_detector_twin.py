"""Twins of detectors against the runtime, and what attackers of detectors want."""

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate.detectors.made_detectors import SIDE, detector, frame

from edgeguard.differentiable.guard_layer import to_frames, to_levels
from edgeguard.errors import InputError
from edgeguard.evaluate.attacks import attack
from edgeguard.evaluate.detectors.candidates import Candidates
from edgeguard.evaluate.detectors.deployed import AskingVictim, DeployedDetector, on_input
from edgeguard.evaluate.detectors.goals import Aim, GoalVictim
from edgeguard.evaluate.detectors.twin import candidates_of, detector_agreement, detector_twin
from edgeguard.evaluate.protocol import Goal
from edgeguard.evaluate.twin import twin
from edgeguard.model import load_model

FRAMES = [frame((0, 0), (10, 1)), frame((5, 1)), frame()]


@pytest.mark.parametrize("head", ["raw", "postprocess"])
def test_the_twin_follows_the_runtime(head: str, tmp_path: Path) -> None:
    path = tmp_path / "det.tflite"
    path.write_bytes(detector(head))
    model, rebuilt = load_model(path), detector_twin(path)
    found = detector_agreement(rebuilt, model, FRAMES)
    assert (found.n, found.boxes) == (3, 48 if head == "raw" else 3), "every anchor, or what the file lists"
    assert found.largest_box < 1e-3 and found.largest_score < 1e-4
    seen = candidates_of(rebuilt, FRAMES[0])
    assert seen.boxes.shape == (1, 16, 4) and seen.scores.shape == (1, 16, 2)
    assert (seen.scores[0] > 0.3).nonzero().tolist() == [[0, 0], [10, 1]]
    assert [(b.label, b.x1, b.y1) for b in model(FRAMES[1]).boxes or ()] == [("green", 16, 16)]


def test_a_twin_of_a_classifier_says_so(card_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the detector's twin is for detectors; this model's task is classify"):
        detector_twin(card_model)
    (tmp_path / "det.tflite").write_bytes(detector())
    with pytest.raises(InputError, match="the twin is for classifiers"):
        twin(tmp_path / "det.tflite")


def _aim(goal: Goal, target: int | None = None) -> Aim:
    return Aim(goal, np.array([[0, 0, 0.25, 0.25]], np.float32), np.array([0]), 0.3, target)


def _candidates(*logits: list[float]) -> Candidates:
    """Two anchors: on the object, and elsewhere."""
    boxes = torch.tensor([[[0, 0, 0.25, 0.25], [0.5, 0.5, 0.75, 0.75]]])
    return Candidates(boxes, torch.tensor([logits], requires_grad=True))


@pytest.mark.parametrize(
    ("goal", "target", "on_it", "elsewhere", "has_won"),
    [
        ("vanish", None, [2.0, -5.0], [-5.0, -5.0], False),
        ("vanish", None, [-2.0, 5.0], [3.0, -5.0], True),  # another class on it, its class elsewhere
        ("mislabel", None, [-2.0, 1.0], [-5.0, -5.0], True),
        ("mislabel", None, [-2.0, -2.0], [-5.0, -5.0], False),  # nothing is said of it
        ("mislabel", None, [2.0, 1.0], [-5.0, -5.0], False),
        ("mislabel", None, [40.0, -40.0], [-5.0, -5.0], False),  # far away there is a gradient too
        ("create", None, [5.0, 5.0], [-5.0, -2.0], False),
        ("create", None, [5.0, 5.0], [-5.0, 1.0], True),
        ("create", 0, [5.0, 5.0], [-5.0, 1.0], False),
    ],
)
def test_what_a_goal_lacks(
    goal: Goal, target: int | None, on_it: list[float], elsewhere: list[float], has_won: bool
) -> None:
    found = _candidates(on_it, elsewhere)
    logits = _aim(goal, target).logits(found)
    assert logits.shape == (1, 2) and bool(logits[0, 0] < 0) == has_won
    (gradient,) = torch.autograd.grad(logits[0, 0], found.logits)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("goal", ["vanish", "mislabel", "create"])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("pgd", {"steps": 20, "early_stop": True}),
        ("lattice", {"steps": 20, "restarts": 1}),
        ("square", {"queries": 60}),
    ],
)
def test_attacks_on_classifiers_attack_detectors(
    kind: str, parameters: dict[str, int], goal: Goal, tmp_path: Path
) -> None:
    """With room enough the deployed file reports what the attacker wants."""
    path = tmp_path / "det.tflite"
    path.write_bytes(detector())
    model, picture = load_model(path), frame((0, 0))
    deployed = DeployedDetector(model)
    aim = Aim(goal, on_input([(0, 0, 16, 16)], (SIDE, SIDE), model.contract), np.array([0]), deployed.threshold)
    made = attack(kind, {**parameters, "eps_8bit": 80})
    victim = AskingVictim(deployed, aim, classes=2) if made.gradient_free else GoalVictim(detector_twin(path), aim)
    changed = to_frames(made(victim, to_levels(picture[None]), torch.zeros(1, dtype=torch.int64), seed=0))[0]
    assert np.abs(changed.astype(int) - picture).max() <= 80
    if made.gradient_free and goal != "create":  # a random search takes long for one small object
        assert float(victim(to_levels(changed[None]))[0, 0]) < float(victim(to_levels(picture[None]))[0, 0])
        return
    boxes = deployed.boxes(changed)
    on_it = [b.label for b in boxes if (b.x1, b.y1) == (0, 0)]
    if goal == "vanish":
        assert "red" not in on_it
    elif goal == "mislabel":
        assert on_it == ["green"]
    else:
        assert any((b.x1, b.y1) != (0, 0) for b in boxes)
    assert [b.label for b in deployed.boxes(picture)] == ["red"]
