"""Setting cameras from here, against doubles on a pty and a fake driver; nothing was run on a device."""

import errno
import struct
from pathlib import Path

import numpy as np
import pytest
from camera.openmv_double import OpenMvDouble
from camera.vc0706_double import Vc0706Double
from numpy.typing import NDArray

from edgeguard.errors import CheckFailed, DeviceError, InputError
from edgeguard.firmware.apply import apply
from edgeguard.firmware.board import board
from edgeguard.guard import GuardProfile, encode_jpeg

FD_JPEG = GuardProfile.preset("fd-jpeg")


def test_the_register_of_a_vc0706_is_written_and_read_back() -> None:
    with Vc0706Double([b""]) as double:
        said = apply(board("vc0706"), double.port, None, 110)
        assert double.registers[b"\x01\x01\x12\x04"] == 110
        assert "holds a compression of 110" in said[0]
        apply(board("vc0706"), double.port, FD_JPEG)
        assert double.registers[b"\x01\x01\x12\x04"] == 143  # the coarsest that the manual names
        double.silent = True
        with pytest.raises(DeviceError, match="nothing at"):
            apply(board("vc0706"), double.port, None, 110)


def test_a_script_is_uploaded_and_its_first_picture_is_looked_at(
    scene: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenMvDouble([encode_jpeg(scene, GuardProfile.preset("jpeg:50"))]) as double:
        said = apply(board("openmv-stm32"), double.port, FD_JPEG)
        assert b"to_jpeg(quality=50" in double.scripts[0]
        assert "IJG quality 50" in said[1] and "320x240" in said[1]
        own = tmp_path / "mine.py"
        own.write_bytes(b"print(1)\n")
        apply(board("openmv-csi"), double.port, None, None, own)
        assert double.scripts[1] == own.read_bytes()
        monkeypatch.setattr("edgeguard.firmware.apply._FRAME_S", 0.1)
        double.busy_every, double.printed = 1, b"Traceback\nOSError: no sensor\n"
        with pytest.raises(CheckFailed, match="no JPEG came .*the board says: OSError: no sensor"):
            apply(board("openmv-csi"), double.port, None, None, own)


class _Driver:
    """A V4L2 device that holds controls; `coarse` keeps only multiples of it."""

    def __init__(self, coarse: int = 1, error: int | None = None) -> None:
        self.held, self.coarse, self.error = dict[int, int](), coarse, error

    def __call__(self, fd: int, request: int, data: bytes) -> bytes:
        if self.error is not None:
            raise OSError(self.error, "refused")
        control, value = struct.unpack("=Ii", data)
        if request == 0xC008561C:
            self.held[control] = value - value % self.coarse
        return struct.pack("=Ii", control, self.held[control])


def test_a_v4l2_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "video0"
    device.write_bytes(b"")
    one = board("pi-legacy-camera")
    driver = _Driver()
    monkeypatch.setattr("fcntl.ioctl", driver)
    assert "holds a JPEG quality of 40" in apply(one, str(device), None, 40)[0]
    assert driver.held == {0x009D0903: 40}
    apply(one, str(device), GuardProfile.preset("jpeg:73"))
    assert driver.held == {0x009D0903: 73}
    monkeypatch.setattr("fcntl.ioctl", _Driver(coarse=10))
    with pytest.raises(CheckFailed, match="holds 40, 45 was set"):
        apply(one, str(device), None, 45)
    for number, kind in ((errno.EINVAL, InputError), (errno.ENODEV, DeviceError)):
        monkeypatch.setattr("fcntl.ioctl", _Driver(error=number))
        with pytest.raises(kind):
            apply(one, str(device), None, 45)
    with pytest.raises(DeviceError, match="cannot open"):
        apply(one, str(tmp_path / "video9"), None, 45)


def test_what_cannot_be_set_from_here() -> None:
    for name, said in (
        ("esp32-cam-ov2640", "cannot be set from here: SCCB"),
        ("pi4-jpeg", "cannot be set from here: V4L2_CID_JPEG_COMPRESSION_QUALITY = VALUE, on the encoding"),
        ("uvc-webcam", "cannot be set from here"),
    ):
        with pytest.raises(InputError, match=said):
            apply(board(name), "/dev/x", FD_JPEG)
    with pytest.raises(InputError, match="wants --value, or --guard"):
        apply(board("vc0706"), "/dev/x", None)
    with pytest.raises(InputError, match="takes 54 to 143, got 400"):
        apply(board("vc0706"), "/dev/x", None, 400)
    with pytest.raises(InputError, match="wants --guard, or a --script"):
        apply(board("openmv-csi"), "/dev/x", None)
    with pytest.raises(InputError, match="cannot read"):
        apply(board("openmv-csi"), "/dev/x", None, None, Path("/none.py"))
    with pytest.raises(DeviceError, match="there is no serial port"):
        apply(board("vc0706"), "/dev/ttyNONE", None, 110)
