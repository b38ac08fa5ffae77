"""Pass 1's writer and pass 2's requantiser, checked against the coefficients themselves and against Pillow."""

import io
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import decode_bgr
from PIL import Image

from edgeguard.dct.color import Color
from edgeguard.dct.jpeg_encode import coded_with
from edgeguard.guard import GuardProfile, JpegError, decode_rgb, encode_jpeg, read_jpeg_info, sanitize_jpeg
from edgeguard.guard.passes import receive_jpeg, receive_raw
from edgeguard.jpeg.seal import Seal, seal_jpeg
from edgeguard.jpeg.tables import corner_table
from edgeguard.preprocess.requantize import requantize, requantize_jpeg

FD_JPEG = GuardProfile.preset("fd-jpeg")


def camera_jpeg(rgb: NDArray[np.uint8], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def coefficients(data: bytes, folder: Path) -> list[NDArray[np.int16]]:
    path = folder / "c.jpg"
    path.write_bytes(data)
    coded = jpeglib.read_dct(str(path))
    return [coded.Y] if coded.Cb is None else [coded.Y, coded.Cb, coded.Cr]


@pytest.mark.parametrize("color", ["ycbcr444", "ycbcr422", "ycbcr420"])
def test_encoder_writes_tables_verbatim_and_the_sampling_asked_for(scene: NDArray[np.uint8], color: Color) -> None:
    tables = tuple(tuple((7 * i + 3 * k) % 200 + 5 for i in range(64)) for k in range(3))
    profile = GuardProfile("x", color, tables)
    info = read_jpeg_info(encode_jpeg(scene, profile))
    assert info.tables == tables and info.sampling == color.removeprefix("ycbcr") and info.complete
    assert coded_with(info, profile)


def test_rgb_profiles_are_not_jpeg(scene: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="ycbcr"):
        encode_jpeg(scene, GuardProfile.preset("fd"))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_requantised_coefficients_follow_the_integer_rule_exactly(
    scene: NDArray[np.uint8], tmp_path: Path, subsampling: int, progressive: bool
) -> None:
    data = camera_jpeg(scene[:201, :299], subsampling=subsampling, progressive=progressive)
    source = read_jpeg_info(data)
    out = requantize_jpeg(data, FD_JPEG)
    info = read_jpeg_info(out)
    assert info.tables == FD_JPEG.component_tables and info.sampling == source.sampling
    before, after = coefficients(data, tmp_path), coefficients(out, tmp_path)
    for plane, wanted, table in zip(before, after, source.tables, strict=True):
        assert (requantize(plane, table, FD_JPEG.tables[0]) == wanted).all()
    assert requantize_jpeg(out, FD_JPEG) == out  # pass 2 on pass 1's coefficients is the identity


@given(st.integers(-1000, 1000), st.integers(1, 255), st.integers(1, 255))
def test_requantise_rounds_half_away(index: int, source: int, target: int) -> None:
    from fractions import Fraction

    found = requantize(np.full((1, 8, 8), index, np.int16), (source,) * 64, (target,) * 64)[0, 0, 0]
    exact = Fraction(index * source, target)
    magnitude = int(abs(exact) + Fraction(1, 2))
    assert found == max(-1023, min(1023, magnitude if exact >= 0 else -magnitude))


def test_gray_jpeg(scene: NDArray[np.uint8], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene).convert("L").save(buffer, "JPEG", quality=85)
    out = sanitize_jpeg(buffer.getvalue(), FD_JPEG)
    assert out.shape == scene.shape and (out[..., 0] == out[..., 2]).all()


def test_sanitize_jpeg_decodes_what_was_requantised(scene: NDArray[np.uint8]) -> None:
    data = camera_jpeg(scene)
    expected = np.asarray(Image.open(io.BytesIO(requantize_jpeg(data, FD_JPEG))).convert("RGB"))
    ours = sanitize_jpeg(data, FD_JPEG)
    assert np.abs(ours.astype(int) - expected).max() <= 3  # two libjpegs, one picture


def test_sanitize_jpeg_with_an_rgb_profile_sanitises_the_decoded_frame(scene: NDArray[np.uint8]) -> None:
    from edgeguard.guard import Sanitizer

    fd, data = GuardProfile.preset("fd"), camera_jpeg(scene)
    assert (sanitize_jpeg(data, fd) == Sanitizer(fd)(decode_rgb(data))).all()


def test_exif_orientation_survives(scene: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = camera_jpeg(scene, exif=exif.tobytes())
    assert decode_rgb(data).shape == (320, 240, 3) == sanitize_jpeg(data, FD_JPEG).shape


def test_who_did_pass_one(scene: NDArray[np.uint8]) -> None:
    fd = GuardProfile.preset("fd")
    assert receive_raw(scene, None).pass1 == "none"
    assert receive_raw(scene, fd).pass1 == receive_raw(scene, FD_JPEG).pass1 == "run"
    assert receive_jpeg(encode_jpeg(scene, FD_JPEG), FD_JPEG).pass1 == "camera"
    sealed = seal_jpeg(encode_jpeg(scene, FD_JPEG), Seal(0, 0.0, "", FD_JPEG.sha256))
    assert receive_jpeg(sealed, FD_JPEG).pass1 == "sensor"
    other = GuardProfile("o", "ycbcr444", (corner_table(24, 32),))
    assert receive_jpeg(sealed, other).pass1 == "none"
    assert receive_jpeg(camera_jpeg(scene), FD_JPEG).pass1 == "none"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "decode"),
        (b"hello world", "decode"),
        (b"\xff\xd8", "no frame header"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (b"\xff\xd8\xff\xdb\x00\x43", "inside a header"),
    ],
)
def test_rubbish_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(JpegError, match=message):
        decode_rgb(data)


