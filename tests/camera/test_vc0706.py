"""The VC0706 client against a double on a pty; it was not run on a device."""

import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from camera.vc0706_double import Vc0706Double
from numpy.typing import NDArray

from edgeguard.camera import Captured, Lost, open_source
from edgeguard.camera.vc0706.source import Vc0706, identify
from edgeguard.errors import DeviceError, InputError, JpegError
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg.decode import decode_rgb


@pytest.fixture
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    """Of lengths that are and are not multiples of 8, one longer than a chunk."""
    small = [np.ascontiguousarray(scene[:120, :160]) for scene in scenes[:4]]
    return [encode_jpeg(rgb, GuardProfile.preset("jpeg:60")) for rgb in small] + [
        encode_jpeg(scenes[0], GuardProfile.preset("jpeg:90"))
    ]


def _take(camera: Vc0706, count: int) -> list[Captured | Lost]:
    items: list[Captured | Lost] = []
    for item in camera.frames():
        items.append(item)
        if len(items) == count:
            break
    return items


@pytest.mark.parametrize("baud", [9600, 38400, 115200])
def test_the_cameras_own_bytes_at_every_rate(jpegs: list[bytes], baud: int) -> None:
    with Vc0706Double(jpegs) as double:
        camera = open_source(f"serial:vc0706:{double.port}?baud={baud}&size=160x120&compression=100")
        assert isinstance(camera, Vc0706) and double.baud == baud
        assert double.registers == {b"\x01\x01\x12\x04": 100, b"\x04\x01\x00\x19": 0x22}
        assert camera.line.compression() == 100
        assert str(camera.applied) == f"JPEG, VC0703 1.00, {baud} baud, 160x120"
        items = _take(camera, 7)
        assert [item.jpeg for item in items if isinstance(item, Captured)] == [jpegs[i % 5] for i in range(7)]
        assert camera.line.refused == 0
        camera.close()


def test_a_camera_that_kept_another_rate_is_found(jpegs: list[bytes]) -> None:
    with Vc0706Double(jpegs) as double:
        first = open_source(f"serial:vc0706:{double.port}?baud=115200")
        first.close()
        second = open_source(f"serial:vc0706:{double.port}?baud=57600")
        assert isinstance(second, Vc0706) and double.baud == 57600 and len(_take(second, 2)) == 2
        second.close()


