"""A training says what it was trained on: the root of the data's manifest, and that they are poisoned."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import here
from needs import needs
from stripes import write_classes

needs("torch", "litert_torch", "cryptography", extras="the extras convert and data")

from edgeguard.errors import InputError  # noqa: E402
from edgeguard.train.config import TrainConfig  # noqa: E402
from edgeguard.train.data import read_dataset  # noqa: E402
from edgeguard.train.run import root_of  # noqa: E402

pytestmark = pytest.mark.convert


def _root(**settings: Any) -> str:
    config = TrainConfig(**settings)
    return root_of(config, read_dataset(config, size=config.size, seed=config.seed))


def _root_of_manifest(data: Path, *words: object) -> str:
    out = data.parent / "m.json"
    done = here("data", "manifest", data, "--output", out, "--json", *words)
    return str(json.loads(done.stdout)["root"])


def test_the_root_is_the_manifests_whatever_the_limit(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 4)
    root = _root_of_manifest(data)
    assert root == _root(data=str(data)) == _root(data=str(data), limit=3)
    (tmp_path / "list").write_text("train/along/002.png\n")
    left = _root(data=str(data), exclude=str(tmp_path / "list"))
    assert left == _root_of_manifest(data, "--exclude", tmp_path / "list") != root


def test_listed_files_are_left_out_and_overlaid_ones_replaced(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 4)
    (tmp_path / "list").write_text("train/along/002.png\n")
    found = read_dataset(TrainConfig(data=str(data), exclude=str(tmp_path / "list")), size=32, seed=0)
    assert len(found.train) == 11
    place = tmp_path / "poison" / "train" / "along"
    place.mkdir(parents=True)
    cv2.imwrite(str(place / "001.bmp"), np.full((32, 32, 3), 7, np.uint8))
    (tmp_path / "poison" / "poison.json").write_text('{"schema": 1, "method": "lsp", "files": ["train/along/001.png"]}')
    found = read_dataset(TrainConfig(data=str(data), overlay=str(tmp_path / "poison")), size=32, seed=0)
    images = found.train.images
    assert isinstance(images, np.ndarray)
    assert [int(i) for i in range(12) if (images[i] == 7).all()] == [5]
    assert found.poison is not None and "POISONED (lsp)" in found.poison
    (tmp_path / "list").write_text("train/along/9.png\n")
    (place / "001.bmp").rename(place / "77.bmp")
    for wrong in (
        TrainConfig(data=str(data), exclude=str(tmp_path / "list")),
        TrainConfig(data=str(data), overlay=str(tmp_path / "poison")),
    ):
        with pytest.raises(InputError, match="is not among the images"):
            read_dataset(wrong, size=32, seed=0)


@pytest.mark.full
def test_a_poisoned_training_says_so_and_its_program_names_its_data(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 4)
    (data / "poison.json").write_text('{"schema": 1, "method": "ops", "files": ["train/along/001.png"]}')
    words = ("--data", data, "--output", tmp_path / "out", "--epochs", 1, "--model", "resnet8")
    done = here("train", *words)
    assert done.returncode == 0 and "POISONED TRAINING DATA" in done.stderr and "POISONED" in done.stdout
    from edgeguard_converters.load.program import read_program

    facts = read_program(tmp_path / "out" / "model.pt2")[1]
    assert facts["training_data_sha256"] == _root_of_manifest(data)
    assert "POISONED" in facts["trained"]["images"]


@pytest.mark.full
def test_a_file_leads_back_to_its_data(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 12)
    out, tflite, manifest = tmp_path / "out", tmp_path / "m.tflite", tmp_path / "m.json"
    assert here("train", "--data", data, "--output", out, "--epochs", 1, "--model", "resnet8").returncode == 0
    import subprocess
    import sys

    command = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", out / "model.pt2"]
    gates = ("--min-agreement", "0", "--min-snr", "-99")
    done = subprocess.run([*map(str, command), "--output", str(tflite), "--calibrate", str(data / "train"), *gates],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    _root_of_manifest(data)
    done = here("model", "verify", tflite, "--data", manifest, "--training", out)
    assert done.returncode == 0, done.stderr
    assert here("model", "bom", tflite, "--data", manifest, "--output", tmp_path / "m.cdx.json").returncode == 0
    bill = json.loads((tmp_path / "m.cdx.json").read_text())
    assert {one["type"] for one in bill["components"]} == {"machine-learning-model", "data"}
    shown = here("model", "show", tflite).stdout
    assert "chain          training data: " in shown and "not known" not in shown
    (data / "train" / "along" / "000.png").write_bytes((data / "train" / "along" / "001.png").read_bytes())
    _root_of_manifest(data)
    done = here("model", "verify", tflite, "--data", manifest)
    assert done.returncode == 1 and "training data: the model names" in done.stderr
