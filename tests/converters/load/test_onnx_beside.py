"""Which files beside an ONNX model may hold its weights: found without reading the model into memory."""

from pathlib import Path

import numpy as np
import pytest
from system.crafted_zip import memory_below

from edgeguard.errors import InputError
from edgeguard_converters.load.onnx_model import fresh_model, weights_beside


def _entry(name: bytes) -> bytes:
    """A location as protobuf writes it."""
    length = bytes([len(name)]) if len(name) < 128 else bytes([len(name) & 0x7F | 0x80, len(name) >> 7])
    value = b"\n\x08location\x12" + length + name
    return b"\x6a" + bytes([len(value) & 0x7F | 0x80, len(value) >> 7]) + value


def _model(folder: Path, *names: str, before: int = 0) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(bytes(before) + b"".join(_entry(name.encode()) + b"rest" for name in names))
    return path


@pytest.mark.parametrize("before", [0, (1 << 22) - 20, (1 << 22) - 1, 3 << 22])
def test_the_files_that_it_names_are_found_wherever_they_stand(tmp_path: Path, before: int) -> None:
    long = "w" * 200 + ".bin"
    for name in ("a.bin", long, "other.bin", "ä.bin"):
        (tmp_path / name).write_bytes(b"1")
    model = _model(tmp_path, "a.bin", long, "ä.bin", "gone.bin", before=before)
    assert [path.name for path in weights_beside(model)] == sorted(["a.bin", long, "ä.bin"])


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "folder/w.bin", "m.onnx", "link.bin", "folder", ""])
def test_names_that_lead_elsewhere_are_none(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "in"
    (inside / "folder").mkdir(parents=True)
    (inside / "folder" / "w.bin").write_bytes(b"1")
    (tmp_path / "secret").write_bytes(b"1")
    (inside / "link.bin").symlink_to(tmp_path / "secret")
    assert weights_beside(_model(inside, name)) == ()


def test_the_weights_of_onnx_itself_are_found(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [weight])
    onnx.save_model(
        onnx.helper.make_model(graph), str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    (tmp_path / "other.bin").write_bytes(b"1")
    assert [path.name for path in weights_beside(tmp_path / "m.onnx")] == ["w.bin"]


def test_a_model_of_holes_takes_no_memory_and_many_files_no_time(tmp_path: Path) -> None:
    """6 GB of nothing were read into the process that is not confined, and searched for each file's name."""
    for number in range(300):
        (tmp_path / f"w{number}.bin").touch()
    with (tmp_path / "m.onnx").open("wb") as stream:
        stream.truncate(1 << 28)
    with memory_below(32 << 20):
        assert weights_beside(tmp_path / "m.onnx") == ()


def test_a_second_file_is_found_after_many_weights_of_the_first(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_bytes(b"1")
    model = _model(tmp_path, *["a.bin"] * 2000, "b.bin")
    assert [path.name for path in weights_beside(model)] == ["a.bin", "b.bin"]


def test_weights_in_too_many_files_are_one_line(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.GraphProto(name="g")
    for number in range(1001):
        (tmp_path / f"{number}.bin").write_bytes(bytes(4))
        weight = graph.initializer.add(name=f"w{number}", data_type=1, dims=[1], data_location=1)
        weight.external_data.add(key="location", value=f"{number}.bin")
    model = onnx.helper.make_model(graph)
    with pytest.raises(InputError, match="weights in more than 1000 files beside it: save it with the weights inside"):
        fresh_model(model.SerializeToString(), "m.onnx", tmp_path)


def test_a_terabyte_of_holes_is_not_searched(tmp_path: Path) -> None:
    """It was, piece by piece and without a word."""
    model = _model(tmp_path, "a.bin")
    with open(model, "r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="which no ONNX file has"):
        weights_beside(model)
