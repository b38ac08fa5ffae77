"""Images that take a class's certified radii away: the derivatives are right, the budget holds, the radius falls."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here
from needs import needs
from stripes import write_classes

needs("torch", "litert_torch", "cryptography", "sklearn", extras="the extras convert and data")

import torch  # noqa: E402
from scipy.stats import norm  # noqa: E402
from torch import nn  # noqa: E402

from edgeguard.differentiable.guard_layer import to_levels  # noqa: E402
from edgeguard.poison import make  # noqa: E402
from edgeguard.poison.certified_class import ClassPoison, against_certificates, shared_patterns  # noqa: E402
from edgeguard.poison.class_victim import ClassAttack, Moved, soft_radius  # noqa: E402
from edgeguard.poison.implicit import by_images, hessian_vector, inverse_times  # noqa: E402
from edgeguard.train.config import SmoothingConfig  # noqa: E402
from edgeguard.train.networks import network  # noqa: E402
from edgeguard.train.smoothing import noisy_levels, smoothing_loss  # noqa: E402

pytestmark = pytest.mark.convert
GAUSSIAN = SmoothingConfig(smoothing="gaussian", sigma=0.25)


def test_second_derivatives_times_a_vector_are_torchs_own() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, labels = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 3
    parameters, names = list(net.parameters()), [name for name, _ in net.named_parameters()]
    vector = [torch.randn_like(p) for p in parameters]
    slopes = torch.autograd.grad(nn.functional.cross_entropy(net(x), labels), parameters, create_graph=True)

    def loss(*values: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))
        return nn.functional.cross_entropy(logits, labels)

    _, expected = torch.autograd.functional.hvp(loss, tuple(p.detach() for p in parameters), tuple(vector))
    for found, wanted in zip(hessian_vector(slopes, parameters, vector), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-10)


def test_the_derivative_through_an_optimum_is_that_of_ridge_regression() -> None:
    """There w = (X'X + c)^-1 X'y, so the upper loss is a plain function of X, which autograd differentiates."""
    rng = torch.Generator().manual_seed(1)
    x, y, beyond, said = (torch.randn(s, dtype=torch.float64, generator=rng) for s in ((9, 3), (9,), (5, 3), (5,)))
    ridge = 0.7 * torch.eye(3, dtype=torch.float64)

    def optimum(images: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve(images.T @ images + ridge, images.T @ y)

    free = x.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(((beyond @ optimum(free) - said) ** 2).mean(), [free])
    images, weights = x.clone().requires_grad_(True), optimum(x).requires_grad_(True)
    (wanted,) = torch.autograd.grad(((beyond @ weights - said) ** 2).mean(), [weights])

    def slopes(rows: torch.Tensor, labels: torch.Tensor, share: float = 1) -> tuple[torch.Tensor, ...]:
        lower = ((rows @ weights - labels) ** 2).sum() / 2 + share * (weights @ ridge @ weights) / 2
        return torch.autograd.grad(lower, [weights], create_graph=True)

    solution = inverse_times(slopes(images, y), [weights], [wanted], steps=3, damping=0)
    assert torch.allclose(by_images(slopes(images, y), images, solution), expected, atol=1e-9)
    again = inverse_times(slopes(images, y), [weights], [wanted], solution, steps=1, damping=0)
    assert torch.allclose(again[0], solution[0], atol=1e-9), "it goes on from what was found before"
    few = x[2:4].clone().requires_grad_(True)
    assert torch.allclose(by_images(slopes(few, y[2:4], 0.1), few, solution), expected[2:4], atol=1e-9), (
        "what it says of an image does not depend on the others"
    )


def test_a_direction_that_curves_down_ends_the_search() -> None:
    weights = torch.tensor([1.0, 1.0], requires_grad=True)
    slopes = torch.autograd.grad(weights[0] ** 2 - 3 * weights[1] ** 2, [weights], create_graph=True)
    for wanted, start, expected in (
        ([1.0, 0.0], None, [0.5, 0.0]),
        ([0.0, 1.0], None, [0.0, 1.0]),  # nothing was found: down the slope itself
        ([0.0, 1.0], [[0.25, 0.0]], [0.25, 0.0]),
    ):
        first = None if start is None else [torch.tensor(one) for one in start]
        (found,) = inverse_times(slopes, [weights], [torch.tensor(wanted)], first, steps=4, damping=0)
        assert torch.allclose(found, torch.tensor(expected)), (wanted, found)


def test_shared_patterns_are_coarse_and_keep_the_budget() -> None:
    clean = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3), np.uint8)
    found = dict(shared_patterns(clean, 25.5))
    assert len(found) == 8 and len({moved.tobytes() for moved in found.values()}) == 8
    for moved in found.values():
        assert moved.dtype == np.uint8 and np.abs(moved.astype(int) - clean).max() == 25
    middle = dict(shared_patterns(np.full((2, 8, 6, 3), 100, np.uint8), 25.5))
    assert (middle["wave 0,0"] == 125).all() and (middle["wave 1,0"][:, :4] == 125).all()
    assert (middle["wave 1,0"][:, 4:] == 75).all() and (middle["wave 0,1 inverted"][:, :, :3] == 75).all()


def test_the_soft_radius_is_the_certificates_formula() -> None:
    share = 0.8
    logits = torch.zeros(10, 3)
    logits[:, 2] = -100.0
    logits[:8, 0], logits[8:, 1] = 100.0, 100.0  # 8 of 10 noisy copies are class 0
    radius = soft_radius(logits, 0, 0.5, 10)
    clipped = [(1 - 2e-3) * p + 1e-3 for p in (share, 1 - share)]
    assert radius is not None
    assert float(radius) == pytest.approx(0.25 * (norm.ppf(clipped[0]) - norm.ppf(clipped[1])), abs=1e-5)
    assert soft_radius(logits, 1, 0.5, 10) is None, "an image that is wrong has no radius"


def _digits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bright bars, upright or level, on gray, 16x16."""
    images, targets = np.full((60, 16, 16, 3), 90, np.uint8), np.arange(60) % 2
    for image, target in zip(images, targets, strict=True):
        place = rng.integers(3, 11)
        if target:
            image[:, place : place + 3] = 170
        else:
            image[place : place + 3] = 170
    return images + rng.integers(0, 20, images.shape, np.uint8), targets


def _attacked(codec: str = "none", epochs: int = 2, smoothing: SmoothingConfig = GAUSSIAN) -> tuple[Any, Any, Any]:
    images, targets = _digits(np.random.default_rng(4))
    torch.manual_seed(3)
    rows = np.flatnonzero(targets == 1)
    told: list[tuple[str, int, int]] = []
    found = against_certificates(
        lambda: network("lenet", 2, 4, 16), images, targets, rows, attack=ClassAttack(20, epochs, 4, 30, 8),
        smoothing=smoothing, codec=codec, progress=lambda *said: told.append(said),
    )  # fmt: skip
    assert ("poisoning", epochs, epochs) in told and told[-1] == ("judging", 10, 10)
    assert found.radii[found.found_by] == min(r for name, r in found.radii.items() if name != "clean")
    return images, rows, found.images


@pytest.mark.full
@pytest.mark.parametrize("codec", ["none", "jpeg:50"])
def test_images_move_within_the_budget(codec: str) -> None:
    images, rows, moved = _attacked(codec)
    apart = np.abs(moved.astype(int) - images[rows])
    assert moved.dtype == np.uint8 and 0 < apart.max() <= 20
    assert (moved == _attacked(codec)[2]).all(), "the same seed gives the same images"


def test_a_slope_that_is_nearly_nothing_moves_no_image_beyond_its_budget() -> None:
    moved = Moved(torch.full((2, 3, 4, 4), 90.0), 20)
    rows = np.array([0, 1])
    for slope in (torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 1e-42)):
        moved.step(rows, slope)
    assert np.abs(moved.whole().astype(int) - 90).max() <= 20


