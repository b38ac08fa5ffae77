"""VC0706 (PTC08, TTL JPEG cameras) over a serial port: `serial:vc0706:/dev/ttyUSB0?baud=115200&size=640x480`.

Commands are `56 SN CMD LEN args`, replies `76 SN CMD STATUS LEN data` (VC0706 protocol manual). There is no checksum:
what is checked is the framing of each reply, the length that the camera announced, and the JPEG itself. A flipped bit
inside a chunk that leaves a whole JPEG is not seen.
"""

import time
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from edgeguard.camera.files import from_jpeg
from edgeguard.camera.frame import Applied, Captured, Lost
from edgeguard.camera.serial_port import open_port, parse_serial_spec
from edgeguard.errors import DeviceError, InputError

BAUD_CODES = {9600: 0xAEC8, 19200: 0x56E4, 38400: 0x2AF2, 57600: 0x1C1C, 115200: 0x0DA6}
SIZE_CODES = {(640, 480): 0x00, (320, 240): 0x11, (160, 120): 0x22}
_DEFAULT_BAUD = 38400
_CHUNK = 4096  # a multiple of 8
_RETRIES = 4
_MOST_BYTES = 1 << 20
_DELAY_10US = 10  # the camera waits so long before it sends a chunk
_REPLY_S = 0.3
_MOST_FAILURES = 5  # frames in a row that fail, before the camera counts as lost
_COMPRESSION = (0x01, 0x01, 0x12, 0x04)  # register 0x1204 of chip 1


class Command(IntEnum):
    """Of the protocol."""

    VERSION = 0x11
    SET_PORT = 0x24
    RESET = 0x26
    READ_DATA = 0x30
    WRITE_DATA = 0x31
    READ_FRAME = 0x32
    FRAME_LENGTH = 0x34
    FRAME_CONTROL = 0x36


class ProtocolError(Exception):
    """A reply that is missing, of another command, or hurt."""


