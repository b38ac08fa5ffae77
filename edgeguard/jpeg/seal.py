"""What a sensor writes into each frame: who did pass 1 with what, in which order, and (with a key) a proof of it all.

`EDGEGUARD` and a zero byte, a version byte, the length of the JSON as a big-endian u32, canonical JSON, and 32 bytes of
MAC. In a JPEG this is one APP15 segment directly after SOI, in a PNG one `egSE` chunk directly after IHDR; FFmpeg and
browsers skip both. The MAC is HMAC-SHA256 (RFC 2104, FIPS 180-4) over the whole file with those 32 bytes zero, and with
the chunk's CRC, which follows from them, zero as well; without a key they stay zero.
"""

import hashlib
import hmac
import json
import re
import stat
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from edgeguard.errors import InputError, JpegError
from edgeguard.jpeg.header import JpegInfo, read_whole_jpeg
from edgeguard.png.frame import EXTRA_AT, SIGNATURE, PngInfo, chunk, read_png_info
from edgeguard.system.foreign import read_bounded

APP, TAG, VERSION = 15, b"EDGEGUARD\0", 1
CHUNK = b"egSE"  # ancillary, private, not to be copied by who changes the pixels (PNG, 5.4)
_MAC_BYTES = 32
_NO_MAC = bytes(_MAC_BYTES)
_FIXED = len(TAG) + 1 + 4
_MOST_JSON = 1024
_LEAST_KEY, _LARGEST_KEY = 32, 1 << 16
_LAST_SEQUENCE = 2**63 - 1
_LAST_SECOND = 253402300799  # the end of the year 9999, the last that a calendar of Python knows
_NONCE, _PROFILE = re.compile(r"([0-9a-f]{32})?"), re.compile(r"[0-9a-f]{0,64}")
_MOST_ROOM = 127  # half of the levels
_FIRST_WITHIN_S, _DELAYED_BY_S = 10.0, 3.0


@dataclass(frozen=True)
class Seal:
    """What the segment says.

    Attributes:
        sequence: number of the frame at the sensor, 0..2^63-1; grows from frame to frame of a stream.
        captured_at: Unix seconds by the sensor's clock, 0 up to the year 9999.
        nonce: the receiver's, 32 hexadecimal digits; empty where it gave none.
        profile: SHA-256 of pass 1's profile.
        room: of that profile, 0..127: the levels of a PNG keep it. Left out where it is 0.
    """

    sequence: int
    captured_at: float
    nonce: str
    profile: str
    room: int = 0


#: Why a frame is refused: what its seal lacks, or what somebody did to it on its way.
Refusal = Literal["no seal", "damaged seal", "wrong MAC", "replayed", "out of order", "held back"]


class SealError(JpegError):
    """A frame that is not what the sensor sent: forged, damaged, of another stream, or out of order.

    Attributes:
        kind: which of these.
    """

    def __init__(self, message: str, kind: Refusal = "damaged seal") -> None:
        super().__init__(message)
        self.kind: Refusal = kind


def seal_jpeg(data: bytes, seal: Seal, key: bytes | None = None) -> bytes:
    """A JPEG with the segment.

    Args:
        data: a JPEG without one.
        seal: what it says.
        key: of the MAC; None leaves the MAC zero.

    Example:
        >>> from edgeguard.guard import GuardProfile, encode_jpeg
        >>> import numpy as np
        >>> jpeg = encode_jpeg(np.zeros((16, 16, 3), np.uint8), GuardProfile.preset("fd-jpeg"))
        >>> sealed = seal_jpeg(jpeg, Seal(1, 0.0, "", "00"), bytes(32))
        >>> verify_seal(sealed, bytes(32)).sequence
        1
    """
    payload = _payload(seal)
    segment = bytes([0xFF, 0xE0 + APP]) + (len(payload) + 2).to_bytes(2, "big") + payload
    sealed = data[:2] + segment + data[2:]
    if key is None:
        return sealed
    end = 2 + len(segment)
    return sealed[: end - _MAC_BYTES] + _mac(sealed, key) + sealed[end:]