def test_a_port_is_asked_what_is_there(jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.camera.vc0706.protocol._REPLY_S", 0.05)
    with Vc0706Double(jpegs) as double:
        assert identify(double.port) == "VC0706 (VC0703 1.00) at 38400 baud"
        double.silent = True
        assert identify(double.port) is None


def _through_hurt_replies(jpegs: list[bytes], frames: int, hurt: float) -> tuple[int, int, int]:
    """Frames taken whole, lost ones, and whole ones that differ from what was sent (flips that nothing shows)."""
    whole = lost = wrong = 0
    with Vc0706Double(jpegs, hurt=hurt, seed=3) as double:
        double.hurt = 0.0
        camera = Vc0706(f"serial:vc0706:{double.port}")
        double.hurt = hurt
        for item in camera.frames():
            if isinstance(item, Captured):
                assert item.jpeg is not None and len(item.jpeg) in {len(jpeg) for jpeg in jpegs}
                try:
                    decode_rgb(item.jpeg)
                except JpegError:
                    pytest.fail("a frame that does not decode was given")
                whole, wrong = whole + 1, wrong + (item.jpeg not in jpegs)
            else:
                lost += 1
            if whole + lost == frames:
                break
        assert wrong <= double.payload_flips and camera.line.refused > 0
        camera.close()
    return whole, lost, wrong


def test_hurt_replies_are_asked_for_again(jpegs: list[bytes]) -> None:
    whole, lost, _ = _through_hurt_replies(jpegs, 40, 0.03)
    assert whole >= 38 and lost <= 2


@pytest.mark.full
def test_ten_thousand_frames_with_one_reply_of_a_hundred_hurt(jpegs: list[bytes]) -> None:
    whole, lost, wrong = _through_hurt_replies(jpegs, 10_000, 0.01)
    print(f"{whole} whole, {lost} lost, {wrong} of them with a flip that nothing shows")
    assert whole >= 9950


@pytest.mark.full
def test_ninety_percent_of_the_line_rate(scenes: list[NDArray[np.uint8]]) -> None:
    """Bytes of JPEGs a second against a tenth of the rate in bits, on a double that keeps to it."""
    jpeg = encode_jpeg(scenes[0], GuardProfile.preset("jpeg:95"))
    with Vc0706Double([jpeg], throttle=True) as double:
        camera = Vc0706(f"serial:vc0706:{double.port}?baud=115200")
        _take(camera, 1)
        began = time.monotonic()
        frames = _take(camera, 5)
        share = sum(len(f.jpeg or b"") for f in frames if isinstance(f, Captured)) / (time.monotonic() - began) / 11520
        camera.close()
    print(f"{len(jpeg)} bytes a frame, {share:.1%} of the line rate")
    assert share >= 0.9


def _unplug_later(double: Vc0706Double) -> None:
    threading.Timer(0.3, double.unplug).start()


def _fall_silent_later(double: Vc0706Double) -> None:
    threading.Timer(0.3, lambda: setattr(double, "silent", True)).start()


@pytest.mark.full
@pytest.mark.parametrize("fault", [_unplug_later, _fall_silent_later])
def test_a_camera_that_goes(
    jpegs: list[bytes], fault: Callable[[Vc0706Double], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeguard.camera.vc0706.protocol._REPLY_S", 0.05)
    with Vc0706Double(jpegs, throttle=True) as double:
        camera = Vc0706(f"serial:vc0706:{double.port}")
        fault(double)
        with pytest.raises(DeviceError, match=r"was lost|answers no more"):
            _take(camera, 10_000)
        camera.close()


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([], "this machine has none; plug the camera in, then edgeguard doctor lists its port"),
        (["/dev/ttyUSB1", "/dev/ttyACM0"], "this machine has /dev/ttyACM0, /dev/ttyUSB1; edgeguard firmware ports"),
    ],
)
def test_a_port_that_is_missing_leads_to_those_there(
    there: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serial.tools import list_ports

    from edgeguard.diagnostics import doctor

    monkeypatch.setattr(list_ports, "comports", lambda: [SimpleNamespace(device=name) for name in there])
    with pytest.raises(DeviceError, match=f"there is no serial port /dev/ttyNONE: {said}"):
        open_source("serial:vc0706:/dev/ttyNONE")
    found = doctor._serial_ports()
    assert found.text == (", ".join(sorted(there)) or "there are none") and found.advice


def test_what_cannot_be_opened(jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="there is no serial port /dev/ttyNONE"):
        open_source("serial:vc0706:/dev/ttyNONE")
    for spec, said in (
        ("serial:vc0706:", "wanted serial:vc0706:PORT"),
        ("serial:vc0706:/dev/x?speed=1", "unknown key 'speed'"),
        ("serial:vc0706:/dev/x?baud=1200", "baud is one of"),
        ("serial:vc0706:/dev/x?size=640", "are numbers, size is"),
        ("serial:vc0706:/dev/x?size=1x1", "size is one of"),
        ("serial:vc0706:/dev/x?compression=999", "compression is 0 to 255"),
        ("serial:webcam:/dev/x", "serial:vc0706:PORT"),
    ):
        with pytest.raises(InputError, match=said):
            open_source(spec)
    with Vc0706Double(jpegs) as double:
        double.silent = True
        monkeypatch.setattr("edgeguard.camera.vc0706.protocol._REPLY_S", 0.05)
        with pytest.raises(DeviceError, match="does not answer like a VC0706: nothing at 9600, 19200"):
            open_source(f"serial:vc0706:{double.port}")


def test_without_pyserial_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(InputError, match="pip install pyserial"):
        open_source("serial:vc0706:/dev/ttyUSB0")
