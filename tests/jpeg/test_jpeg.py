"""Pass 1's writer and pass 2's requantiser, checked against the coefficients themselves and against Pillow."""

import io
import resource
import subprocess
import time
import zlib
from pathlib import Path

import cv2
import jpeglib
import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import decode_bgr
from PIL import Image, ImageCms
from programs import needed

from edgeguard.camera import Lost
from edgeguard.camera.files import ImageFiles
from edgeguard.dct.color import Color
from edgeguard.dct.jpeg_encode import coded_with
from edgeguard.guard import GuardProfile, JpegError, decode_rgb, encode_jpeg, read_jpeg_info, sanitize_jpeg
from edgeguard.guard.passes import receive_jpeg, receive_raw
from edgeguard.jpeg.seal import Seal, seal_jpeg
from edgeguard.jpeg.tables import corner_table, to_zigzag
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


@settings(max_examples=examples(300), deadline=None)
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


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def _of_many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive gray file whose scans say in a few bytes that nothing changes: small to send, long to decode."""
    runs = -(-(-(-width // 8) * -(-height // 8)) // 32767)
    bits = "".join("0" + "1" * 14 for _ in range(runs))
    bits += "1" * (-len(bits) % 8)
    nothing = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    head = _segment(0xDB, b"\0" + b"\1" * 64)
    head += _segment(0xC2, b"\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\1\1\x11\0")
    head += _segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # one symbol: a run of blocks
    return b"\xff\xd8" + head + (_segment(0xDA, b"\1\1\0\1\x3f\0") + nothing) * scans + b"\xff\xd9"


@pytest.mark.parametrize(
    ("width", "height", "scans", "why"),
    [(8192, 8192, 600, "scans are more than the limit"), (8192, 8192, 17, "more work than the limit"),
     (64, 64, 101, "scans are more than the limit")],
)  # fmt: skip
def test_scans_that_keep_a_decoder_busy_are_refused_on_every_path(
    width: int, height: int, scans: int, why: str, tmp_path: Path
) -> None:
    data = _of_many_scans(width, height, scans)
    assert len(data) < 400_000
    began = time.monotonic()
    for decode in (
        decode_rgb, lambda data: decode_rgb(data, 4), lambda data: receive_jpeg(data, None),
        lambda data: sanitize_jpeg(data, FD_JPEG), lambda data: sanitize_jpeg(data, GuardProfile.preset("fd")),
        lambda data: requantize_jpeg(data, FD_JPEG), lambda data: sanitize_jpeg(data, FD_JPEG, scale=4),
    ):  # fmt: skip
        with pytest.raises(JpegError, match=why):
            decode(data)
    path = tmp_path / "busy.jpg"
    path.write_bytes(data)
    (item,) = ImageFiles(path).frames()
    assert isinstance(item, Lost) and why in item.reason
    assert time.monotonic() - began < 1


def test_headers_of_nothing_but_segments_are_refused_at_once() -> None:
    began = time.monotonic()
    table = b"\0" + b"\1" * 64
    for data in (
        b"\xff\xd8" * 4_000_000, b"\xff\xd8" + b"\xff\xe0\0\2" * 4_000_000, b"\xff\xd8" + b"\xff\0" * 8_000_000,
        b"\xff\xd8" + _segment(0xDB, table * 1000) * 250,
        b"\xff\xd8" + _segment(0xDB, table + b"\1" + table[1:]) * 100_000,
    ):  # fmt: skip
        with pytest.raises(JpegError):
            read_jpeg_info(data)
    assert time.monotonic() - began < 2


def test_a_file_that_claims_gigabytes_of_pixels_is_refused_by_its_header() -> None:
    head = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    png = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    png += (8).to_bytes(4, "big") + b"IDAT" + bytes(12)
    bmp = b"BM" + bytes(8) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    bmp += (60_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    for data in (png, bmp):
        with pytest.raises(JpegError, match="refused"):
            decode_rgb(data)
    with pytest.raises(JpegError, match="does not decode"):
        decode_rgb(b"P6\n60000 60000\n255\n")  # no format that we read


@pytest.mark.parametrize("said", [1 << 20, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt", b"eXIf"])
def test_a_part_of_a_png_that_is_said_to_be_gigabytes_takes_none(said: int, kind: bytes) -> None:
    """OpenCV took 4 GB and 22 seconds for 3 kB."""
    data = cv2.imencode(".png", np.full((40, 56, 3), 7, np.uint8))[1].tobytes()
    at = data.index(b"IDAT") - 4
    spoiled = data[:at] + said.to_bytes(4, "big") + kind + data[at + 8 :]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(JpegError, match="it ends early"):
        decode_rgb(spoiled)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_png_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """libpng wrote the name of a color profile there as the file gave it: escape sequences and all."""
    picture = np.full((4, 4, 3), 7, np.uint8)
    data = cv2.imencode(".png", picture)[1].tobytes()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    named = b"iCCP\x1b]0;mine\x07\0\0" + zlib.compress(profile)
    chunk = (len(named) - 4).to_bytes(4, "big") + named + zlib.crc32(named).to_bytes(4, "big")
    assert np.array_equal(decode_rgb(data[:33] + chunk + data[33:]), picture)
    with pytest.raises(JpegError, match="it ends early"):
        decode_rgb(data[:-12])
    with pytest.raises(JpegError, match="a kind that is not known"):
        decode_rgb(data[:33] + chunk.replace(b"iCCP", b"ICCP") + data[33:])
    assert capfd.readouterr() == ("", "")


def test_a_png_of_countless_parts_is_refused_soon() -> None:
    data = cv2.imencode(".png", np.full((4, 4, 3), 7, np.uint8))[1].tobytes()
    with pytest.raises(JpegError, match="more than 100000 parts"):
        decode_rgb(data[:33] + (bytes(4) + b"tEXt" + zlib.crc32(b"tEXt").to_bytes(4, "big")) * 100_001 + data[33:])


@pytest.mark.parametrize("suffix", [".ppm", ".pfm", ".hdr", ".sr", ".jp2", ".exr", ".avif", ".pam"])
def test_a_format_of_opencvs_own_is_not_decoded_whatever_its_name(suffix: str) -> None:
    """Most of its advisories are on decoders that nobody needs here."""
    picture = np.full((64, 64, 3), 7, np.float32 if suffix in (".pfm", ".hdr", ".exr") else np.uint8)
    try:
        data = cv2.imencode(suffix, picture)[1].tobytes()
    except cv2.error:
        data = {".exr": b"\x76\x2f\x31\x01", ".avif": b"\0\0\0\x1cftypavif"}.get(suffix, b"") + bytes(64)
    with pytest.raises(JpegError, match="does not decode"):
        decode_rgb(data)


def test_postscript_is_not_run() -> None:
    """Pillow would hand it to Ghostscript."""
    with pytest.raises(JpegError, match="does not decode"):
        decode_rgb(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\n")


def _table_segment(number: int, table: tuple[int, ...]) -> bytes:
    steps = bytes(to_zigzag(table))
    return b"\xff\xdb\x00\x43" + bytes([number]) + steps


@pytest.mark.parametrize("progressive", [False, True])
def test_a_table_behind_the_scans_is_not_the_one_that_was_used(scene: NDArray[np.uint8], progressive: bool) -> None:
    """A decoder keeps the table that a component's first scan finds; a later one would claim a pass 1 of nobody."""
    profile = GuardProfile.preset("fd-jpeg")
    buffer = io.BytesIO()
    Image.fromarray(scene).save(buffer, "JPEG", quality=90, subsampling=2, progressive=progressive)
    honest = buffer.getvalue()
    late = b"".join(_table_segment(number, table) for number, table in enumerate(profile.tables[:2]))
    at = len(honest) - 2
    if progressive:  # behind the first scan, before the others
        first = honest.index(b"\xff\xda")
        at = honest.index(b"\xff\xc4", first)
    forged = honest[:at] + late + honest[at:]
    assert (decode_bgr(forged) == decode_bgr(honest)).all(), "the decoder uses the first tables"
    assert read_jpeg_info(forged).tables == read_jpeg_info(honest).tables
    assert not coded_with(read_jpeg_info(forged), profile)
    assert receive_jpeg(forged, profile).pass1 == "none"


