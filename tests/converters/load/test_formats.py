"""What a file is called where it is not read: by what made it, with the way on."""

import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard_converters.load.formats import model_format


@pytest.mark.parametrize(
    ("name", "what", "way_on"),
    [
        ("frozen_inference_graph.pb", "a frozen TensorFlow graph", "make a SavedModel of it"),
        ("saved_model.pb", "one file of a SavedModel", "give the folder"),
        ("model.ckpt.index", "a part of a TensorFlow checkpoint", "model.save('m.keras')"),
        ("variables.data-00000-of-00001", "a part of a TensorFlow checkpoint", "model.save('m.keras')"),
        ("yolov8n.engine", "a TensorRT engine", "as ONNX"),
        ("Net.MLMODEL", "a Core ML model", "as ONNX"),
        ("yolov3.weights", "weights of Darknet", "as ONNX"),
        ("model.npz", "an archive of arrays", "torch.export"),
    ],
)
def test_files_of_other_programs_are_named(tmp_path: Path, name: str, what: str, way_on: str) -> None:
    (tmp_path / name).write_bytes(b"\x0a\x03abc" * 8)
    with pytest.raises(InputError, match=what) as refused:
        model_format(tmp_path / name)
    assert way_on in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "mark", [b"\x80\x05", b"PK\x03\x04", b"\x89HDF\r\n", b"\0\0\0\0TFL3", b"\x10" + bytes(7) + b"{}"]
)
def test_a_file_may_end_in_the_middle_of_its_mark(tmp_path: Path, mark: bytes) -> None:
    """One byte of a pickle was a bug of ours."""
    path = tmp_path / "m.pt2"
    for length in range(len(mark)):
        path.write_bytes(mark[:length])
        with suppress(InputError):
            assert model_format(path) in ("keras", "weights", "tflite")


@pytest.mark.parametrize("name", ["m.pt", "m.onnx", "m.h5"])
def test_no_pipe_is_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe, a socket or a device"):
        model_format(tmp_path / name)


def test_a_folder_of_another_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.mlpackage").mkdir()
    with pytest.raises(InputError, match="a Core ML model"):
        model_format(tmp_path / "net.mlpackage")


def test_a_name_does_not_go_before_what_the_bytes_say(tmp_path: Path) -> None:
    (tmp_path / "m.weights").write_bytes(b"\0\0\0\0TFL3" + bytes(8))
    assert model_format(tmp_path / "m.weights") == "tflite"
    (tmp_path / "m.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(8))
    assert model_format(tmp_path / "m.weights.h5") == "keras"


@pytest.mark.parametrize("suffix", [".pt2", ".keras", ".pt"])
@pytest.mark.parametrize(("place", "value"), [(6, 99), (46, 0xFF)], ids=["version", "name"])
def test_an_archive_that_no_reader_opens_is_refused(tmp_path: Path, suffix: str, place: int, value: int) -> None:
    path = tmp_path / f"m{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "x")
    data = bytearray(path.read_bytes())
    there = data.rindex(b"PK\x01\x02")
    data[there + 9] |= 8  # the name is UTF-8
    data[there + place] = value
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated or damaged archive"):
        model_format(path)
