"""The seal in a PNG: where it stands, and that what is not exactly what the sensor sent is refused."""

import hashlib
import hmac
import json
import random
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import decode_bgr

from edgeguard.errors import JpegError
from edgeguard.guard import GuardProfile, Sanitizer
from edgeguard.jpeg.seal import Seal, SealChecker, SealError, read_seal, seal_jpeg, seal_png, verify_seal
from edgeguard.png.frame import EXTRA_AT, chunk, read_png, read_png_info, write_png

KEY, NONCE = b"k" * 32, "0123456789abcdef" * 2
FD = GuardProfile.preset("fd")


@pytest.fixture(scope="module")
def png() -> bytes:
    return write_png(Sanitizer(FD)(np.random.default_rng(4).integers(0, 256, (64, 64, 3)).astype(np.uint8)))


def _sealed(png: bytes, sequence: int = 5, nonce: str = NONCE, key: bytes | None = KEY) -> bytes:
    return seal_png(png, Seal(sequence, 1000.5, nonce, FD.sha256), key)


def test_the_bytes_are_those_of_the_format(png: bytes) -> None:
    """Taken apart by hand, and the MAC by the standard library."""
    data = _sealed(png)
    assert data[:33] == png[:33] and data[37:41] == b"egSE" and data[41:51] == b"EDGEGUARD\0" and data[51] == 1
    end = 41 + int.from_bytes(data[33:37], "big")
    length = int.from_bytes(data[52:56], "big")
    text = data[56 : 56 + length]
    assert json.loads(text) == {"captured_at": 1000.5, "nonce": NONCE, "profile": FD.sha256, "sequence": 5}
    assert end == 56 + length + 32 and data[end + 4 :] == png[33:]
    assert data[end : end + 4] == zlib.crc32(data[37:end]).to_bytes(4, "big")
    assert data[end - 32 : end] == hmac.digest(KEY, data[: end - 32] + bytes(36) + data[end + 4 :], hashlib.sha256)
    assert verify_seal(data, KEY) == read_seal(read_png_info(data)) == Seal(5, 1000.5, NONCE, FD.sha256)


def test_the_room_of_a_profile_is_told_and_nothing_where_there_is_none(png: bytes) -> None:
    seal = Seal(5, 1000.5, NONCE, FD.sha256, 16)
    assert verify_seal(seal_png(png, seal, KEY), KEY) == seal and b'"room":16' in seal_png(png, seal)
    assert b"room" not in _sealed(png)
    rooms: tuple[Any, ...] = (-1, 128, 1.5, True, "16")
    for room in rooms:
        with pytest.raises(SealError, match="damaged"):
            verify_seal(seal_png(png, replace(seal, room=room), KEY), KEY)


def test_other_readers_see_the_same_picture(png: bytes) -> None:
    data = _sealed(png)
    assert (read_png(read_png_info(data)) == read_png(read_png_info(png))).all()
    assert (decode_bgr(data) == decode_bgr(png)).all()


def test_without_a_key_it_is_a_claim(png: bytes) -> None:
    claim = _sealed(png, key=None)
    assert read_seal(read_png_info(claim)) is not None and read_seal(read_png_info(png)) is None
    other = png[:EXTRA_AT] + chunk(b"tEXt", b"EDGEGUARD\0") + png[EXTRA_AT:]
    assert read_seal(read_png_info(other)) is None
    for unproven in (claim, png, other, _sealed(png, key=b"x" * 32), b"", png[:8], png[:40]):
        with pytest.raises(SealError):
            verify_seal(unproven, KEY)


def test_every_byte_is_covered(png: bytes) -> None:
    """A flipped bit in any byte is refused, with the checksums put right as well."""
    data, generator = _sealed(png), random.Random(6)
    end = 41 + int.from_bytes(data[33:37], "big")
    for at in [*range(end + 30), *generator.sample(range(len(data)), 300), len(data) - 1]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << generator.randrange(8)
        mended = bytearray(flipped)
        mended[end : end + 4] = zlib.crc32(mended[37:end]).to_bytes(4, "big")
        mended[29:33] = zlib.crc32(mended[12:29]).to_bytes(4, "big")
        for forged in {bytes(flipped), bytes(mended)} - {data}:
            with pytest.raises(JpegError):
                verify_seal(forged, KEY)


def test_forged_replayed_truncated_reordered_and_delayed_frames(png: bytes) -> None:
    generator, frames = random.Random(3), [_sealed(png, n) for n in range(30)]
    checker = SealChecker(KEY, NONCE)
    assert [checker.check(frame, checker._began).sequence for frame in frames[:20]] == list(range(20))
    refused = 0
    for _ in range(2000):
        frame, arrived_at = frames[generator.randrange(20, 30)], checker._began
        kind, at = generator.randrange(6), generator.randrange(len(frame))
        if kind == 0:
            data = frame[:at]
        elif kind == 1:
            data = frames[generator.randrange(20)]
        elif kind == 2:
            data = _sealed(png, 25, generator.choice(["f" * 32, ""]))
        elif kind == 3:
            data = _sealed(png, 25, key=generator.randbytes(32))
        elif kind == 4:
            data = frame[:at] + generator.randbytes(1 + generator.randrange(4)) + frame[at:]
        else:
            data, arrived_at = frame, checker._began + 3.1 + generator.random()
        with pytest.raises(JpegError):
            checker.check(data, arrived_at)
        refused += 1
    assert refused == 2000
    assert [checker.check(frames[n], checker._began).sequence for n in (20, 29)] == [20, 29]


def test_a_seal_cannot_go_from_one_format_to_the_other(png: bytes) -> None:
    data = _sealed(png)
    end = 41 + int.from_bytes(data[33:37], "big")
    payload = data[41:end]
    as_jpeg = b"\xff\xd8\xff\xef" + (len(payload) + 2).to_bytes(2, "big") + payload + data[end + 4 :]
    with pytest.raises(SealError, match="MAC is not the key's"):
        verify_seal(as_jpeg, KEY)
    with pytest.raises(SealError):
        verify_seal(seal_jpeg(png, Seal(5, 0.0, NONCE, ""), b"y" * 32), KEY)


@given(st.binary(max_size=300))
@settings(max_examples=examples(300))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    plain = write_png(np.zeros((8, 8, 3), np.uint8))
    data = plain[:EXTRA_AT] + chunk(b"egSE", b"EDGEGUARD\0" + payload) + plain[EXTRA_AT:]
    with pytest.raises(SealError):
        verify_seal(data, KEY)
    try:
        read_seal(read_png_info(data))
    except SealError:
        pass
