"""JPEG bytes to requantised frames and tensors inside libjpeg-turbo's decoder."""

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import read_bgr
from PIL import Image, ImageOps

from edgeguard.dct import libjpeg
from edgeguard.dct.boxes import Box
from edgeguard.dct.native_kernel import instruction_sets
from edgeguard.guard import GuardProfile, JpegError, decode_rgb, encode_jpeg, read_jpeg_info, sanitize_jpeg
from edgeguard.jpeg.exif import exif_orientation, turned
from edgeguard.model import Contract, ContractGuard, InputSpec, Preprocess
from edgeguard.preprocess.area_resize import area_resize
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.requantize import (
    _requantize_with_jpeglib,
    decode_scale,
    requantize_jpeg,
    requantized_frame,
    requantized_tensor,
)

FD_JPEG = GuardProfile.preset("fd-jpeg")
needs_native = pytest.mark.skipif(libjpeg.libjpeg_path() is None, reason="the native library or libjpeg is missing")


def camera_jpeg(rgb: NDArray[np.uint8], mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).convert(mode).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


KINDS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "progressive": {"subsampling": 2, "progressive": True},
    "restart markers": {"subsampling": 1, "restart_marker_blocks": 3},
    "optimised": {"subsampling": 2, "optimize": True},
    "gray": {"mode": "L"},
}


@needs_native
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(240, 320), (201, 299), (17, 9), (1, 1)])
def test_equals_jpeglib_and_opencv(scene: NDArray[np.uint8], kind: str, size: tuple[int, int]) -> None:
    """The slow way round, through other libraries, gives the same pixels at every scale."""
    data = camera_jpeg(scene[: size[0], : size[1]], **KINDS[kind])
    info = read_jpeg_info(data)
    for profile in (FD_JPEG, GuardProfile.preset("jpeg:60"), GuardProfile("ones", "ycbcr420", ((1,) * 64,))):
        slow = _requantize_with_jpeglib(data, info, profile)
        assert (decode_rgb(requantize_jpeg(data, profile)) == decode_rgb(slow)).all()
        for scale in (1, 2, 4):
            assert (requantized_frame(data, profile, scale) == decode_rgb(slow, scale)).all(), scale


@needs_native
@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("kind", ["4:2:0", "progressive", "gray"])
def test_the_tensor_is_the_frame_cropped_and_resized(scene: NDArray[np.uint8], name: str, kind: str) -> None:
    data = camera_jpeg(scene[:201, :299], **KINDS[kind])
    for crop in ("center", "letterbox", "none"):
        preprocess = Preprocess(crop=crop)
        for signed in (False, True):
            ours = requantized_tensor(data, FD_JPEG, InputSpec(64, 64), preprocess, 1, signed)
            frame = requantized_frame(data, FD_JPEG)
            assert (ours == crop_and_resize(frame, InputSpec(64, 64), preprocess, signed=signed)).all()
        with pytest.MonkeyPatch.context() as patch:
            fast = [requantized_tensor(data, FD_JPEG, InputSpec(64, 48), preprocess, scale) for scale in (1, 2, 4)]
            patch.setattr(libjpeg, "libjpeg_path", lambda: None)
            slow = [requantized_tensor(data, FD_JPEG, InputSpec(64, 48), preprocess, scale) for scale in (1, 2, 4)]
        assert all((a == b).all() for a, b in zip(fast, slow, strict=True))
    info, out = read_jpeg_info(data), np.empty((50, 40, 3), np.uint8)
    box = Box(10, 20, 100, 120)
    libjpeg.tensor_native(data, info, FD_JPEG, 1, box, out, instruction_set=name)
    assert (out == area_resize(requantized_frame(data, FD_JPEG)[20:140, 10:110], 40, 50)).all()
    same = np.empty((120, 100, 3), np.uint8)
    libjpeg.tensor_native(data, info, FD_JPEG, 1, box, same, instruction_set=name)
    assert (same == requantized_frame(data, FD_JPEG)[20:140, 10:110]).all()


