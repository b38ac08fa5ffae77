"""Models, images and machines that a conversion has to refuse in one line, leaving nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import DeviceError, InputError

pytestmark = pytest.mark.convert
SIDE = 32


def _convert(model, tmp_path: Path, pictures=None, **options):
    from edgeguard_converters import convert

    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (16, SIDE, SIDE, 3), dtype=np.uint8)) if pictures is None else pictures
    fields = {"preprocess": "tf", "crop": "none", "output": tmp_path / "out" / "m.tflite", **options}
    (tmp_path / "out").mkdir(exist_ok=True)
    try:
        done = convert(model, SIDE, calibration=pictures, **fields)
    except Exception as error:
        assert "\n" not in str(error), "one line"
        assert list((tmp_path / "out").iterdir()) == [], "nothing left behind"
        raise
    return done, done.notes


def _net(*layers):
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    import torch

    net = _net()
    with torch.no_grad():
        net[0].weight[1, 1, 1, 1] = float("nan")
    with pytest.raises(InputError, match=r"NaN or infinity \(first in 0\.weight\)"):
        _convert(net, tmp_path)


@pytest.mark.full
def test_an_operator_that_cannot_be_lowered_is_named(tmp_path: Path) -> None:
    import torch

    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(InputError, match="bessel_j0"):
        _convert(_net(Odd()), tmp_path)


def test_a_graph_that_depends_on_its_values(tmp_path: Path) -> None:
    import torch

    class Branch(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match="cannot (export|convert)"):
        _convert(_net(Branch()), tmp_path)


@pytest.mark.full
def test_several_inputs(tmp_path: Path) -> None:
    import torch

    class Two(torch.nn.Module):
        def forward(self, x, y):
            return (x + y).mean((2, 3))

    torch.export.save(torch.export.export(Two(), (torch.zeros(1, 3, 8, 8),) * 2), tmp_path / "two.pt2")
    from edgeguard_converters import convert

    with pytest.raises(InputError, match="takes 2 inputs; an image model takes one"):
        convert(tmp_path / "two.pt2", output=tmp_path / "m.tflite", calibration=[np.zeros((8, 8, 3), np.uint8)] * 8)


def test_labels_that_do_not_match(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 labels for 3 outputs"):
        _convert(_net(), tmp_path, labels=tuple("abcde"))


def test_means_in_the_wrong_units(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"you mean --mean 123\.675"):
        _convert(_net(), tmp_path, preprocess="auto", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.mark.full
def test_odd_calibration_images_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gray = [np.repeat(rng.integers(0, 256, (SIDE, SIDE, 1), dtype=np.uint8), 3, axis=2) for _ in range(16)]
    _, notes = _convert(_net(), tmp_path, gray)
    assert any("have no color" in note for note in notes)
    tiny = list(rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8))
    _, notes = _convert(_net(), tmp_path, tiny)
    assert any("less than half the model's 32x32" in note for note in notes)
    flat = [np.full((SIDE, SIDE, 3), i, np.uint8) for i in range(16)]
    _, notes = _convert(_net(), tmp_path, flat)
    assert any("one flat color" in note for note in notes)


def test_a_folder_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is not a folder"):
        _convert(_net(), tmp_path, output=tmp_path / "nowhere" / "m.tflite")


@pytest.mark.full
def test_a_model_that_learned_with_another_profile_is_flagged(tmp_path: Path) -> None:
    import json

    import torch

    path = tmp_path / "m.pt2"
    torch.export.save(
        torch.export.export(_net().eval(), (torch.zeros(1, 3, SIDE, SIDE),)), path,
        extra_files={"edgeguard.json": json.dumps({"trained_on_profile": "fd-jpeg"})},
    )  # fmt: skip
    from edgeguard_converters import convert

    pictures = list(np.random.default_rng(0).integers(0, 256, (16, SIDE, SIDE, 3), dtype=np.uint8))
    for profile, loud in (("fd", True), ("fd-jpeg", False)):
        done = convert(
            path, output=tmp_path / "m.tflite", calibration=pictures, profile=profile, preprocess="tf", crop="none",
        )  # fmt: skip
        assert any("TRAINED ON ANOTHER PROFILE" in note for note in done.notes) == loud


def _write_case(tmp_path: Path) -> list[str]:
    """A model and pictures on disk; the command line that converts them."""
    import cv2
    import torch
    from converters.models import tinted_squares, train_residual

    torch.export.save(torch.export.export(train_residual(), (torch.zeros(1, 3, SIDE, SIDE),)), tmp_path / "m.pt2")
    (tmp_path / "cal").mkdir()
    for i, picture in enumerate(tinted_squares(40, 7)[0]):
        cv2.imwrite(str(tmp_path / "cal" / f"{i}.png"), picture[..., ::-1])
    launch = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", str(tmp_path / "m.pt2")]
    return [*launch, "--calibrate", str(tmp_path / "cal"), "--preprocess", "tf", "--crop", "none"]


@pytest.mark.full
def test_an_interrupted_run_leaves_nothing_and_stdout_stays_clean(tmp_path: Path) -> None:
    import signal
    import time

    command, out = _write_case(tmp_path), tmp_path / "out"
    out.mkdir()
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for delay in (3.0, 8.0):
        process = subprocess.Popen(
            [*command, "--output", str(out / "m.tflite")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
        if process.returncode == 0:
            continue  # it was faster
        assert process.returncode == 130 and stdout == b"" and b"Traceback" not in stderr
        assert list(out.iterdir()) == []
        assert [p for p in scratch.iterdir() if p.is_dir()] == []
    done = subprocess.run([*command, "--output", str(out / "m.tflite"), "--json"], env=environment, capture_output=True)
    import json

    assert done.returncode == 0 and json.loads(done.stdout)["bytes"] > 0  # nothing but JSON
    assert not list((tmp_path / "cache").rglob("*.npz"))


@pytest.mark.full
def test_nothing_is_fetched(tmp_path: Path) -> None:
    """The whole conversion in a network namespace without any interface."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("no network namespaces on this machine")
        pytest.skip("this machine gives no network namespaces")
    command = _write_case(tmp_path)
    probe = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
    assert subprocess.run([unshare, "-rn", sys.executable, "-c", probe], capture_output=True).returncode != 0
    target = tmp_path / "m.tflite"
    done = subprocess.run([unshare, "-rn", *command, "--output", str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert target.is_file() and done.stdout.startswith("wrote")
