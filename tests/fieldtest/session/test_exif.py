"""What a camera writes into its EXIF header never costs a frame."""

import struct

import numpy as np
import pytest

from edgeguard.fieldtest.session.session import _exposure
from edgeguard.guard import GuardProfile, encode_jpeg


def _with_exif(tiff: bytes) -> bytes:
    jpeg = encode_jpeg(np.full((16, 16, 3), 90, np.uint8), GuardProfile.preset("fd-jpeg"))
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _directory(*entries: tuple[int, int, int, int]) -> bytes:
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + fields + struct.pack("<I", 0)


def _exposed(numerator: int, denominator: int) -> bytes:
    """A header whose second directory holds the exposure time as a fraction."""
    first = _directory((0x8769, 4, 1, 26))
    second = _directory((0x829A, 5, 1, 26 + 18))
    return b"II*\0" + struct.pack("<I", 8) + first + second + struct.pack("<II", numerator, denominator)


def test_the_exposure_of_a_good_header_is_read() -> None:
    assert _exposure(_with_exif(_exposed(1, 50))) == {"exposure_s": 0.02}


@pytest.mark.parametrize(
    "tiff",
    [
        b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(40), _exposed(1, 0), _exposed(0, 0),
        b"II*\0" + struct.pack("<I", 8) + _directory((0x8769, 4, 1, 8)),  # a directory that names itself
        b"II*\0" + struct.pack("<I", 8) + _directory((0x8769, 2, 1 << 31, 1 << 30)),
        b"II*\0" + struct.pack("<I", 8) + _directory((0x8769, 4, 1, 26)) + _directory((0x829A, 2, 4, 7)),
    ],
)  # fmt: skip
def test_a_damaged_header_says_nothing(tiff: bytes) -> None:
    assert _exposure(_with_exif(tiff)) == {}