def test_the_reciprocals_divide_exactly() -> None:
    """The proof by exhaustion that native/kernel.h refers to: every target step, every small level."""
    for step in range(1, 256):
        divisor = 4 * step
        k = divisor.bit_length() - 1 - (divisor & (divisor - 1) == 0)
        reciprocal, shift = -(-(2 ** (16 + k)) // divisor), 2 ** (16 - k)
        n = 4 * np.arange(1 << 12, dtype=np.uint64) + 2 * step
        assert reciprocal < 2**16 and shift < 2**16 and n.max() < 2**15
        assert ((((n * reciprocal) >> 16) * shift >> 16) == n // divisor).all(), step


@needs_native
def test_forged_coefficients_beyond_the_small_range(scene: NDArray[np.uint8], tmp_path: object) -> None:
    """Indices up to what Huffman coding carries, under steps of 255: the exact slow rule, clamped."""
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "a.jpg").write_bytes(camera_jpeg(scene[:64, :64], subsampling=0))
    coded = jpeglib.read_dct(str(folder / "a.jpg"))
    rng = np.random.default_rng(0)
    for plane in (coded.Y, coded.Cb, coded.Cr):
        plane[...] = rng.integers(-1023, 1024, plane.shape)
    coded.qt[...] = rng.integers(1, 256, coded.qt.shape)
    coded.write_dct(str(folder / "b.jpg"))
    data = (folder / "b.jpg").read_bytes()
    for profile in (FD_JPEG, GuardProfile("ones", "ycbcr444", ((1,) * 64,))):
        ours = requantize_jpeg(data, profile)
        slow = _requantize_with_jpeglib(data, read_jpeg_info(data), profile)
        (folder / "ours.jpg").write_bytes(ours)
        (folder / "slow.jpg").write_bytes(slow)
        found, wanted = (jpeglib.read_dct(str(folder / f"{name}.jpg")) for name in ("ours", "slow"))
        for a, b in ((found.Y, wanted.Y), (found.Cb, wanted.Cb), (found.Cr, wanted.Cr)):
            assert (a == b).all()


@needs_native
def test_frames_without_huffman_tables(scene: NDArray[np.uint8]) -> None:
    """UVC cameras leave the standard tables out (Motion JPEG)."""
    data = camera_jpeg(scene, optimize=False)
    bare, position = bytearray(data[:2]), 2
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] != 0xC4:
            bare += data[position:end]
        position = end
    bare += data[position:]
    assert len(bare) < len(data) - 400
    assert (sanitize_jpeg(bytes(bare), FD_JPEG) == sanitize_jpeg(data, FD_JPEG)).all()


def test_the_scale_keeps_half_as_much_again_as_the_model_wants() -> None:
    data = read_jpeg_info(camera_jpeg(_NOISE))
    model = InputSpec(224, 224)
    sizes = {(640, 480): 1, (1280, 720): 2, (1920, 1080): 2, (3840, 2160): 4, (100, 100): 1, (672, 5000): 2}
    for (width, height), scale in sizes.items():
        assert decode_scale(replace(data, width=width, height=height), model) == scale


