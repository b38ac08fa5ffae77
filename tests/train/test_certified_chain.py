"""Trained, converted, certified and attacked: a small version of docs/certified-patches.md, on the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from train.test_chain import edgeguard

from edgeguard.model import load_model
from edgeguard.model.patch_footprint import Footprint

pytestmark = [pytest.mark.convert, pytest.mark.full]

CONFIG = """
[model]
network = "patchcert"
width = 8
[patch]
patch_px = 5
field = 8
stride = 4
[schedule]
epochs = 12
batch = 16
learning_rate = 0.1
[augment]
shift = 2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Textures of three kinds, told apart by what a small square shows: stripes lying, standing, and dots."""
    folder, rng = tmp_path_factory.mktemp("textures"), np.random.default_rng(0)
    for part, count in (("train", 64), ("test", 20)):
        for kind in ("dots", "lying", "standing"):
            (folder / part / kind).mkdir(parents=True)
            for number in range(count):
                y, x = np.mgrid[:32, :32] + rng.integers(0, 4, (2, 1, 1))
                wave = {"lying": y % 4 < 2, "standing": x % 4 < 2, "dots": (y % 4 < 2) & (x % 4 < 2)}[kind]
                picture = (
                    rng.integers(0, 80, 3) + wave[..., None] * rng.integers(80, 170, 3) + rng.normal(0, 12, (32, 32, 3))
                )
                cv2.imwrite(str(folder / part / kind / f"{number}.png"), np.clip(picture, 0, 255))
    return folder


def test_a_label_is_proven_from_training_to_the_attack(data: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    trained = edgeguard("train", tmp_path / "c.toml", "--data", data, "--output", tmp_path / "t", "--json")
    assert json.loads(trained.stdout)["test_accuracy"] > 0.9
    model, test = tmp_path / "m.tflite", data / "test"
    edgeguard("convert", tmp_path / "t" / "model.pt2", "--output", model, "--calibrate", data / "train", "--eval", test)
    shown = json.loads(edgeguard("model", "show", model, "--json").stdout)
    assert shown["contract"]["patch_certificate"] == {"output": 1, "patch_px": 5}

    for method, least in (("one-pass", 0.5), ("hybrid", 0.5)):
        words: tuple[object, ...] = (
            "evaluate",
            "certify",
            model,
            "--images",
            test,
            "--method",
            method,
            "--patch",
            2.4,
            "--json",
        )
        row = json.loads(edgeguard(*words).stdout)
        assert row["clean"] >= 0.9 * row["n"] and row["certified"] >= least * row["n"] and row["inferences"] == 1
    attacked = edgeguard(
        "evaluate", "certify", model, "--images", test, "--method", "one-pass", "--patch", 2.4, "--attack", 6
    )
    assert "0 of" in attacked.stdout

    edgeguard("run", model, "--source", test / "dots", "--output", tmp_path / "r.jsonl", "--alarm-certified-patch", 30)
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert any(line["certified_patch"] >= 5 for line in lines)
    assert lines[-1]["alarms"] == ["certified-patch"]
    loaded = load_model(model)
    bound = Footprint.of(loaded.contract, 32, 32)
    assert all(line["certified_patch_frame"] == bound.largest(line["certified_patch"]) for line in lines)
