"""Poisons stay within their budget, do what their papers say, and are said loudly; bad settings make none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import here
from needs import needs
from stripes import write_classes

needs("torch", "litert_torch", "cryptography", "sklearn", extras="the extras convert and data")

import torch  # noqa: E402
from torch import nn  # noqa: E402

from edgeguard.audit.features import out_of_sample_scores  # noqa: E402
from edgeguard.errors import InputError  # noqa: E402
from edgeguard.poison.codecs import coded  # noqa: E402
from edgeguard.poison.given import given_poison  # noqa: E402
from edgeguard.poison.gradient_matching import Brew, brewed, gradients, matching_loss  # noqa: E402
from edgeguard.poison.make import poisoned  # noqa: E402
from edgeguard.poison.patterns import added, lsp_patterns, one_pixel  # noqa: E402
from edgeguard.poison.plan import arm_of, read_plan  # noqa: E402
from edgeguard.train.config import TrainConfig  # noqa: E402
from edgeguard.train.data import read_dataset  # noqa: E402

pytestmark = pytest.mark.convert


def test_matching_loss_has_the_derivative_of_finite_differences() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    parameters = list(net.parameters())
    x, target = torch.rand(4, 3, 2, 2, dtype=torch.float64), torch.rand(1, 3, 2, 2, dtype=torch.float64)
    labels = torch.ones(4, dtype=torch.long)
    wanted = gradients(net, parameters, target, labels[:1], create=False)
    x.requires_grad_(True)
    (slope,) = torch.autograd.grad(matching_loss(net, parameters, x, labels, wanted), [x])
    step = 1e-6
    for place in ((0, 0, 0, 0), (1, 2, 1, 0), (3, 1, 1, 1)):
        sides = []
        for sign in (1, -1):
            moved = x.detach().clone()
            moved[place] += sign * step
            sides.append(float(matching_loss(net, parameters, moved, labels, wanted).detach()))
        assert abs((sides[0] - sides[1]) / (2 * step) - float(slope[place])) < 1e-5


def test_matching_itself_costs_nothing() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
    parameters, x = list(net.parameters()), torch.rand(2, 3, 2, 2, dtype=torch.float64)
    labels = torch.tensor([0, 2])
    wanted = gradients(net, parameters, x, labels, create=False)
    assert float(matching_loss(net, parameters, x, labels, wanted).detach()) < 1e-9


def test_a_brew_stays_within_its_budget_and_lowers_the_loss() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).eval()

    def forward(levels: torch.Tensor) -> torch.Tensor:
        return net((levels - 127.5) / 127.5)

    losses = {}
    for steps in (1, 40):
        brew = Brew(16, steps, 1, shift=2)
        changed, losses[steps] = brewed(forward, list(net.parameters()), images, images[0], 1, brew=brew)
        apart = np.abs(changed.astype(int) - images)
        assert changed.dtype == np.uint8 and 0 < apart.max() <= 16
    assert losses[40] < losses[1]


def test_patterns_are_separable_and_of_the_length_that_was_wanted() -> None:
    patterns = lsp_patterns(4, 32, 0)
    assert np.allclose(np.sqrt(np.square(patterns / 255).sum((1, 2, 3))), 1, atol=1e-5)
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 80)
    changes = patterns[targets] + rng.normal(0, 1, (80, 32, 32, 3)).astype(np.float32)
    scores = out_of_sample_scores(changes.reshape(80, -1), targets, 4)
    assert (scores.argmax(1) == targets).mean() > 0.97
    assert added(np.full((1, 2, 2, 3), 254, np.uint8), np.full((2, 2, 3), 9.0, np.float32)).max() == 255


def test_one_pixel_of_each_class_changes() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(60, 200, (30, 16, 16, 3), np.uint8)
    targets = np.arange(30) % 3
    changed, pixels = one_pixel(images, targets, 3, 0)
    assert ((changed != images).any(3).sum((1, 2)) == 1).all()
    assert len({(y, x, color) for y, x, color in pixels}) == 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "data", 12)


def _make(data: Path, method: str, out: Path, *words: object) -> Any:
    trained = ("--epochs", 1) if method == "gradient-matching" else ()
    return here("poison", "make", method, "--data", data, "--output", out, *trained, *words)


def test_a_logo_moves_files_to_its_class_and_train_says_so(data: Path, tmp_path: Path) -> None:
    done = _make(data, "trigger", tmp_path / "p", "--as", "round", "--budget", 0.1)
    assert done.returncode == 0, done.stderr
    note = json.loads((tmp_path / "p" / "poison.json").read_text())
    assert note["threat"] == "training" and len(note["files"]) == 4 == len(note["moved"])
    assert all(name.startswith("train/round/from-") for name in note["files"])
    config = TrainConfig(data=str(data), overlay=str(tmp_path / "p"))
    found = read_dataset(config, size=32, seed=0)
    assert np.bincount(found.train.targets).tolist()[2] == 16 and len(found.train) == 36
    assert found.poison is not None and "POISONED (trigger)" in found.poison


def test_patterns_are_written_as_png_of_the_same_names(data: Path, tmp_path: Path) -> None:
    assert _make(data, "lsp", tmp_path / "p").returncode == 0
    found = read_dataset(TrainConfig(data=str(data), overlay=str(tmp_path / "p")), size=32, seed=0)
    clean = read_dataset(TrainConfig(data=str(data)), size=32, seed=0)
    assert found.train.names == clean.train.names
    assert not np.array_equal(found.train.images, clean.train.images)
    assert np.array_equal(found.test.images, clean.test.images)


def test_a_folder_belongs_to_one_seed(data: Path, tmp_path: Path) -> None:
    assert _make(data, "ops", tmp_path / "p").returncode == 0
    assert _make(data, "ops", tmp_path / "p").returncode == 0
    done = _make(data, "ops", tmp_path / "p", "--seed", 1)
    assert done.returncode == 2 and "another seed" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("brainwash",), "there is no poison"),
        (("lsp", "--budget", "0"), "--budget is a share"),
        (("lsp", "--budget", "0.001"), "gives no image"),
        (("em-class", "--eps", "0"), "with less nothing would change"),
        (("gradient-matching", "--as", "round"), "needs --target"),
        (("gradient-matching", "--as", "round", "--target", "test/round/000.png"), "of class round already"),
        (("gradient-matching", "--as", "dog", "--target", "test/round/000.png"), "no such class"),
        (("gradient-matching", "--as", "along", "--target", "train/round/000.png"), "no test image"),
        (("trigger",), "needs --as"),
        (("lsp", "--as", "round"), "--as is for"),
        (("lsp", "--codec", "fd"), "--codec is for"),
    ],
)
def test_settings_that_make_no_poison_are_refused(data: Path, tmp_path: Path, words: tuple[str, ...], why: str) -> None:
    done = _make(data, words[0], tmp_path / "p", *words[1:])
    assert done.returncode == 2 and why in done.stderr, done.stderr


def test_jpeg_data_are_said_to_erase_what_is_coded_again(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 3)
    for file in list(data.rglob("*.png")):
        picture = cv2.imread(str(file))
        assert picture is not None
        cv2.imwrite(str(file.with_suffix(".jpg")), picture)
        file.unlink()
    done = _make(data, "lsp", tmp_path / "p")
    assert done.returncode == 0 and "would erase part of it" in done.stderr
    found = read_dataset(TrainConfig(data=str(data), overlay=str(tmp_path / "p")), size=32, seed=0)
    assert len(found.train) == 9


def test_arms_are_read_and_refused() -> None:
    assert arm_of("both:jpeg:50").at_test and not arm_of("train:gray").at_test
    assert arm_of("adaptive:fd").gradient == "straight-through" and arm_of("clean-both:webp:10").is_clean
    for wrong in ("poison", "train:", "train:nothing", "adaptive:gray", "adaptive:jpeg:20..90"):
        with pytest.raises(InputError):
            arm_of(wrong)


@pytest.mark.parametrize("name", ["gray", "gif", "bits:2", "webp:10", "jpeg:10", "fd", "fd x3", "jpeg:20..90"])
def test_codecs_change_pictures_and_keep_their_shape(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    out = coded(images, name, 0)
    assert out.shape == images.shape and out.dtype == np.uint8 and not np.array_equal(out, images)


PLAN = """
[model]
network = "resnet8"
width = 8
[data]
data = "{data}"
[schedule]
epochs = 2
batch = 12
learning_rate = 0.05
precision = "float32"
[poison]
method = "{method}"
budget = {budget}
steps = 3
{more}
arms = {arms}
"""


def _plan(tmp_path: Path, data: Path, method: str, arms: list[str], budget: float = 1.0, more: str = "") -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(data=data, method=method, budget=budget, arms=json.dumps(arms), more=more))
    return path


@pytest.mark.parametrize(
    ("method", "arms", "why"),
    [
        ("lsp", ["poisoned", "adaptive:fd"], "no adaptive arm"),
        ("lsp", ["poisoned", "sideways"], "there is no arm"),
        ("lsp", [], "list of different arms"),
        ("given", ["clean", "poisoned"], "overlay"),
        ("given", ["adaptive:fd"], "no adaptive arm"),
    ],
)
def test_plans_that_cannot_be_are_refused(tmp_path: Path, method: str, arms: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_plan(_plan(tmp_path, tmp_path, method, arms))


def test_a_plan_takes_no_weights_to_begin_from(tmp_path: Path) -> None:
    plan = _plan(tmp_path, tmp_path, "lsp", ["clean", "poisoned"])
    plan.write_text(plan.read_text().replace("[data]", 'start = "weights.pt"\n[data]'))
    with pytest.raises(InputError, match="begins with new weights"):
        read_plan(plan)


def test_the_example_is_a_plan() -> None:
    plan = read_plan(Path(__file__).parents[2] / "examples" / "poison-cifar10.toml")
    assert plan.method == "em-class" and "adaptive:fd" in plan.arms


def test_a_given_poison_is_what_its_folder_changes(data: Path, tmp_path: Path) -> None:
    assert _make(data, "ops", tmp_path / "p", "--budget", 0.5).returncode == 0
    config = TrainConfig(data=str(data), overlay=str(tmp_path / "p"))
    clean, laid = (read_dataset(replace(config, overlay=o), size=32, seed=0) for o in (None, config.overlay))
    found = given_poison(config, size=32, seed=0)
    note = json.loads((tmp_path / "p" / "poison.json").read_text())
    assert [clean.train.names[row] for row in found.rows] == sorted(note["files"])
    assert np.array_equal(poisoned(clean, found).train.pixels(np.arange(len(clean.train)), 32), laid.train.images)


@pytest.mark.parametrize(
    ("method", "words", "why"),
    [("trigger", ("--as", "round", "--budget", 0.1), "other images are trained on"), ("", (), "changes no training")],
)
def test_a_given_folder_that_is_no_such_poison_is_refused(
    data: Path, tmp_path: Path, method: str, words: tuple[object, ...], why: str
) -> None:
    if method:
        assert _make(data, method, tmp_path / "p", *words).returncode == 0
    else:
        shutil.copytree(data / "train", tmp_path / "p" / "train")
    config = TrainConfig(data=str(data), overlay=str(tmp_path / "p"))
    with pytest.raises(InputError, match=why):
        given_poison(config, size=32, seed=0)


def test_a_given_folder_may_not_change_test_images(data: Path, tmp_path: Path) -> None:
    names = [one.relative_to(data / "train") for one in sorted((data / "train").rglob("*.png"))]
    (tmp_path / "p" / "test" / names[0].parent).mkdir(parents=True)
    test = sorted((data / "test" / names[0].parent).iterdir())
    shutil.copy(data / "train" / names[0], tmp_path / "p" / "test" / names[0].parent / test[0].name)
    with pytest.raises(InputError, match="changes test images"):
        given_poison(TrainConfig(data=str(data), overlay=str(tmp_path / "p")), size=32, seed=0)


@pytest.mark.full
def test_a_given_poison_is_measured_as_the_one_that_was_made(data: Path, tmp_path: Path) -> None:
    arms = ["clean", "poisoned", "train:jpeg:50"]
    assert _make(data, "lsp", tmp_path / "p").returncode == 0
    plans = {"made": _plan(tmp_path, data, "lsp", arms).read_text()}
    plans["given"] = (
        plans["made"].replace('"lsp"', '"given"').replace("[schedule]", f'overlay = "{tmp_path}/p"\n[schedule]')
    )
    found = {}
    for name, text in plans.items():
        (tmp_path / f"{name}.toml").write_text(text)
        done = here("poison", "evaluate", tmp_path / f"{name}.toml", "--output", tmp_path / name, "--workers", 1)
        assert done.returncode == 0, done.stderr
        found[name] = (tmp_path / name / "results.jsonl").read_text()
    assert found["made"] == found["given"]
    assert "given: 36 training images changed" in (tmp_path / "given" / "report.html").read_text()


@pytest.mark.full
def test_an_evaluation_is_resumed_and_reported(data: Path, tmp_path: Path) -> None:
    arms = ["clean", "poisoned", "train:jpeg:50", "both:fd", "mixup", "adaptive:jpeg:50", "adaptive-drawn:jpeg:50"]
    plan = _plan(tmp_path, data, "gradient-matching", arms, 0.1, "targets = 2")
    words = ("poison", "evaluate", plan, "--output", tmp_path / "o", "--workers", 1)
    done = here(*words)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "o" / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["arm"] for line in lines] == arms * 2
    assert all(line["changed"] == (0 if line["arm"] == "clean" else 4) for line in lines)
    assert all(line["success_n"] == 1 and line["n"] == 36 for line in lines)
    assert "adaptive:jpeg:50" in (tmp_path / "o" / "report.html").read_text()
    before = results.read_text()
    kept = sorted((tmp_path / "o" / "kept").glob("*.json"))[0]
    kept.unlink()
    assert here(*words).returncode == 0 and results.read_text() == before
    plan.write_text(plan.read_text().replace("[schedule]", "[schedule]\nseed = 3"))
    done = here(*words)
    assert done.returncode == 2 and "another plan, seed" in done.stderr