def test_scale_through_sanitize_jpeg(scene: NDArray[np.uint8]) -> None:
    contract = Contract(InputSpec(64, 64, "uint8"), guard=ContractGuard(FD_JPEG, "frame"))
    data = camera_jpeg(scene)
    chosen = sanitize_jpeg(data, FD_JPEG, contract)
    assert (chosen == sanitize_jpeg(data, FD_JPEG, contract, 2)).all()  # 240 / 2 >= 96
    assert (chosen != sanitize_jpeg(data, FD_JPEG, contract, 1)).any()
    assert sanitize_jpeg(data, FD_JPEG).shape == (240, 320, 3)
    assert sanitize_jpeg(data, FD_JPEG, scale=4).shape == (60, 80, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(scene: NDArray[np.uint8], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = camera_jpeg(scene, exif=exif.tobytes())
    assert read_jpeg_info(data).orientation == orientation
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert (turned(np.asarray(Image.open(io.BytesIO(data))), orientation) == upright).all()
    assert (requantized_frame(data, FD_JPEG) == decode_rgb(requantize_jpeg(data, FD_JPEG))).all()
    tensor = requantized_tensor(data, FD_JPEG, InputSpec(64, 48), Preprocess(crop="none"), 1)
    assert (tensor == area_resize(requantized_frame(data, FD_JPEG), 64, 48)).all()


@given(st.binary(max_size=60))
def test_any_exif_is_survived(payload: bytes) -> None:
    assert 1 <= exif_orientation(b"Exif\0\0" + payload) <= 8
    assert 1 <= exif_orientation(b"Exif\0\0II*\0\x08\0\0\0" + payload) <= 8


@needs_native
def test_a_file_that_ends_early_is_refused_whatever_its_last_bytes_say(scene: NDArray[np.uint8]) -> None:
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 4}):
        data = camera_jpeg(scene[:64, :64], **options)
        with pytest.raises(JpegError):
            sanitize_jpeg(data[: len(data) // 2] + b"\xff\xd9", FD_JPEG)


@needs_native
def test_a_size_that_the_caller_did_not_read_is_refused_before_room_is_made(scene: NDArray[np.uint8]) -> None:
    """Found by fuzzing: libjpeg and our parser may disagree on a hostile file; libjpeg's own size must not decide."""
    import resource

    data = bytearray(camera_jpeg(scene[:64, :64]))
    info = read_jpeg_info(bytes(data))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\x00\xff\x00"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in (libjpeg.frame_native, libjpeg.file_native):
        with pytest.raises(JpegError, match="not the one in its header"):
            call(bytes(data), info, FD_JPEG, *([1] if call is libjpeg.frame_native else []))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; it claims 12 GB of coefficients


def _one_scan_a_component(scene: NDArray[np.uint8], repeats: int) -> bytes:
    """A sequential YCbCr file whose three components stand in scans of their own, the last one `repeats` times."""
    gray = camera_jpeg(scene[:16, :16], mode="L")
    frame, start = gray.index(b"\xff\xc0"), gray.index(b"\xff\xda")
    length = int.from_bytes(gray[frame + 2 : frame + 4], "big")
    header = gray[frame + 4 : frame + 9] + b"\x03" + b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    sof = b"\xff\xc0" + struct.pack(">H", len(header) + 2) + header
    scan = bytearray(gray[start:-2])
    scans = []
    for number in (1, 2, *[3] * repeats):
        scan[5] = number
        scans.append(bytes(scan))
    return gray[:frame] + sof + gray[frame + 2 + length : start] + b"".join(scans) + b"\xff\xd9"


@needs_native
def test_more_scans_than_any_camera_writes_are_refused(scene: NDArray[np.uint8]) -> None:
    assert sanitize_jpeg(_one_scan_a_component(scene, 62), FD_JPEG).shape == (16, 16, 3)
    with pytest.raises(JpegError, match="more than 64 scans"):
        sanitize_jpeg(_one_scan_a_component(scene, 90), FD_JPEG)
    with pytest.raises(JpegError, match="202 scans are more than the limit"):  # before a decoder sees the file
        sanitize_jpeg(_one_scan_a_component(scene, 200), FD_JPEG)


@needs_native
@settings(max_examples=examples(400))
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**32))
def test_damage_is_decoded_or_refused(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(_SAMPLES[kind])
    for position in rng.integers(2, len(data), rng.integers(1, 12)):
        data[position] = rng.integers(0, 256)
    if rng.integers(3) == 0:
        del data[rng.integers(2, len(data)) :]
    try:
        assert sanitize_jpeg(bytes(data), FD_JPEG).shape[2] == 3
        requantize_jpeg(bytes(data), FD_JPEG)
    except JpegError:
        pass


_NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
_SAMPLES = {kind: camera_jpeg(_NOISE, **options) for kind, options in KINDS.items()}


@needs_native
def test_steps_of_16_bits_are_refused(scene: NDArray[np.uint8]) -> None:
    data = camera_jpeg(scene[:16, :16], subsampling=0)
    at = data.index(b"\xff\xdb")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    table = data[at + 4 : at + 2 + length]
    assert table[0] == 0 and length >= 67
    wide = bytes([0x10]) + b"".join(struct.pack(">H", step + 300) for step in table[1:65]) + table[65:]
    forged = data[: at + 2] + struct.pack(">H", len(wide) + 2) + wide + data[at + 2 + length :]
    with pytest.raises(JpegError, match="steps exceed 255"):
        sanitize_jpeg(forged, FD_JPEG)


def test_without_the_native_library_jpeglib_serves(monkeypatch: pytest.MonkeyPatch, scene: NDArray[np.uint8]) -> None:
    data = camera_jpeg(scene)
    contract = Contract(InputSpec(64, 64), guard=ContractGuard(FD_JPEG, "frame"))
    expected = sanitize_jpeg(data, FD_JPEG), sanitize_jpeg(data, FD_JPEG, contract)
    monkeypatch.setattr(libjpeg, "libjpeg_path", lambda: None)
    assert (sanitize_jpeg(data, FD_JPEG) == expected[0]).all()
    assert (sanitize_jpeg(data, FD_JPEG, contract) == expected[1]).all()
    monkeypatch.setitem(__import__("sys").modules, "jpeglib", None)
    with pytest.raises(JpegError, match="edgeguard doctor"):
        sanitize_jpeg(data, FD_JPEG)
    assert sanitize_jpeg(encode_jpeg(scene, FD_JPEG), GuardProfile.preset("fd")).shape == scene.shape


@pytest.mark.full
@pytest.mark.convert
def test_labels_agree_with_full_scale(shared: Path) -> None:
    """On the 500 photographs, enlarged to a short side of 720 and saved as JPEG quality 90: at least 98 %."""
    import cv2
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(shared / "models/mobilenet_v2_1.0_224_quant.tflite"))
    model.allocate_tensors()
    source, target = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    preprocess, agreed, files = Preprocess(), 0, sorted((shared / "data/imagenet500").glob("*.JPEG"))
    for path in files:
        bgr = read_bgr(path)
        scale = 720 / min(bgr.shape[:2])
        large = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        assert decode_scale(read_jpeg_info(data), InputSpec(224, 224)) == 2
        labels = []
        for at in (1, 2):
            model.set_tensor(source, requantized_tensor(data, FD_JPEG, InputSpec(224, 224), preprocess, at)[None])
            model.invoke()
            labels.append(int(model.get_tensor(target).argmax()))
        agreed += labels[0] == labels[1]
    print(f"labels at 4/8 agree with full scale on {agreed} of {len(files)}")
    assert agreed / len(files) >= 0.98