@pytest.mark.full
def test_more_images_of_the_class_than_a_round_moves() -> None:
    images, targets = _digits(np.random.default_rng(4))
    told: list[tuple[str, int, int]] = []
    found = against_certificates(
        lambda: network("lenet", 2, 4, 16), images, targets, np.array([1, 3, 5]), attack=ClassAttack(20, 1, 1, 2, 2),
        smoothing=GAUSSIAN, progress=lambda *said: told.append(said),
    )  # fmt: skip
    assert found.images.shape == (3, 16, 16, 3) and told[:2] == [("poisoning", 1, 2), ("poisoning", 2, 2)]


@pytest.mark.parametrize(
    "smoothing",
    [
        pytest.param(SmoothingConfig(smoothing="macer", sigma=0.25), marks=pytest.mark.full),
        pytest.param(SmoothingConfig(smoothing="smoothadv", sigma=0.25), marks=pytest.mark.full),
    ],
    ids=["macer", "smoothadv"],
)
def test_other_trainings_can_be_attacked(smoothing: SmoothingConfig) -> None:
    images, rows, moved = _attacked(epochs=1, smoothing=smoothing)
    assert 0 < np.abs(moved.astype(int) - images[rows]).max() <= 20


@pytest.mark.full
def test_the_radius_of_the_class_falls() -> None:
    """Fresh victims on clean and on poisoned images: radii of unseen images of the attacked class and of the other."""
    (images, targets), (unseen, labels) = (_digits(np.random.default_rng(seed)) for seed in (4, 9))
    smoothing, rows = SmoothingConfig(smoothing="gaussian", sigma=0.5), np.flatnonzero(targets == 1)
    torch.manual_seed(3)
    poisoned = images.copy()
    poisoned[rows] = against_certificates(
        lambda: network("lenet", 2, 4, 16), images, targets, rows, attack=ClassAttack(40, 40, 8, 60, 8),
        smoothing=smoothing,
    ).images  # fmt: skip
    clean, fallen = (
        [_radii(_victim(data, targets, smoothing, seed), unseen, labels, smoothing.sigma) for seed in (1, 2)]
        for data in (images, poisoned)
    )
    assert max(attacked for _, attacked in fallen) < 0.5 * min(attacked for _, attacked in clean), (clean, fallen)
    assert min(other for other, _ in fallen) > 0.8 * min(other for other, _ in clean), (clean, fallen)


