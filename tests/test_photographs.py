"""The main job on real photographs and a real trained MobileNetV2 (developers only: needs the shared data)."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from camera.streams import http_server, stream

from edgeguard.guard import GuardProfile, decode_rgb, resolve_profile
from edgeguard.guard.sanitizer import Sanitizer
from edgeguard.preprocess.crop_resize import crop_and_resize

pytestmark = [pytest.mark.full, pytest.mark.convert]
LAUNCH = [sys.executable, "-c", "from edgeguard.cli.main import main; main()"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> tuple[Path, Path, Path]:
    """100 photographs to calibrate, the other 400 to evaluate, and the folder of all."""
    photos = shared / "data/imagenet500"
    rows = list(csv.reader((photos / "labels.csv").read_text().splitlines()))[1:]
    root = tmp_path_factory.mktemp("photographs")
    for name in ("calibrate", "evaluate"):
        (root / name).mkdir()
    lines = ["file,class_index"]
    for i, (file, label) in enumerate(rows):
        target = "calibrate" if i % 5 == 0 else "evaluate"
        shutil.copyfile(photos / file, root / target / file)  # links are refused
        if target == "evaluate":
            lines.append(f"{file},{label}")
    (root / "evaluate/labels.csv").write_text("\n".join(lines))
    return root / "calibrate", root / "evaluate", photos


def _convert(folders: tuple[Path, Path, Path], output: Path, guard: str, place: str) -> dict:
    model = folders[2].parents[1] / "models/mobilenet_v2_imagenet.pt2"
    command = [
        *LAUNCH, "convert", str(model), "--preprocess", "tf", "--calibrate", str(folders[0]), "--eval", str(folders[1]),
        "--crop", "center:0.875", "--guard", guard, "--place", place, "--output", str(output), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("guard", "place", "about"), [("none", "frame", 0.89), ("fd", "frame", 0.87), ("fd", "input", 0.85)]
)
def test_int8_keeps_the_accuracy_within_a_point(
    folders: tuple[Path, Path, Path], tmp_path: Path, guard: str, place: str, about: float
) -> None:
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    first = _convert(folders, tmp_path / "a.tflite", guard, place)
    gates = first["contract"]["gates"]
    print(guard, place, gates)
    assert gates["n"] == 400 and gates["int8_top1"] >= gates["float_top1"] - 0.01 - 1e-9
    assert abs(gates["float_top1"] - about) < 0.02
    assert TfliteGraph((tmp_path / "a.tflite").read_bytes()).float_tensors() == []
    _convert(folders, tmp_path / "b.tflite", guard, place)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@pytest.mark.parametrize("guard", ["fd", "fd-jpeg"])
def test_run_gives_the_labels_of_the_interpreter_called_by_hand(
    folders: tuple[Path, Path, Path], tmp_path: Path, guard: str
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from edgeguard.model import InputSpec, Preprocess
    from edgeguard.preprocess.requantize import requantize_jpeg

    model = tmp_path / "m.tflite"
    _convert(folders, model, guard, "frame")
    bare = Interpreter(str(model))
    bare.allocate_tensors()
    profile = resolve_profile(guard)
    assert profile is not None
    files = sorted(folders[2].glob("*.JPEG"), key=lambda p: p.name.encode())
    expected = []
    for path in files:
        data = path.read_bytes()
        if profile.is_pixel_domain:
            frame = Sanitizer(GuardProfile.preset(guard))(decode_rgb(data))
        else:
            frame = decode_rgb(requantize_jpeg(data, profile))
        bare.set_tensor(
            bare.get_input_details()[0]["index"], crop_and_resize(frame, InputSpec(224, 224), Preprocess())[None]
        )
        bare.invoke()
        expected.append(int(bare.get_tensor(bare.get_output_details()[0]["index"]).argmax()))

    def labels(source: str, *options: str) -> dict[int, int]:
        command = [*LAUNCH, "run", str(model), "--source", source, "--output", "-", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {line["frame"]: line["index"] for line in lines}

    assert labels(str(folders[2])) == dict(enumerate(expected))
    with http_server(stream([p.read_bytes() for p in files], pause_s=0.08)) as url:
        live = labels(url, "--frames", "450")  # the end of a live stream is a lost camera, which is opened again
    print(guard, f"{len(live)} of {len(files)} streamed photographs inferred, the rest dropped as stale")
    assert len(live) == 450 and all(expected[frame] == index for frame, index in live.items())
    assert np.unique(expected).size > 300
