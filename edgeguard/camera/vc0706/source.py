"""VC0706 (PTC08, TTL JPEG cameras) as a source: `serial:vc0706:/dev/ttyUSB0?baud=115200&size=640x480`."""

from collections.abc import Iterator
from typing import Any

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.serial_frames import serial_frames
from edgeguard.camera.serial_port import open_port, parse_serial_spec
from edgeguard.camera.source import Applied, Captured, Lost
from edgeguard.camera.vc0706.protocol import BAUD_CODES, DEFAULT_BAUD, SIZE_CODES, ProtocolError, Vc0706Line
from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import DeviceError, InputError, JpegError


class Vc0706:
    """Frames of the camera, each frozen, read in chunks, and let go.

    The camera is found at whatever rate it speaks, then switched.

    Args:
        spec: `serial:vc0706:PORT`, with `baud` (9600 to 115200), `size` and `compression` (0 to 255) after a `?`.

    Raises:
        InputError: not such a spec.
        DeviceError: no port, no permission, or what answers is no VC0706.
    """

    live = True

    def __init__(self, spec: str) -> None:
        port, options = parse_serial_spec(spec, "vc0706", {"baud", "size", "compression"})
        self.name = f"serial:vc0706:{port}"
        baud, size, compression = _options(spec, options)
        self.line = Vc0706Line(open_port(port, DEFAULT_BAUD))
        self._closed = False
        try:
            version = self.line.find()
            self.line.switch(baud)
            self.line.set_up(size, compression)
        except ProtocolError as error:
            self.close()
            raise DeviceError(f"{self.name} does not answer like a VC0706: {error}") from error
        except OSError as error:
            self.close()
            raise DeviceError(f"{self.name} was lost: {error}") from error
        self.applied = Applied(*size, f"JPEG, {version}, {baud} baud")

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the camera is lost; one that cannot be read whole is `Lost`."""
        return serial_frames(self.name, self._take, ProtocolError, lambda: self._closed)

    def _take(self, index: int, taken_at: float) -> Captured | Lost:
        return _decodable(from_jpeg(index, self.name, self.line.frame(), taken_at))

    def close(self) -> None:
        """Close the port; wakes a thread that reads."""
        self._closed = True
        self.line.close()


def _decodable(item: Captured | Lost) -> Captured | Lost:
    """Without a checksum a flipped bit can sit in a header that only the decoder looks into; 1/4 size is cheap."""
    try:
        if isinstance(item, Captured) and item.jpeg is not None:
            decode_whole(item.jpeg, 4)
    except JpegError as error:
        return Lost(item.index, item.source, str(error))
    return item


def identify(port: str) -> str | None:
    """What a VC0706 on this port says of itself, at any of its rates; None where none answers.

    Raises:
        DeviceError: the port cannot be opened.
    """
    line = Vc0706Line(open_port(port, DEFAULT_BAUD))
    try:
        return f"VC0706 ({line.find()}) at {line.baud} baud"
    except (ProtocolError, OSError):
        return None
    finally:
        line.close()


def _options(spec: str, options: dict[str, Any]) -> tuple[int, tuple[int, int], int | None]:
    try:
        baud = int(options.get("baud", 115200))
        width, _, height = str(options.get("size", "320x240")).partition("x")
        size = int(width), int(height)
        compression = int(options["compression"]) if "compression" in options else None
    except ValueError as error:
        raise InputError(f"{spec}: baud and compression are numbers, size is WIDTHxHEIGHT") from error
    if baud not in BAUD_CODES:
        raise InputError(f"{spec}: baud is one of {', '.join(map(str, BAUD_CODES))}")
    if size not in SIZE_CODES:
        raise InputError(f"{spec}: size is one of {', '.join(f'{w}x{h}' for w, h in SIZE_CODES)}")
    if compression is not None and not 0 <= compression <= 255:
        raise InputError(f"{spec}: compression is 0 to 255")
    return baud, size, compression
