"""Randomized smoothing of the deployed card model: lines, curve, resumption, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import here

from edgeguard.evaluate.engine.executors import ThisProcess
from edgeguard.evaluate.experiments.noise_certification import NoisyImage, certify_noise, read_lines
from edgeguard.evaluate.experiments.noise_curve import noise_curve
from edgeguard.model import load_model
from edgeguard.smoothing.certify import SmoothingPlan
from edgeguard.smoothing.deployed import DeployedFunction
from edgeguard.smoothing.integer_noise import IntegerNoise

PLAN = SmoothingPlan(0.02, draws=12, choosing=3, alpha=0.001)


def _line(idx: int, label: int, prediction: int | None, radius: float | None) -> NoisyImage:
    levels = None if radius is None else 255 * radius
    return NoisyImage(idx, f"{idx}.png", "0" * 64, label, prediction, radius, levels, 9, 10, {"1": 9, "0": 1}, 0.5)


def test_an_interrupted_certificate_goes_on_at_the_image(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    whole = certify_noise(card_model, card_images, tmp_path / "whole", PLAN, ThisProcess(), limit=4)
    assert [line.idx for line in whole] == [0, 1, 2, 3] and all(line.draws == 12 for line in whole)
    assert any(line.right_radius > 0 for line in whole)
    texts = (tmp_path / "whole" / "results.jsonl").read_text().splitlines(keepends=True)
    broken = tmp_path / "broken"
    certify_noise(card_model, card_images, broken, PLAN, ThisProcess(), limit=2)
    (broken / "results.jsonl").write_text(texts[1] + texts[0] + texts[2][:40])  # killed in the middle of a line
    made = list[int]()
    again = certify_noise(
        card_model, card_images, broken, PLAN, ThisProcess(), limit=4, progress=lambda what, done, n: made.append(done)
    )
    assert made == [3, 4]
    assert [(a.votes, a.radius, a.sha256) for a in again] == [(a.votes, a.radius, a.sha256) for a in whole]
    assert read_lines(broken) == again


def test_the_curve_is_counted_and_the_average_is_of_right_images() -> None:
    plan = SmoothingPlan(0.25, draws=1000)
    found = noise_curve([_line(0, 1, 1, 0.3), _line(1, 1, 0, 0.6), _line(2, 1, None, None), _line(3, 1, 1, 0.55)],
                        plan, "frame")  # fmt: skip
    assert found.radii == (0.0, 0.25, 0.5) and found.right == (2, 2, 1) and found.abstained == 1
    assert found.acr == pytest.approx((0.3 + 0.55) / 4) and found.acr_low <= found.acr <= found.acr_high
    assert found.base == pytest.approx(0.9)
    assert found.lines()[-1].startswith("ACR         0.213 [")


@pytest.mark.parametrize("place", ["frame", "input"])
def test_without_noise_the_smoothed_function_is_the_deployed_one(
    card_model: Path, card_images: Path, place: str
) -> None:
    model = load_model(card_model)
    function = DeployedFunction(model, model.input_path, "frame" if place == "frame" else "input")
    for path in sorted(card_images.rglob("*.png"))[:5]:
        received = model.input_path.arrive(path.read_bytes())
        answer = model.infer(model.input_path(received).tensor).argmax()
        assert function.of(received)(function.pixels(received)) == answer
        noisy = IntegerNoise(0.5).on(function.pixels(received), np.random.default_rng(0))
        assert noisy.dtype == np.uint8 and noisy.shape == function.pixels(received).shape


def test_the_command(card_model: Path, card_images: Path, tmp_path: Path) -> None:
    words = [
        "evaluate", "certify", card_model, "--images", card_images, "--smoothing", "0.02", "--draws", "12",
        "--output", tmp_path / "c", "--limit", "2", "--workers", "1",
    ]  # fmt: skip
    done = here(*words, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "c" / "summary.json").read_text())
    assert summary["n"] == 2 and summary["sigma_levels"] == pytest.approx(5.1) and summary["place"] == "frame"
    assert (tmp_path / "c" / "curve.svg").read_text().startswith("<svg")
    again = here(*words)
    assert again.returncode == 0 and again.stdout.strip().splitlines()[-3].startswith("ACR")
    joint = here(*words, "--joint")
    assert joint.returncode == 2 and "another evaluation (its alpha is" in joint.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--smoothing", "0", "--output", "o"], "--smoothing wants a standard deviation"),
        (["--smoothing", "0.25", "--draws", "9", "--output", "o"], "--draws 9 can prove no radius at alpha 0.001: 10"),
        (["--smoothing", "0.25", "--alpha", "2", "--output", "o"], "--alpha wants a probability"),
        (["--smoothing", "0.25", "--noise-place", "sky", "--output", "o"], "--noise-place is frame or input"),
        (["--smoothing", "0.25"], "--smoothing wants --output"),
    ],
)
def test_what_certifies_nothing_is_refused(card_model: Path, card_images: Path, words: list[str], said: str) -> None:
    done = here("evaluate", "certify", card_model, "--images", card_images, *words)
    assert done.returncode == 2 and done.stderr.startswith(f"edgeguard: {said}"), done.stderr
