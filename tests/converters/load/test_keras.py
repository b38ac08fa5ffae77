"""Keras files and SavedModels, made by TensorFlow itself in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import InputError

pytestmark = [
    pytest.mark.full,
    pytest.mark.convert,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None and not os.environ.get("CI"),
        reason="the keras extra is not installed",
    ),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "x.npy", (pixels.astype(np.float32) - 127.5) / 127.5)
    script = Path(__file__).with_name("make_keras.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "keras2.h5", "saved"])
def test_the_same_answers_as_keras(models: Path, name: str, tmp_path: Path) -> None:
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.registry import load_source

    source = load_source(models / name)
    assert source.size == (32, 32)
    x, expected = np.load(models / "x.npy"), np.load(models / "y.npy")
    np.testing.assert_allclose(source.outputs(x)[0], expected, atol=1e-5)
    graph = source.export(Normalization(*PRESETS["tf"], "t"), (32, 32), tmp_path, tmp_path / "log")
    found = graph.tflite.outputs(x, lambda image: image)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5", "writer"])
def test_code_in_a_model_is_not_run(models: Path, name: str) -> None:
    from edgeguard_converters.load.registry import load_source

    with pytest.raises(InputError) as refused:
        load_source(models / name)
    assert not (models / "ran").exists()
    assert "\n" not in str(refused.value)


def test_weights_alone_are_named(models: Path) -> None:
    from edgeguard_converters.load.registry import load_source

    with pytest.raises(InputError, match=r"weights without a model .* model.save\('model.keras'\)"):
        load_source(models / "model.weights.h5")


def test_one_channel_is_gray(models: Path) -> None:
    from edgeguard_converters.load.registry import load_source

    assert load_source(models / "gray.keras").facts.color == "GRAY"


def test_a_damaged_file_gives_one_line(models: Path, tmp_path: Path) -> None:
    from edgeguard_converters.load.registry import load_source

    (tmp_path / "cut.h5").write_bytes((models / "model.h5").read_bytes()[:3000])
    with pytest.raises(InputError, match="TensorFlow cannot load it"):
        load_source(tmp_path / "cut.h5")
