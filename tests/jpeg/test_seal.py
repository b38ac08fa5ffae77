"""The seal: what is not exactly what the sensor sent is refused, whatever it is."""

import hashlib
import hmac
import json
import random
from pathlib import Path

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.errors import JpegError
from edgeguard.guard import GuardProfile, encode_jpeg, read_jpeg_info
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.seal import Seal, SealChecker, SealError, read_key, read_seal, seal_jpeg, verify_seal

KEY, NONCE = b"k" * 32, "0123456789abcdef" * 2
FD_JPEG = GuardProfile.preset("fd-jpeg")


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    rows = np.arange(64, dtype=np.uint8)[:, None, None]
    return encode_jpeg(np.broadcast_to(rows * 3, (64, 64, 3)).copy(), FD_JPEG)


def _sealed(jpeg: bytes, sequence: int = 5, nonce: str = NONCE, key: bytes | None = KEY) -> bytes:
    return seal_jpeg(jpeg, Seal(sequence, 1000.5, nonce, FD_JPEG.sha256), key)


def test_the_bytes_are_those_of_the_format(jpeg: bytes) -> None:
    """Taken apart by hand, and the MAC by the standard library."""
    data = _sealed(jpeg)
    assert data[:4] == b"\xff\xd8\xff\xef" and data[6:16] == b"EDGEGUARD\0" and data[16] == 1
    length, end = int.from_bytes(data[17:21], "big"), 4 + int.from_bytes(data[4:6], "big")
    text = data[21 : 21 + length]
    assert json.loads(text) == {"captured_at": 1000.5, "nonce": NONCE, "profile": FD_JPEG.sha256, "sequence": 5}
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()
    assert end == 21 + length + 32 and data[end:] == jpeg[2:]
    assert data[end - 32 : end] == hmac.digest(KEY, data[: end - 32] + bytes(32) + data[end:], hashlib.sha256)
    assert (decode_rgb(data) == decode_rgb(jpeg)).all()
    assert verify_seal(data, KEY) == read_seal(read_jpeg_info(data)) == Seal(5, 1000.5, NONCE, FD_JPEG.sha256)


def test_without_a_key_it_is_a_claim(jpeg: bytes) -> None:
    data = _sealed(jpeg, key=None)
    assert read_seal(read_jpeg_info(data)) is not None and read_seal(read_jpeg_info(jpeg)) is None
    for unproven in (data, jpeg, _sealed(jpeg, key=b"x" * 32)):
        with pytest.raises(SealError):
            verify_seal(unproven, KEY)


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_forged_replayed_truncated_reordered_and_delayed_frames(jpeg: bytes, count: int) -> None:
    """None is accepted."""
    generator = random.Random(3)
    frames = [_sealed(jpeg, n) for n in range(50)]
    checker = SealChecker(KEY, NONCE)
    for frame in frames[:25]:
        checker.check(frame, checker._began)
    seen, refused = frames[24], 0
    for _ in range(count):
        kind, arrived_at = generator.randrange(7), checker._began
        if kind == 0:
            data = bytearray(frames[generator.randrange(25, 50)])
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        elif kind == 1:
            data = bytearray(frames[generator.randrange(25)])
        elif kind == 2:
            frame = frames[generator.randrange(25, 50)]
            data = bytearray(frame[: generator.randrange(len(frame))])
        elif kind == 3:
            data = bytearray(_sealed(jpeg, generator.randrange(25, 99), "f" * 32))
        elif kind == 4:
            data = bytearray(_sealed(jpeg, generator.randrange(25, 99), key=generator.randbytes(32)))
        elif kind == 5:
            data, arrived_at = bytearray(frames[generator.randrange(25, 50)]), checker._began + 3.1 + generator.random()
        else:
            frame = frames[generator.randrange(25, 50)]
            at = generator.randrange(len(frame))
            data = bytearray(frame[:at] + generator.randbytes(generator.randrange(1, 5)) + frame[at:])
        with pytest.raises(JpegError):
            checker.check(bytes(data), arrived_at)
        refused += 1
    assert refused == count
    with pytest.raises(SealError, match="out of order: number 24 after 24"):
        checker.check(seen, checker._began)
    assert [checker.check(frames[n], checker._began).sequence for n in (25, 40)] == [25, 40]
    with pytest.raises(SealError, match="out of order"):
        checker.check(frames[30], checker._began)


def test_a_second_or_misplaced_seal_is_refused(jpeg: bytes) -> None:
    once = _sealed(jpeg)
    twice = seal_jpeg(once, Seal(6, 0.0, NONCE, ""), KEY)
    with pytest.raises(SealError, match="more than one seal"):
        verify_seal(twice, KEY)
    end = 4 + int.from_bytes(once[4:6], "big")
    comment = b"\xff\xfe\x00\x04ab"
    with pytest.raises(SealError, match="not at its place"):
        verify_seal(once[:2] + comment + once[2:end] + once[end:], KEY)