def seal_png(data: bytes, seal: Seal, key: bytes | None = None) -> bytes:
    """A PNG (`png.frame.write_png`) with the chunk; see `seal_jpeg`."""
    payload, head, rest = _payload(seal), data[:EXTRA_AT], data[EXTRA_AT:]
    if key is not None:
        blank = head + len(payload).to_bytes(4, "big") + CHUNK + payload + bytes(4) + rest
        payload = payload[:-_MAC_BYTES] + _mac(blank, key)
    return head + chunk(CHUNK, payload) + rest


def is_sealed(data: bytes) -> bool:
    """Whether a JPEG begins with a seal, whatever it says; looks at a few bytes only."""
    return data[:4] == bytes([0xFF, 0xD8, 0xFF, 0xE0 + APP]) and data[6 : 6 + len(TAG)] == TAG


def read_seal(info: JpegInfo | PngInfo) -> Seal | None:
    """What the first segment of a JPEG, or the chunk of a PNG, says, unproven; None where there is none.

    Raises:
        SealError: there is one that cannot be read.
    """
    if isinstance(info, PngInfo):
        return _parse(info.extra[1]) if info.extra is not None and info.extra[0] == CHUNK else None
    payload = next((p for number, p in info.app_segments if number == APP and p.startswith(TAG)), None)
    return None if payload is None else _parse(payload)


def is_sealed_png(data: bytes) -> bool:
    r"""True for a PNG that claims to come from a sensor: the place of the seal is not empty.

    Example:
        >>> is_sealed_png(b"\x89PNG\r\n\x1a\n and more")
        False
    """
    return data[: len(SIGNATURE)] == SIGNATURE and data[EXTRA_AT + 4 : EXTRA_AT + 8] == CHUNK


def verify_seal(data: bytes, key: bytes) -> Seal:
    """What a sealed JPEG or PNG says, proven.

    Raises:
        SealError: no segment or chunk at its place, more than one, or a MAC that is not the key's.
        JpegError: the file is no whole JPEG, or no PNG of a sensor.
    """
    _check_mac(data, key)  # nothing of the file is parsed before it is known to be the sensor's
    if data[: len(SIGNATURE)] == SIGNATURE:
        return _parse((read_png_info(data).extra or (b"", b""))[1])
    info = read_whole_jpeg(data)
    segments = [p for number, p in info.app_segments if number == APP and p.startswith(TAG)]
    if len(segments) != 1:
        raise SealError("the frame has more than one seal")
    return _parse(segments[0])


def _check_mac(data: bytes, key: bytes) -> None:
    """The MAC stands at the end of the first segment or chunk, whatever the rest of the file is."""
    is_png = data[: len(SIGNATURE)] == SIGNATURE
    start, end = _png_payload(data) if is_png else _jpeg_payload(data)
    if data[start : start + len(TAG)] != TAG:
        raise SealError("the frame is not sealed, or its seal is not at its place", "no seal")
    if not _FIXED + _MAC_BYTES < end - start <= _FIXED + _MOST_JSON + _MAC_BYTES or end > len(data):
        raise SealError("the frame's seal is damaged")
    mac, blank_to = end - _MAC_BYTES, end + (4 if is_png else 0)
    blank = data[:mac] + bytes(blank_to - mac) + data[blank_to:]
    if not hmac.compare_digest(data[mac:end], _mac(blank, key)):
        raise SealError("the frame is forged or damaged: its MAC is not the key's", "wrong MAC")


def _jpeg_payload(data: bytes) -> tuple[int, int]:
    """Where the payload of the first segment begins and ends; nowhere where that is no seal's."""
    sealed = data[:4] == bytes([0xFF, 0xD8, 0xFF, 0xE0 + APP])
    return (6, 4 + int.from_bytes(data[4:6], "big")) if sealed else (0, 0)


def _png_payload(data: bytes) -> tuple[int, int]:
    """Where the payload of the chunk behind IHDR begins and ends; nowhere where that is no seal's."""
    start = EXTRA_AT + 8
    sealed = data[start - 4 : start] == CHUNK
    return (start, start + int.from_bytes(data[EXTRA_AT : start - 4], "big")) if sealed else (0, 0)


