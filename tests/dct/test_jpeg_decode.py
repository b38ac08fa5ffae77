"""What is missing is lost, what is merely odd is not; the same judgement behind every guard."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
from commands import here
from numpy.typing import NDArray
from PIL import Image

import edgeguard
from edgeguard.camera import open_source
from edgeguard.datasets.images import LabeledImage
from edgeguard.datasets.readable import readable
from edgeguard.dct import libjpeg
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import EdgeGuardError, JpegError
from edgeguard.fieldtest.sheets.cutout import picture_of
from edgeguard.fieldtest.virtual.backgrounds import read_backgrounds
from edgeguard.guard import GuardProfile
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import ContractGuard, load_model
from edgeguard.model.input_path import InputPath
from edgeguard.pipeline import Pipeline
from edgeguard.train.data import decoded
from edgeguard_converters.training_data.image_facts import image_facts

needs_libjpeg = pytest.mark.skipif(libjpeg.libjpeg_path() is None, reason="no native library, or no libjpeg.so.62")
EOI = b"\xff\xd9"


def _jpeg(rgb: NDArray[np.uint8], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def _half(jpeg: bytes) -> bytes:
    return jpeg[: len(jpeg) // 2].rstrip(b"\xff") + EOI


def _scan(jpeg: bytes) -> int:
    return jpeg.rindex(b"\xff\xda") + 14


def _with(jpeg: bytes, position: int, data: bytes) -> bytes:
    return jpeg[:position] + data + jpeg[position:]


def _restart(jpeg: bytes) -> int:
    """Where the second restart marker stands."""
    return jpeg.index(b"\xff\xd1", _scan(jpeg))


#: What is done to a JPEG with restart markers, and whether something of its picture is missing then.
CASES: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "as it is": (lambda j: j, False),
    "half of it, and an end": (_half, True),
    "a hundredth is missing, and an end": (lambda j: j[: len(j) * 99 // 100].rstrip(b"\xff") + EOI, True),
    "half of it": (lambda j: j[: len(j) // 2], True),
    "its last byte is missing": (lambda j: j[:-1], True),
    "no picture at all, and an end": (lambda j: j[: _scan(j)] + EOI, True),
    "a stretch is missing in the middle": (lambda j: j[: len(j) // 2] + j[len(j) // 2 + 900 :], True),
    "a restart marker is missing": (lambda j: j[: _restart(j)] + j[_restart(j) + 2 :], True),
    "bytes behind its end": (lambda j: j + b"\0" * 999 + b"and more", False),
    "another picture behind its end": (lambda j: j + j, False),
    "zeros before its end": (lambda j: j[:-2] + bytes(20) + EOI, False),
    "fill bytes before its end": (lambda j: j[:-2] + b"\xff" * 20 + EOI, False),
    "fill bytes before a restart marker": (lambda j: _with(j, _restart(j), b"\xff" * 5), False),
    "an odd version of JFIF": (lambda j: j.replace(b"JFIF\0\1\1", b"JFIF\0\7\7", 1), False),
    "a comment and unknown segments": (lambda j: _with(j, 2, b"\xff\xfe\0\7hello\xff\xec\0\6abcd"), False),
    "bytes between two segments": (lambda j: _with(j, 20, b"\0\1\2"), False),
}


@needs_libjpeg
@pytest.mark.parametrize("guard", ["none", "fd", "fd-jpeg", "decoder"])
def test_one_judgement_behind_every_guard(scenes: list[NDArray[np.uint8]], guard: str, tmp_path: Path) -> None:
    whole = _jpeg(scenes[0], restart_marker_blocks=20)
    damaged = {name: change(whole) for name, (change, _) in CASES.items()}
    expected = {name for name, (_, missing) in CASES.items() if missing}
    if guard == "decoder":
        lost = {name for name, data in damaged.items() if _fails(data)}
    else:
        for number, data in enumerate(damaged.values()):
            (tmp_path / f"{number:02d}.jpg").write_bytes(data)
        model = load_model(bundled_model())
        profile = None if guard == "none" else GuardProfile.preset(guard)
        chosen = ContractGuard() if profile is None else ContractGuard(profile, "frame")
        model = model.with_contract(replace(model.contract, guard=chosen))
        with Pipeline(open_source(tmp_path), model) as pipeline:
            taken = {int(result.source[:2]) for result in pipeline}
        lost = {name for number, name in enumerate(damaged) if number not in taken}
        assert pipeline.counters.lost == len(lost)
    assert lost == expected


@needs_libjpeg
@pytest.mark.parametrize("reader", ["evaluate", "train", "audit", "patch", "backgrounds", "guard apply"])
def test_one_judgement_in_every_command(scenes: list[NDArray[np.uint8]], reader: str, tmp_path: Path) -> None:
    whole = _jpeg(scenes[0], restart_marker_blocks=20)
    lost = set()
    for name, (change, _) in CASES.items():
        path = tmp_path / name / "0.jpg"
        path.parent.mkdir()
        path.write_bytes(change(whole))
        if _refused(reader, path):
            lost.add(name)
    assert lost == {name for name, (_, missing) in CASES.items() if missing}


def _refused(reader: str, path: Path) -> bool:
    if reader == "evaluate":
        return readable([LabeledImage("0.jpg", path)], path.parent, at_most=1.0) == []
    if reader == "audit":
        return image_facts(path.read_bytes()).fault is not None
    if reader == "guard apply":
        return here("guard", "apply", path, "--output", path.with_suffix(".png")).returncode == 2
    try:
        if reader == "train":
            decoded(path.read_bytes(), 32)
        elif reader == "patch":
            picture_of(path)
        else:
            read_backgrounds(path.parent)
    except EdgeGuardError:
        return True
    return False


#: Who hands no JPEG to it, measures it, or is what `decode_whole` is made of.
_MAY_DECODE_OTHERWISE = {
    "camera/files.py", "cli/bench.py", "dct/jpeg_decode.py", "diagnostics/bench.py", "guard/__init__.py",
    "jpeg/decode.py", "model/input_path.py", "preprocess/requantize.py",
}  # fmt: skip


def test_nobody_decodes_a_jpeg_in_another_way() -> None:
    root = Path(edgeguard.__file__).parent
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if "decode_rgb" in path.read_text("utf-8")}
    assert found == _MAY_DECODE_OTHERWISE


def _fails(data: bytes) -> bool:
    try:
        decode_whole(data)
    except JpegError:
        return True
    return False


@needs_libjpeg
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"quality": 10},
        {"optimize": True}, {"restart_marker_blocks": 7}, {"gray": True}, {"keep_rgb": True},
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [(240, 320), (61, 47), (8, 8), (1, 1)])
def test_the_pixels_are_those_of_opencv(
    scene: NDArray[np.uint8], options: dict[str, object], size: tuple[int, int]
) -> None:
    rgb = np.ascontiguousarray(scene[: size[0], : size[1]])
    gray = options.pop("gray", False)
    jpeg = _jpeg(np.ascontiguousarray(rgb[:, :, 1]) if gray else rgb, **options)
    for scale in (1, 2, 4):
        assert np.array_equal(decode_whole(jpeg, scale), decode_rgb(jpeg, scale)), scale


@needs_libjpeg
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(scene: NDArray[np.uint8], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    jpeg = _jpeg(scene[:61, :47], exif=exif)
    assert np.array_equal(decode_whole(jpeg), decode_rgb(jpeg))


def test_other_formats_and_missing_libraries_go_to_opencv(scene: NDArray[np.uint8]) -> None:
    png = cv2.imencode(".png", scene)[1].tobytes()
    assert np.array_equal(decode_whole(png), decode_rgb(png))
    jpeg = _jpeg(scene)
    with mock.patch("edgeguard.dct.libjpeg.libjpeg_path", lambda: None):
        assert np.array_equal(decode_whole(jpeg), decode_rgb(jpeg))
        with pytest.raises(JpegError, match="ends early"):
            decode_whole(jpeg[:-400])


@needs_libjpeg
def test_steps_beyond_a_byte_are_decoded(scene: NDArray[np.uint8]) -> None:
    tables = {0: [300] * 64, 1: [300] * 64}
    jpeg = _jpeg(scene, qtables=tables)
    assert np.array_equal(decode_whole(jpeg), decode_rgb(jpeg))


def _without(jpeg: bytes, *markers: int) -> bytes:
    """Without these segments before the scan."""
    kept, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        kept += b"" if jpeg[at + 1] in markers else jpeg[at:end]
        at = end
    return kept + jpeg[at:]


@needs_libjpeg
@pytest.mark.parametrize("guard", ["none", "fd", "fd-jpeg"])
def test_frames_of_webcams_leave_out_the_usual_huffman_tables(scene: NDArray[np.uint8], guard: str) -> None:
    """As AVI has them (its `AVI1` in place of `JFIF`), and as mjpg-streamer and others pass them on."""
    whole = _jpeg(scene)
    avi1 = b"\xff\xe0\x00\x10AVI1" + bytes(10)
    odd = whole[:2] + avi1 + _without(whole, 0xC4, 0xE0)[2:]
    model = load_model(bundled_model())
    profile = None if guard == "none" else GuardProfile.preset(guard)
    chosen = ContractGuard() if profile is None else ContractGuard(profile, "frame")
    path = InputPath(model.with_contract(replace(model.contract, guard=chosen)).contract)
    tensors = [path(path.capture(jpeg)).tensor for jpeg in (whole, odd)]
    assert np.array_equal(tensors[0], tensors[1]) and np.array_equal(decode_whole(whole), decode_whole(odd))
    with pytest.raises(JpegError):
        path(path.capture(_half(odd)))