def test_a_table_before_a_components_first_scan_is_the_one_that_is_used(
    scene: NDArray[np.uint8], tmp_path: Path
) -> None:
    (tmp_path / "scans").write_text("0;\n1;\n2;\n")
    command = [needed("jpegtran"), "-scans", "scans"]
    interleaved = encode_jpeg(scene, GuardProfile.preset("jpeg:75"))
    plain = subprocess.run(command, input=interleaved, cwd=tmp_path, capture_output=True, check=True).stdout
    tables = read_jpeg_info(plain).tables
    assert plain.count(_table_segment(1, tables[1])) == 1
    other = tuple(step + 3 for step in tables[1])
    moved = plain.replace(_table_segment(1, tables[1]), _table_segment(1, other), 1)
    second = moved.index(b"\xff\xda", moved.index(b"\xff\xda") + 1)
    moved = moved[:second] + _table_segment(1, tables[1]) + moved[second:]
    assert (decode_bgr(moved) == decode_bgr(plain)).all()
    assert read_jpeg_info(moved).tables == tables


def test_image_data_before_the_frame_header(scene: NDArray[np.uint8]) -> None:
    data = encode_jpeg(scene, GuardProfile.preset("fd-jpeg"))
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    with pytest.raises(JpegError, match="image data come before the frame header"):
        read_jpeg_info(data[:2] + scan + data[2:])