@given(st.binary(max_size=300))
@settings(max_examples=examples(300))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    rows = np.zeros((8, 8, 3), np.uint8)
    plain = encode_jpeg(rows, FD_JPEG)
    body = b"EDGEGUARD\0" + payload
    data = plain[:2] + b"\xff\xef" + (len(body) + 2).to_bytes(2, "big") + body + plain[2:]
    with pytest.raises(SealError):
        verify_seal(data, KEY)
    try:
        read_seal(read_jpeg_info(data))
    except SealError:
        pass


@pytest.mark.parametrize(
    "fields",
    [{}, [], {"sequence": -1}, {"sequence": True}, {"sequence": "5"}, {"captured_at": float("nan")}, {"nonce": 3},
     {"more": 1}, {"captured_at": 10**400}, {"captured_at": -(10**400)}, {"captured_at": 1e308}, {"captured_at": True},
     {"captured_at": -1}, {"sequence": 10**400}, {"sequence": 2**63}, {"nonce": "x" * 32}, {"nonce": "ab"},
     {"profile": "\x1b[2J"}, {"profile": "a" * 65}],
)  # fmt: skip
def test_fields_out_of_range(jpeg: bytes, fields: object) -> None:
    whole = {"sequence": 1, "captured_at": 0.0, "nonce": "", "profile": ""}
    text = json.dumps({**whole, **fields} if fields and isinstance(fields, dict) else fields).encode()
    body = b"EDGEGUARD\0\x01" + len(text).to_bytes(4, "big") + text + bytes(32)
    data = jpeg[:2] + b"\xff\xef" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]
    with pytest.raises(SealError, match="damaged"):
        read_seal(read_jpeg_info(data))


@pytest.mark.parametrize("captured_at", ["1" + "0" * 400, "1e999", "NaN", "1" + "0" * 900])
def test_no_number_in_a_seal_is_believed_without_the_key(jpeg: bytes, captured_at: str) -> None:
    """A stranger has no key: what he writes is refused by its MAC before a number of it is read."""
    text = f'{{"captured_at":{captured_at},"nonce":"{NONCE}","profile":"","sequence":1}}'.encode()
    body = b"EDGEGUARD\0\x01" + len(text).to_bytes(4, "big") + text + bytes(32)
    data = jpeg[:2] + b"\xff\xef" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]
    with pytest.raises(SealError, match="forged"):
        SealChecker(KEY, NONCE).check(data)
    with pytest.raises(SealError, match="damaged"):
        read_seal(read_jpeg_info(data))


def test_nothing_is_parsed_before_it_is_proven(jpeg: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_: object) -> None:
        raise AssertionError("parsed before it was proven")

    monkeypatch.setattr("edgeguard.jpeg.seal._parse", parsed)
    monkeypatch.setattr("edgeguard.jpeg.seal.read_whole_jpeg", parsed)
    with pytest.raises(SealError, match="forged"):
        verify_seal(_sealed(jpeg, key=b"x" * 32), KEY)


def test_frames_that_are_held_back_are_refused(jpeg: bytes) -> None:
    """Each frame is genuine and in order; whoever holds them back shows an old picture as a new one."""

    def frame(number: int, captured_at: float) -> bytes:
        return seal_jpeg(jpeg, Seal(number, captured_at, NONCE, FD_JPEG.sha256), KEY)

    checker = SealChecker(KEY, NONCE)
    now = checker._began
    assert checker.check(frame(1, 500.0), now + 0.5).sequence == 1  # the sensor's clock is another one
    assert checker.check(frame(2, 501.0), now + 1.4).sequence == 2
    assert checker.check(frame(3, 502.0), now + 5.3).sequence == 3  # 2.9 s later than the quickest
    with pytest.raises(SealError, match=r"held back for 3\.1 s"):
        checker.check(frame(4, 503.0), now + 6.5)
    assert checker.check(frame(5, 506.0), now + 6.6).sequence == 5
    with pytest.raises(SealError, match="first one came too late"):
        late = SealChecker(KEY, NONCE)
        late.check(frame(1, 500.0), late._began + 11)


def test_keys(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o600)
    assert read_key(path) == KEY
    path.chmod(0o640)
    with pytest.raises(ValueError, match="others can read the key file"):
        read_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="at least 32 bytes"):
        read_key(path)
    with pytest.raises(ValueError, match="cannot read the key file"):
        read_key(tmp_path / "none")


def test_scene_stays(scene: NDArray[np.uint8]) -> None:
    data = encode_jpeg(scene, FD_JPEG)
    assert (decode_rgb(_sealed(data)) == decode_rgb(data)).all()