class SealChecker:
    """A receiver's check of a stream: proven, of this stream, later than the one before, and not held back.

    Two clocks need not agree, so a delay is what a frame took longer than the quickest one of the stream. The first
    frame has to arrive within 10 s of the nonce; each one may take at most 3 s longer than the quickest: nobody can
    show a picture that is more than 13 s old. A clock that is set back at the sensor looks like a delay; the frames are
    refused until the receiver connects again.

    Args:
        key: shared with the sensor.
        nonce: this connection's, which the sensor must have sealed in.

    Example:
        >>> checker = SealChecker(bytes(32), "ab" * 16)  # doctest: +SKIP
        >>> checker.check(frame).sequence  # doctest: +SKIP
        7
    """

    def __init__(self, key: bytes, nonce: str) -> None:
        self._key, self._nonce, self._last = key, nonce, -1
        self._began = time.monotonic()
        self._quickest: float | None = None

    def check(self, data: bytes, arrived_at: float | None = None) -> Seal:
        """The frame's seal.

        Args:
            data: the JPEG or PNG.
            arrived_at: monotonic time of its arrival, in seconds; now by default.

        Raises:
            SealError: forged, of another stream (replayed), not later than the frame before (replayed, reordered), or
                held back on its way.
        """
        now = time.monotonic() if arrived_at is None else arrived_at
        seal = verify_seal(data, self._key)
        if not hmac.compare_digest(seal.nonce, self._nonce):
            raise SealError("the frame is of another stream: replayed", "replayed")
        if seal.sequence <= self._last:
            kind: Refusal = "replayed" if seal.sequence == self._last else "out of order"
            raise SealError(f"the frame is out of order: number {seal.sequence} after {self._last}", kind)
        took = now - seal.captured_at
        if self._quickest is None and now - self._began > _FIRST_WITHIN_S:
            raise SealError("the frame was held back: the stream's first one came too late", "held back")
        if self._quickest is not None and took - self._quickest > _DELAYED_BY_S:
            raise SealError(
                f"the frame was held back for {took - self._quickest:.1f} s (or the sensor's clock was set)",
                "held back",
            )
        self._quickest = took if self._quickest is None else min(took, self._quickest)
        self._last = seal.sequence
        return seal


def read_key(path: Path) -> bytes:
    """The key in a file: at least 32 bytes, readable by its owner alone.

    Raises:
        ValueError: others can read it, it is too short, or it cannot be read.
    """
    try:
        mode, key = path.stat().st_mode, read_bounded(path, _LARGEST_KEY, "the key file").strip()
    except OSError as error:
        raise ValueError(f"cannot read the key file {path}: {error.strerror}") from error
    except InputError as error:
        raise ValueError(str(error)) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"others can read the key file {path}: chmod 600 {path}, and make a new key")
    if len(key) < _LEAST_KEY:
        raise ValueError(f"{path}: a key has at least {_LEAST_KEY} bytes (openssl rand -hex 32 makes one)")
    return key


def _payload(seal: Seal) -> bytes:
    """What the segment or chunk holds, with an empty MAC."""
    fields = {name: value for name, value in asdict(seal).items() if name != "room" or value}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return TAG + bytes([VERSION]) + len(text).to_bytes(4, "big") + text + _NO_MAC


def _parse(payload: bytes) -> Seal:
    length = int.from_bytes(payload[len(TAG) + 1 : _FIXED], "big")
    if len(payload) < _FIXED or payload[len(TAG)] != VERSION:
        raise SealError("the frame's seal is of another version")
    if length > _MOST_JSON or len(payload) != _FIXED + length + _MAC_BYTES:
        raise SealError("the frame's seal is damaged")
    try:
        seal = Seal(**json.loads(payload[_FIXED : _FIXED + length]))
    except (ValueError, TypeError, RecursionError) as error:
        raise SealError("the frame's seal is damaged") from error
    if not (
        isinstance(seal.sequence, int)
        and _is_number(seal.sequence, _LAST_SEQUENCE)
        and _is_number(seal.captured_at, _LAST_SECOND)
        and isinstance(seal.nonce, str)
        and _NONCE.fullmatch(seal.nonce)
        and isinstance(seal.profile, str)
        and _PROFILE.fullmatch(seal.profile)
        and isinstance(seal.room, int)
        and _is_number(seal.room, _MOST_ROOM)
    ):
        raise SealError("the frame's seal is damaged")
    return seal


def _is_number(value: object, most: int) -> bool:
    """0..most; compared as it is, since a whole number of JSON may be too large for a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most


def _mac(blank: bytes, key: bytes) -> bytes:
    return hmac.new(key, blank, hashlib.sha256).digest()