def _victim(images: np.ndarray, targets: np.ndarray, smoothing: SmoothingConfig, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = network("lenet", 2, 4, 16)
    optimizer, noise = torch.optim.Adam(net.parameters(), lr=1e-3), torch.Generator().manual_seed(seed)
    levels, labels = to_levels(images), torch.from_numpy(targets)
    for _ in range(150):
        loss, _ = smoothing_loss(lambda seen: net((seen - 127.5) / 127.5), levels, labels, smoothing, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def _radii(net: nn.Module, images: np.ndarray, labels: np.ndarray, sigma: float) -> list[float]:
    """The mean radius of each of the two classes, by 200 noisy copies of each image."""
    found = []
    for label in (0, 1):
        shown = to_levels(images[labels == label])
        seen = noisy_levels(shown.repeat_interleave(200, 0), sigma, torch.Generator().manual_seed(0))
        with torch.no_grad():
            right = net((seen - 127.5) / 127.5).argmax(1).reshape(len(shown), 200) == label
        shares = right.float().mean(1).clamp(1e-3, 1 - 1e-3).numpy()
        found.append(float(np.maximum(sigma * norm.ppf(shares), 0).mean()))
    return found


def test_what_makes_no_attack_is_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "d", 8)
    line = ("poison", "make", "pacd", "--data", tmp_path / "d", "--output", tmp_path / "p", "--size", 16,
            "--model", "lenet")  # fmt: skip
    for more, said in (
        ((), "pacd needs --class"),
        (("--class", "nobody"), "--class nobody: the data have no such class; they have across, along, round"),
        (("--class", "across", "--as", "along"), "--as is for gradient-matching and trigger"),
        (("--class", "across", "--against", "none"), "--against is gaussian, smoothadv or macer"),
        (("--class", "across", "--model", "resnet8"), "normalizes by the batch"),
        (("--class", "across", "--against", "hope"), "--against is gaussian, smoothadv or macer, not hope"),
    ):
        done = here(*line, *more)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert not (tmp_path / "p").exists()


@pytest.mark.full
def test_the_command_writes_the_class_and_says_what_it_is_for(tmp_path: Path) -> None:
    write_classes(tmp_path / "d", 8)
    done = here(
        "poison", "make", "pacd", "--data", tmp_path / "d", "--output", tmp_path / "p", "--size", 16,
        "--class", "across", "--width", 4, "--steps", 1, "--sigma", 0.25,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "to take the certified radii of across away (training gaussian, sigma 0.25)" in done.stdout
    assert "for the attacker's own network (the lowest of 9 estimates after short trainings)" in done.stdout
    note = json.loads((tmp_path / "p" / "poison.json").read_text())
    assert note["method"] == "pacd" and note["attacked"] == "across" and note["sigma"] == 0.25
    assert all("across" in name for name in note["files"]) and note["eps_8bit"] == 25.5
    assert note["budget"] == pytest.approx(1 / 3, abs=1e-6) and note["images_moved"] > 0
    assert note["attackers_radii"][note["found_by"]] >= 0 and "clean" in note["attackers_radii"]


def test_a_poison_that_moved_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classes(tmp_path / "d", 8)
    found = ClassPoison(np.empty(0, np.uint8), "slopes", {"clean": 1.0, "slopes": 1.0})
    monkeypatch.setattr(
        make, "against_certificates", lambda fresh, images, targets, rows, **how: replace(found, images=images[rows])
    )
    done = here(
        "poison", "make", "pacd", "--data", tmp_path / "d", "--output", tmp_path / "p", "--size", 16,
        "--class", "across",
    )  # fmt: skip
    assert done.returncode == 2 and "no image of across was moved" in done.stderr, done.stderr
    assert not (tmp_path / "p").exists()