def test_other_codings_are_refused_clearly(scene: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene).convert("CMYK").save(buffer, "JPEG")
    with pytest.raises(JpegError, match="4 components"):
        read_jpeg_info(buffer.getvalue())
    data = bytearray(camera_jpeg(scene))
    frame = data.index(b"\xff\xc0")
    for marker, message in ((0xC3, "lossless"), (0xC9, "arithmetic")):
        data[frame + 1] = marker
        with pytest.raises(JpegError, match=message):
            read_jpeg_info(bytes(data))
    data[frame + 1], data[frame + 4] = 0xC1, 12
    with pytest.raises(JpegError, match="12 bits"):
        read_jpeg_info(bytes(data))


def test_a_bomb_is_refused_before_decoding(scene: NDArray[np.uint8]) -> None:
    data = bytearray(camera_jpeg(scene))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(JpegError, match="limit of 64 megapixels"):
        decode_rgb(bytes(data))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_every_truncation_is_noticed(scene: NDArray[np.uint8], options: dict[str, object]) -> None:
    data = camera_jpeg(scene[:64, :64], **options)
    assert read_jpeg_info(data).complete
    for length in range(len(data) - 1):
        try:
            assert not read_jpeg_info(data[:length]).complete, length
        except JpegError:
            pass
        with pytest.raises(JpegError):
            sanitize_jpeg(data[:length], FD_JPEG)


def test_restart_interval_and_size_are_read(scene: NDArray[np.uint8]) -> None:
    info = read_jpeg_info(camera_jpeg(scene, restart_marker_blocks=5))
    assert info.restart_interval == 5 and (info.width, info.height) == (320, 240)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_parser_survives_damage(data: st.DataObject) -> None:
    base = bytearray(_SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        base[data.draw(st.integers(2, len(base) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(2, len(base)))
    try:
        info = read_jpeg_info(bytes(base[:cut]))
    except JpegError:
        return
    assert info.width * info.height <= 1 << 26 and all(len(t) == 64 for t in info.tables)


_SMALL = camera_jpeg(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))


def test_damaged_scans_never_kill_the_process(scene: NDArray[np.uint8]) -> None:
    """Garbage in the entropy-coded data decodes to garbage or is refused, in this very process."""
    rng = np.random.default_rng(1)
    data = camera_jpeg(scene[:80, :80])
    start = data.index(b"\xff\xda") + 14
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(start, len(data) - 2, 8):
            damaged[position] = rng.integers(0, 256)
        try:
            assert sanitize_jpeg(bytes(damaged), FD_JPEG).shape[2] == 3
        except JpegError:
            continue


def test_the_one_decoder_is_opencv(scene: NDArray[np.uint8]) -> None:
    data = camera_jpeg(scene)
    assert (decode_rgb(data) == decode_bgr(data)[:, :, ::-1]).all()