class Vc0706:
    """Frames of the camera, each frozen, read in chunks, and let go.

    The camera is found at whatever rate it speaks (it keeps a rate until it loses power), then switched.

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
        self._port = open_port(port, _DEFAULT_BAUD)
        self._closed = False
        self.refused = 0  # replies that were hurt and asked for again
        try:
            version = self._find()
            self._switch(baud)
            self._set_up(size, compression)
        except ProtocolError as error:
            self.close()
            raise DeviceError(f"{self.name} does not answer like a VC0706: {error}") from error
        except OSError as error:
            self.close()
            raise DeviceError(f"{self.name} was lost: {error}") from error
        self.applied = Applied(*size, f"JPEG, {version}, {baud} baud")

    def frames(self) -> Iterator[Captured | Lost]:
        """Frames until the camera is lost; one that cannot be read whole is `Lost`."""
        index, failures = 0, 0
        while not self._closed:
            try:
                taken_at = time.time()
                item = from_jpeg(index, self.name, self._frame(), taken_at)
                failures = 0
            except ProtocolError as error:
                failures += 1
                item = Lost(index, self.name, str(error))
            except OSError as error:
                if self._closed:
                    return
                raise DeviceError(f"{self.name} was lost: {error}") from error
            if failures == _MOST_FAILURES:
                raise DeviceError(f"{self.name} answers no more: {item.reason if isinstance(item, Lost) else ''}")
            yield item
            index += 1

    def close(self) -> None:
        """Close the port; wakes a thread that reads."""
        self._closed = True
        self._port.cancel_read()
        self._port.close()

    def compression(self) -> int:
        """The compression register: 0x36 is the finest setting, 0x8F the coarsest that the manual names."""
        return self._retried(Command.READ_DATA, bytes(_COMPRESSION))[-1]

    def _find(self) -> str:
        """The version text, at the first rate at which the camera answers."""
        for baud in (_DEFAULT_BAUD, 115200, 57600, 19200, 9600):
            self._port.baudrate = baud
            self._drain()
            try:
                return self._ask(Command.VERSION, b"").decode("ascii", "replace").strip()
            except ProtocolError:
                continue
        raise ProtocolError(f"nothing at {', '.join(map(str, sorted(BAUD_CODES)))} baud")

    def _switch(self, baud: int) -> None:
        if self._port.baudrate == baud:
            return
        self._retried(Command.SET_PORT, b"\x01" + BAUD_CODES[baud].to_bytes(2, "big"))
        self._port.baudrate = baud
        self._drain()
        self._retried(Command.VERSION, b"")

    def _set_up(self, size: tuple[int, int], compression: int | None) -> None:
        self._retried(Command.FRAME_CONTROL, b"\x03")  # what an earlier run froze is let go
        self._retried(Command.WRITE_DATA, b"\x04\x01\x00\x19" + bytes([SIZE_CODES[size]]))
        if compression is not None:
            self._retried(Command.WRITE_DATA, bytes(_COMPRESSION) + bytes([compression]))
            if (found := self.compression()) != compression:
                raise ProtocolError(f"the compression register holds {found}, {compression} was written")

    def _frame(self) -> bytes:
        """One JPEG: freeze, length, chunks, resume."""
        self._retried(Command.FRAME_CONTROL, b"\x00")
        try:
            answer = self._retried(Command.FRAME_LENGTH, b"\x00")
            length = int.from_bytes(answer, "big")
            if len(answer) != 4 or not 4 <= length <= _MOST_BYTES:
                raise ProtocolError(f"the camera announces a frame of {length} bytes")
            data = b"".join(self._chunk(at, min(_CHUNK, length - at)) for at in range(0, length, _CHUNK))
        finally:
            self._retried(Command.FRAME_CONTROL, b"\x03")
        if not (data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(b"\xff\xd9")):
            raise ProtocolError("the frame does not begin and end like a JPEG")
        return data.rstrip(b"\0")

    def _chunk(self, at: int, length: int) -> bytes:
        """Part of the frozen frame; asked for again when the reply is hurt."""
        padded = -(-length // 8) * 8
        arguments = b"\x00\x0a" + at.to_bytes(4, "big") + padded.to_bytes(4, "big") + _DELAY_10US.to_bytes(2, "big")
        reason = ""
        for _ in range(_RETRIES):
            try:
                self._send(Command.READ_FRAME, arguments)
                mark = bytes([0x76, 0, Command.READ_FRAME, 0, 0])
                body = self._read(len(mark) + padded + len(mark))
                if body.startswith(mark) and body.endswith(mark):
                    return body[len(mark) : len(mark) + length]
                reason = "a chunk's frame is hurt"
            except ProtocolError as error:
                reason = str(error)
            self.refused += 1
            self._drain()
        raise ProtocolError(f"{reason}, {_RETRIES} times")

    def _retried(self, command: Command, arguments: bytes) -> bytes:
        """`_ask`, again when the reply is hurt; every command may be given twice."""
        for attempt in range(_RETRIES):
            try:
                return self._ask(command, arguments)
            except ProtocolError:
                self.refused += 1
                self._drain()
                if attempt == _RETRIES - 1:
                    raise
        raise AssertionError

    def _ask(self, command: Command, arguments: bytes) -> bytes:
        self._send(command, arguments)
        head = self._read(5)
        if head[:3] != bytes([0x76, 0, command]):
            raise ProtocolError(f"{command.name} was answered with {head.hex(' ')}")
        if head[3] != 0:
            raise ProtocolError(f"{command.name} was refused with status {head[3]}")
        return self._read(head[4])

    def _send(self, command: Command, arguments: bytes) -> None:
        self._port.write(bytes([0x56, 0, command, len(arguments)]) + arguments)

    def _read(self, count: int) -> bytes:
        self._port.timeout = _REPLY_S + 12 * count / self._port.baudrate
        data: bytes = self._port.read(count)
        if len(data) < count:
            raise ProtocolError(f"{len(data)} of {count} bytes came")
        return data

    def _drain(self) -> None:
        """Read until the line is silent: what comes then belongs to the next command."""
        self._port.timeout = 0.05
        end = time.monotonic() + 2 + 12 * _CHUNK / self._port.baudrate
        while self._port.read(4096) and time.monotonic() < end:
            pass


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
