"""The OpenMV client against a double on a pty; it was not run on a board."""

import os
import pty
import struct
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from camera.openmv_double import OpenMvDouble
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, open_source
from edgeguard.camera.openmv.link import Picture
from edgeguard.camera.openmv.packet import Flag, Hurt, Packet, PacketReader, crc16, crc32
from edgeguard.camera.openmv.source import OpenMv, captured, from_rgb565, identify
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, encode_jpeg


@pytest.fixture(scope="module")
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    """Six different ones, shorter and longer than a packet."""
    small = [np.ascontiguousarray(scene[:120, :160]) for scene in scenes[:5]]
    return [encode_jpeg(rgb, GuardProfile.preset("fd-jpeg")) for rgb in small] + [
        encode_jpeg(scenes[0], GuardProfile.preset("jpeg:80"))
    ]


def _bitwise(data: bytes, polynomial: int, bits: int) -> int:
    """The definition, bit by bit: an oracle without tables."""
    value = (1 << bits) - 1
    for byte in data:
        for bit in range(7, -1, -1):
            top = value >> (bits - 1) & 1
            value = (value << 1) & ((1 << bits) - 1)
            if top ^ (byte >> bit & 1):
                value ^= polynomial
    return value


@given(st.binary(max_size=300))
def test_checksums_are_their_definitions(data: bytes) -> None:
    assert crc16(data) == _bitwise(data, 0xF94F, 16)
    assert crc32(data) == _bitwise(data, 0xFA567D89, 32)


packets = st.builds(
    Packet,
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 63).map(Flag),
    st.integers(0, 255),
    st.binary(max_size=200),
)


@given(st.lists(packets, max_size=6), st.lists(st.integers(1, 40), max_size=20), st.binary(max_size=9))
def test_packets_come_back_from_pieces_and_garbage(sent: list[Packet], pieces: list[int], garbage: bytes) -> None:
    wire = garbage.replace(b"\xaa", b"") + b"".join(packet.encoded() for packet in sent)
    reader, found = PacketReader(), []
    at = 0
    for size in [*pieces, len(wire)]:
        found += list(reader.feed(wire[at : at + size]))
        at += size
    assert found == sent


