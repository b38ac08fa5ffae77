"""OpenMV boards as sources: `serial:openmv:/dev/ttyACM0?script=snap.py`, `serial:openmv-vcp:/dev/ttyACM0`."""

import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.openmv.link import DEFAULT_BAUD, LinkError, OpenMvLink, Picture
from edgeguard.camera.serial_frames import serial_frames
from edgeguard.camera.serial_port import open_port, parse_serial_spec
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.errors import DeviceError, InputError
from edgeguard.system.foreign import read_bounded

JPEG, RGB565, GRAYSCALE = 0x06060000, 0x0C030002, 0x08020001
_MOST_SCRIPT_BYTES = 1 << 20
_VCP_MOST_BYTES = 4 << 20
_VCP_TIMEOUT_S = 3.0


class OpenMv:
    """Frames of a board that speaks OpenMV's protocol; the script that takes them runs on it already or is uploaded.

    Args:
        spec: `serial:openmv:PORT`, with `baud` and `script` (a file, uploaded and started) after a `?`.

    Raises:
        InputError: not such a spec, or no such script.
        DeviceError: no port, no permission, or what answers is no such board.
    """

    live = True

    def __init__(self, spec: str) -> None:
        port, options = parse_serial_spec(spec, "openmv", {"baud", "script"})
        self.name = f"serial:openmv:{port}"
        baud = baud_of(spec, options)
        self._script = _script(options.get("script"))
        self.link = OpenMvLink(open_port(port, baud))
        self._closed = False
        try:
            self._begin()
        except LinkError as error:
            self.close()
            raise DeviceError(f"{self.name} does not answer like an OpenMV board at {baud} baud: {error}") from error
        except OSError as error:
            self.close()
            raise DeviceError(f"{self.name} was lost: {error}") from error
        self.applied = Applied(format=f"OpenMV, {baud} baud")

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the board is lost; one that cannot be read whole is `Lost`, and both sides begin anew."""
        return serial_frames(self.name, self._take, LinkError, lambda: self._closed, self._begin)

    def close(self) -> None:
        """Close the port; wakes a thread that reads."""
        self._closed = True
        self.link.close()

    def _begin(self) -> None:
        self.link.open()
        if self._script is not None:
            self.link.run_script(self._script)
            self._script = None  # after a loss of words it still runs
        self.link.stream(True)

    def _take(self, index: int, taken_at: float) -> Captured | Lost:
        return captured(index, self.name, self.link.picture(), taken_at)


class OpenMvVcp:
    """OpenMV's `usb_vcp` example: the host writes `snap`, the board returns a u32 size and a JPEG.

    The protocol has no checksum; the length and the JPEG itself are checked.

    Args:
        spec: `serial:openmv-vcp:PORT`, with `baud` after a `?`.

    Raises:
        InputError: not such a spec.
        DeviceError: no port, no permission.
    """

    live = True

    def __init__(self, spec: str) -> None:
        port, options = parse_serial_spec(spec, "openmv-vcp", {"baud"})
        self.name = f"serial:openmv-vcp:{port}"
        self._port = open_port(port, baud_of(spec, options))
        self._closed = False
        self.applied = Applied(format="JPEG, OpenMV usb_vcp")

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the board is lost."""
        return serial_frames(self.name, self._take, LinkError, lambda: self._closed, self._drain)

    def close(self) -> None:
        """Close the port; wakes a thread that reads."""
        self._closed = True
        self._port.cancel_read()
        self._port.close()

    def _take(self, index: int, taken_at: float) -> Captured | Lost:
        return from_jpeg(index, self.name, self._snap(), taken_at)

    def _snap(self) -> bytes:
        self._port.write(b"snap")
        (size,) = struct.unpack("<L", self._read(4))
        if not 4 <= size <= _VCP_MOST_BYTES:
            raise LinkError(f"the board announces a frame of {size} bytes")
        data = self._read(size)
        if not (data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(b"\xff\xd9")):
            raise LinkError("the frame does not begin and end like a JPEG")
        return data.rstrip(b"\0")

    def _read(self, count: int) -> bytes:
        self._port.timeout = _VCP_TIMEOUT_S + 12 * count / self._port.baudrate
        data: bytes = self._port.read(count)
        if len(data) < count:
            raise LinkError(f"{len(data)} of {count} bytes came")
        return data

    def _drain(self) -> None:
        self._port.timeout = 0.1
        end = time.monotonic() + 2
        while self._port.read(4096) and time.monotonic() < end:
            pass


def captured(index: int, name: str, picture: Picture, taken_at: float) -> Captured | Lost:
    """A board's frame as ours: JPEGs keep their bytes, RGB565 and grey ones are raw frames."""
    if picture.pixel_format == JPEG:
        return from_jpeg(index, name, picture.data, taken_at)
    count = picture.width * picture.height
    try:
        if picture.pixel_format == GRAYSCALE:
            gray = np.frombuffer(picture.data, np.uint8, count).reshape(picture.height, picture.width)
            return Captured(index, name, None, np.repeat(gray[..., None], 3, axis=2), taken_at, "received")
        if picture.pixel_format == RGB565:
            pixels = np.frombuffer(picture.data, "<u2", count).reshape(picture.height, picture.width)
            return Captured(index, name, None, from_rgb565(pixels), taken_at, "received")
    except ValueError:
        return Lost(index, name, f"{len(picture.data)} bytes for {picture.width}x{picture.height}")
    return Lost(index, name, f"its pixel format {picture.pixel_format:#010x} is not known: let the script send JPEG")


def from_rgb565(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(h, w) to (h, w, 3), the low bits filled with the high ones, so that white stays white."""
    red, green, blue = pixels >> 11, pixels >> 5 & 63, pixels & 31
    levels = (red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2)
    return np.stack(levels, axis=2).astype(np.uint8)


def identify(port: str) -> str | None:
    """What a board on this port is, or None where none answers.

    Raises:
        DeviceError: the port cannot be opened.
    """
    link = OpenMvLink(open_port(port, DEFAULT_BAUD))
    try:
        link.open()
        return f"OpenMV (channels {', '.join(link.channels.values())}) at {DEFAULT_BAUD} baud"
    except (LinkError, OSError):
        return None
    finally:
        link.close()


def baud_of(spec: str, options: dict[str, Any]) -> int:
    """The rate of a spec's options.

    Raises:
        InputError: it is none.
    """
    text = str(options.get("baud", DEFAULT_BAUD))
    if not text.isdecimal() or not 1200 <= int(text[:9]) <= 12_000_000:
        raise InputError(f"{spec}: baud is a number from 1200 to 12000000")
    return int(text)


def _script(path: str | None) -> bytes | None:
    if path is None:
        return None
    script = read_bounded(path, 1 << 20, "the script")
    if not script or len(script) > _MOST_SCRIPT_BYTES:
        raise InputError(f"the script {path} has {len(script)} bytes; 1 to {_MOST_SCRIPT_BYTES} are taken")
    return script
