"""Frames as PNG: what is written is read, here and by OpenCV; what a stranger writes is read or refused in one line."""

import random
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import decode_bgr

from edgeguard.errors import JpegError
from edgeguard.png.frame import EXTRA_AT, SIGNATURE, chunk, read_png, read_png_info, write_png


def _png(
    width: int, height: int, rows: bytes, *, color: int = 2, depth: int = 8, interlaced: int = 0, packed: bytes = b""
) -> bytes:
    """A PNG by hand."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed or zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("shape", [(1, 1, 3), (9, 7, 3), (64, 48, 3), (33, 17), (8, 8), (1, 40), (40, 1)])
def test_what_is_written_is_read(shape: tuple[int, ...]) -> None:
    levels = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    data = write_png(levels)
    info = read_png_info(data)
    assert (info.height, info.width, info.extra) == (*shape[:2], None)
    expected = levels if levels.ndim == 3 else np.repeat(levels[:, :, None], 3, axis=2)
    assert (read_png(info) == expected).all()
    assert (decode_bgr(data)[:, :, ::-1] == expected).all()


def test_a_view_that_is_not_contiguous_is_written_too(scene: NDArray[np.uint8]) -> None:
    view = scene[::2, 3:-5]
    assert (read_png(read_png_info(write_png(view))) == view).all()


def test_the_chunk_behind_the_header_is_given() -> None:
    data = write_png(np.zeros((4, 4, 3), np.uint8))
    assert read_png_info(data[:EXTRA_AT] + chunk(b"egSE", b"abc") + data[EXTRA_AT:]).extra == (b"egSE", b"abc")


def test_rows_of_each_filter_are_read() -> None:
    """Each row from another filter, in each order, against OpenCV."""
    generator = np.random.default_rng(5)
    rows = generator.integers(0, 256, (12, 1 + 3 * 10)).astype(np.uint8)
    for filters in ([0, 1, 2] * 4, [2] * 12, [1, 2, 2, 0] * 3):
        rows[:, 0] = filters
        data = _png(10, 12, rows.tobytes())
        assert (read_png(read_png_info(data)) == decode_bgr(data)[:, :, ::-1]).all()


ROWS = bytes(4 * (1 + 3 * 4))
GOOD = _png(4, 4, ROWS)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "not a PNG"),
        (GOOD[:20], "it ends early"),
        (GOOD[:-1], "it ends early"),
        (GOOD + b"x", "nothing behind them"),
        (GOOD[:16] + b"\0\0\1" + GOOD[19:], "a checksum is wrong"),
        (GOOD[:-20] + bytes([GOOD[-20] ^ 1]) + GOOD[-19:], "a checksum is wrong"),
        (SIGNATURE + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "does not start with its header"),
        (SIGNATURE + chunk(b"IHDR", b"abc") + chunk(b"IEND", b""), "does not start with its header"),
        (_png(4, 4, ROWS, depth=16), "8 bits"),
        (_png(4, 4, ROWS, color=6), "gray or RGB"),
        (_png(4, 4, ROWS, color=3), "gray or RGB"),
        (_png(4, 4, ROWS, interlaced=1), "no interlacing"),
        (_png(0, 4, ROWS), "refused: 0x4 pixels"),
        (_png(4, 0, ROWS), "refused: 4x0 pixels"),
        (_png(1, 1 << 15, ROWS), "at most 16384 a side"),
        (_png(1 << 31, 1 << 31, ROWS), "64 megapixels"),
        (_png(16000, 4200, ROWS), "64 megapixels"),
        (_png(16000, 4000, ROWS), "holds too little for its size"),
        (_png(4, 5, ROWS), "the pixels of its size"),
        (_png(4, 3, ROWS), "the pixels of its size"),
        (_png(4, 4, b"", packed=zlib.compress(ROWS) + b"more"), "the pixels of its size"),
        (_png(4, 4, b"", packed=zlib.compress(ROWS)[:-5]), "the pixels of its size"),
        (_png(4, 4, b"", packed=b"no zlib stream"), "its pixels are damaged"),
        (_png(4, 4, b"", packed=zlib.compress(ROWS)[:-1] + b"?"), "its pixels are damaged"),
        (_png(4, 4, b"\3" + ROWS[1:]), "the filters None, Sub and Up"),
        (_png(4, 4, b"\x2a" + ROWS[1:]), "the filters None, Sub and Up"),
        (GOOD[:EXTRA_AT] + 2 * chunk(b"tEXt", b"a") + GOOD[EXTRA_AT:], "in one piece"),
        (GOOD[:-12] + chunk(b"IDAT", b"") + GOOD[-12:], "in one piece"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(JpegError, match=why) as caught:
        read_png(read_png_info(data))
    assert "\n" not in str(caught.value)


def test_a_bomb_is_stopped_at_the_size_that_its_header_gives() -> None:
    """16 MB of zeros in 70 kB, announced as a picture that is as small as a kilobyte of them."""
    bomb = _png(100, 100, b"", packed=zlib.compress(bytes(16 << 20), 1))
    tracemalloc.start()
    with pytest.raises(JpegError, match="the pixels of its size"):
        read_png(read_png_info(bomb))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_the_slowest_frame_of_few_bytes_takes_no_second() -> None:
    """The most rows that may be, all of the filter that costs most."""
    rows = np.zeros((1 << 14, 1 + 3 * 64), np.uint8)
    rows[:, 0] = 1
    data = _png(64, 1 << 14, rows.tobytes())
    assert len(data) < 40_000
    began = time.process_time()
    read_png(read_png_info(data))
    assert time.process_time() - began < 1


@given(st.binary(max_size=200), st.integers(0, 60))
@settings(max_examples=examples(300))
def test_anything_is_read_or_refused(noise: bytes, at: int) -> None:
    for data in (noise, SIGNATURE + noise, GOOD[:at] + noise, GOOD[:at] + noise + GOOD[at:]):
        try:
            read_png(read_png_info(data))
        except JpegError:
            pass


@given(st.binary(max_size=120), st.integers(1, 40), st.integers(1, 9), st.sampled_from([0, 2]))
@settings(max_examples=examples(300))
def test_any_pixels_behind_right_checksums_are_read_or_refused(rows: bytes, w: int, h: int, color: int) -> None:
    for packed in (zlib.compress(rows), rows or b"x"):
        try:
            assert read_png(read_png_info(_png(w, h, b"", color=color, packed=packed))).shape == (h, w, 3)
        except JpegError:
            pass


def test_a_flipped_bit_anywhere_is_seen() -> None:
    data = write_png(np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8))
    generator = random.Random(2)
    for _ in range(2000):
        flipped = bytearray(data)
        flipped[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        with pytest.raises(JpegError):
            read_png(read_png_info(bytes(flipped)))