@given(packets.filter(lambda p: p.payload), st.data())
def test_a_flipped_bit_is_noticed(packet: Packet, data: st.DataObject) -> None:
    wire = bytearray(packet.encoded())
    bit = data.draw(st.integers(0, 8 * len(wire) - 1))
    wire[bit // 8] ^= 1 << bit % 8
    found = list(PacketReader().feed(bytes(wire)))
    assert not any(isinstance(one, Packet) and one.payload == packet.payload for one in found)
    if bit >= 80:
        assert found[:1] == [Hurt(packet.sequence)]


def _take(camera: OpenMv, count: int) -> list[Captured | Lost]:
    items: list[Captured | Lost] = []
    for item in camera.frames():
        items.append(item)
        if len(items) == count:
            break
    return items


def _opened(spec: str) -> OpenMv:
    camera = open_source(spec)
    assert isinstance(camera, OpenMv)
    return camera


@pytest.mark.parametrize("header_bytes", [20, 32])
def test_the_boards_own_bytes(jpegs: list[bytes], header_bytes: int) -> None:
    with OpenMvDouble(jpegs, header_bytes=header_bytes) as double:
        double.busy_every = 4
        camera = _opened(f"serial:openmv:{double.port}")
        items = _take(camera, 9)
        assert [item.jpeg for item in items if isinstance(item, Captured)] == [jpegs[i % 6] for i in range(9)]
        assert camera.link.retried == 0 and camera.link.resyncs == 1
        assert camera.link.version() == bytes(range(16))
        double.printed = b"Traceback: no memory\n"
        assert camera.link.printed() == "Traceback: no memory\n" and camera.link.printed() == ""
        camera.close()


def test_a_script_is_uploaded_in_parts_and_started(jpegs: list[bytes], tmp_path: Path) -> None:
    script = tmp_path / "snap.py"
    script.write_bytes(b"# take pictures\n" * 700)  # longer than two packets
    with OpenMvDouble(jpegs) as double:
        camera = _opened(f"serial:openmv:{double.port}?script={script}")
        assert double.scripts == [script.read_bytes()]
        assert isinstance(_take(camera, 1)[0], Captured)
        camera.close()


def test_a_port_is_asked_what_is_there(jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.camera.openmv.link._ANSWER_S", 0.02)
    with OpenMvDouble(jpegs) as double:
        assert "stream" in (identify(double.port) or "")
        double.silent = True
        assert identify(double.port) is None


def through_hurt_packets(jpegs: list[bytes], frames: int, hurt: float) -> tuple[int, int, int]:
    """Frames taken whole, lost ones, and the longest row of lost ones; a frame that was not sent is a failure."""
    whole = lost = row = longest = 0
    with OpenMvDouble(jpegs, seed=5) as double:
        camera = _opened(f"serial:openmv:{double.port}")
        double.hurt = hurt
        for item in camera.frames():
            if isinstance(item, Captured):
                assert item.jpeg in jpegs
                whole, row = whole + 1, 0
            else:
                lost, row = lost + 1, row + 1
                longest = max(longest, row)
            if whole + lost == frames:
                break
        assert double.hurt_count > 0 and camera.link.retried > 0
        camera.close()
    return whole, lost, longest


@pytest.mark.full
def test_hurt_packets_are_asked_for_again(jpegs: list[bytes]) -> None:
    whole, _, longest = through_hurt_packets(jpegs, 60, 0.03)
    assert whole >= 57 and longest <= 2


@pytest.mark.full
def test_ten_thousand_frames_with_one_packet_of_a_hundred_hurt(jpegs: list[bytes]) -> None:
    whole, lost, longest = through_hurt_packets(jpegs, 10_000, 0.01)
    print(f"{whole} whole, {lost} lost, at most {longest} in a row")
    assert longest <= 2


@pytest.mark.full
@pytest.mark.parametrize("baud", [115200, 921600])
def test_ninety_percent_of_the_line_rate(scenes: list[NDArray[np.uint8]], baud: int) -> None:
    """Bytes of JPEGs a second against a tenth of the rate in bits, on a double that keeps to it."""
    jpeg = encode_jpeg(scenes[0], GuardProfile.preset("jpeg:95"))
    with OpenMvDouble([jpeg], baud=baud) as double:
        camera = _opened(f"serial:openmv:{double.port}?baud={baud}")
        _take(camera, 1)
        began = time.monotonic()
        frames = _take(camera, 10)
        share = 10 * sum(len(f.jpeg or b"") for f in frames if isinstance(f, Captured)) / (
            time.monotonic() - began
        ) / baud  # fmt: skip
        camera.close()
    print(f"{len(jpeg)} bytes a frame, {share:.1%} of the line rate at {baud}")
    assert share >= 0.9


def test_a_board_that_was_restarted_is_talked_to_again(jpegs: list[bytes]) -> None:
    with OpenMvDouble(jpegs) as double:
        camera = _opened(f"serial:openmv:{double.port}")
        assert isinstance(_take(camera, 1)[0], Captured)
        double._expected, double._streaming = 77, False  # it has forgotten the conversation
        items = _take(camera, 3)
        assert isinstance(items[0], Lost) and all(isinstance(item, Captured) for item in items[1:])
        camera.close()


def _unplug_later(double: OpenMvDouble) -> None:
    threading.Timer(0.3, double.unplug).start()


def _fall_silent_later(double: OpenMvDouble) -> None:
    threading.Timer(0.3, lambda: setattr(double, "silent", True)).start()


@pytest.mark.full
@pytest.mark.parametrize("fault", [_unplug_later, _fall_silent_later])
def test_a_board_that_goes(
    jpegs: list[bytes], fault: Callable[[OpenMvDouble], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeguard.camera.openmv.link._ANSWER_S", 0.02)
    with OpenMvDouble(jpegs, baud=921600) as double:
        camera = _opened(f"serial:openmv:{double.port}")
        fault(double)
        with pytest.raises(DeviceError, match=r"was lost|answers no more"):
            _take(camera, 100_000)
        camera.close()


def test_what_cannot_be_opened(jpegs: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.camera.openmv.link._ANSWER_S", 0.02)
    (tmp_path / "empty.py").write_bytes(b"")
    for spec, said in (
        ("serial:openmv:", "wanted serial:openmv:PORT"),
        ("serial:openmv:/dev/x?baud=fast", "baud is a number"),
        ("serial:openmv:/dev/x?script=/none.py", "cannot read the script"),
        (f"serial:openmv:/dev/x?script={tmp_path}/empty.py", "has 0 bytes"),
        ("serial:other:/dev/x", "serial:openmv:PORT"),
    ):
        with pytest.raises(InputError, match=said):
            open_source(spec)
    with pytest.raises(DeviceError, match="there is no serial port /dev/ttyNONE"):
        open_source("serial:openmv:/dev/ttyNONE")
    with OpenMvDouble(jpegs) as double:
        double.silent = True
        with pytest.raises(DeviceError, match="does not answer like an OpenMV board at 921600 baud"):
            open_source(f"serial:openmv:{double.port}")


def test_raw_frames(scene: NDArray[np.uint8]) -> None:
    gray = captured(0, "x", Picture(4, 2, 0x08020001, bytes(range(8))), 1.0)
    assert isinstance(gray, Captured) and gray.rgb is not None
    assert gray.rgb.shape == (2, 4, 3) and gray.rgb[1, 3].tolist() == [7, 7, 7]
    pixels = np.array([[0xFFFF, 0x0000, 0xF800, 0x07E0, 0x001F]], np.uint16)
    assert from_rgb565(pixels).tolist() == [[[255] * 3, [0] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    color = captured(0, "x", Picture(5, 1, 0x0C030002, pixels.astype("<u2").tobytes()), 1.0)
    assert isinstance(color, Captured) and color.rgb is not None and color.rgb[0, 2].tolist() == [255, 0, 0]
    for picture, said in (
        (Picture(5, 5, 0x08020001, b"few"), "3 bytes for 5x5"),
        (Picture(5, 5, 0x12345678, b"x"), "0x12345678 is not known"),
        (Picture(5, 5, 0x06060000, b"\xff\xd8 no"), ""),
    ):
        lost = captured(0, "x", picture, 1.0)
        assert isinstance(lost, Lost) and said in lost.reason


class _Vcp(threading.Thread):
    """OpenMV's usb_vcp example on a pty."""

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.port, self.answers = os.ttyname(self.slave), answers

    def run(self) -> None:
        for answer in self.answers:
            asked = b""
            while asked != b"snap":
                asked += os.read(self.master, 4 - len(asked))
            for at in range(0, len(answer), 1000):
                os.write(self.master, answer[at : at + 1000])


@pytest.mark.full
def test_usb_vcp(jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.camera.openmv.source._VCP_TIMEOUT_S", 0.2)
    good = [struct.pack("<L", len(jpeg)) + jpeg for jpeg in jpegs]
    hurt = [
        struct.pack("<L", 1 << 30), struct.pack("<L", 500) + b"short", struct.pack("<L", 8) + b"no JPEG.", b""
    ]  # fmt: skip
    board = _Vcp([good[0], *hurt, good[1], good[5]])
    board.start()
    camera = open_source(f"serial:openmv-vcp:{board.port}")
    items = []
    for item in camera.frames():
        items.append(item)
        if len(items) == 7:
            break
    assert [item.jpeg if isinstance(item, Captured) else None for item in items] == [
        jpegs[0], None, None, None, None, jpegs[1], jpegs[5],
    ]  # fmt: skip
    reasons = [item.reason for item in items if isinstance(item, Lost)]
    assert "1073741824 bytes" in reasons[0] and "5 of 500" in reasons[1] and "like a JPEG" in reasons[2]
    with pytest.raises(DeviceError, match="answers no more"):
        list(camera.frames())
    camera.close()
    os.close(board.master)
    os.close(board.slave)
