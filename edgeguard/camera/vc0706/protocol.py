"""The VC0706 protocol on a serial line (VC0706 protocol manual), apart from who uses it.

Commands are `56 SN CMD LEN args`, replies `76 SN CMD STATUS LEN data`. There is no checksum: what is checked is the
framing of each reply, the length that the camera announced, and the JPEG itself. A flipped bit inside a chunk that
leaves a whole JPEG is not seen.
"""

import time
from enum import IntEnum
from typing import Any

BAUD_CODES = {9600: 0xAEC8, 19200: 0x56E4, 38400: 0x2AF2, 57600: 0x1C1C, 115200: 0x0DA6}
SIZE_CODES = {(640, 480): 0x00, (320, 240): 0x11, (160, 120): 0x22}
DEFAULT_BAUD = 38400
_CHUNK = 4096  # a multiple of 8
_RETRIES = 4
_MOST_BYTES = 1 << 20
_DELAY_10US = 10  # the camera waits so long before it sends a chunk
_REPLY_S = 0.3
_COMPRESSION = (0x01, 0x01, 0x12, 0x04)  # register 0x1204 of chip 1


class Command(IntEnum):
    """Of the protocol."""

    VERSION = 0x11
    SET_PORT = 0x24
    READ_DATA = 0x30
    WRITE_DATA = 0x31
    READ_FRAME = 0x32
    FRAME_LENGTH = 0x34
    FRAME_CONTROL = 0x36


class ProtocolError(Exception):
    """A reply that is missing, of another command, or damaged."""


class Vc0706Line:
    """The host's side.

    Args:
        port: a pyserial port, which is closed with it.

    Attributes:
        refused: replies that were damaged and requested again.
    """

    def __init__(self, port: Any) -> None:
        self._port, self.refused = port, 0

    @property
    def baud(self) -> int:
        """The rate that is spoken."""
        return int(self._port.baudrate)

    def close(self) -> None:
        """Close the port; wakes a thread that reads."""
        self._port.cancel_read()
        self._port.close()

    def compression(self) -> int:
        """The compression register: 0x36 is the finest setting, 0x8F the coarsest that the manual names."""
        return self._retried(Command.READ_DATA, bytes(_COMPRESSION))[-1]

    def find(self) -> str:
        """The version text, at the first rate at which the camera answers; it keeps a rate until it loses power.

        Raises:
            ProtocolError: it answers at none.
        """
        for baud in (DEFAULT_BAUD, 115200, 57600, 19200, 9600):
            self._port.baudrate = baud
            self._drain()
            try:
                return self._ask(Command.VERSION, b"").decode("ascii", "replace").strip()
            except ProtocolError:
                continue
        raise ProtocolError(f"nothing at {', '.join(map(str, sorted(BAUD_CODES)))} baud")

    def switch(self, baud: int) -> None:
        """Speak at another rate."""
        if self._port.baudrate == baud:
            return
        self._retried(Command.SET_PORT, b"\x01" + BAUD_CODES[baud].to_bytes(2, "big"))
        self._port.baudrate = baud
        self._drain()
        self._retried(Command.VERSION, b"")

    def set_up(self, size: tuple[int, int], compression: int | None) -> None:
        """Size and, where one is given, compression, which is read back."""
        self._retried(Command.FRAME_CONTROL, b"\x03")  # what an earlier run froze is let go
        self._retried(Command.WRITE_DATA, b"\x04\x01\x00\x19" + bytes([SIZE_CODES[size]]))
        if compression is not None:
            self.compress(compression)

    def compress(self, compression: int) -> None:
        """Write the compression register and read it back.

        Raises:
            ProtocolError: it holds something else.
        """
        self._retried(Command.WRITE_DATA, bytes(_COMPRESSION) + bytes([compression]))
        if (found := self.compression()) != compression:
            raise ProtocolError(f"the compression register holds {found}, {compression} was written")

    def frame(self) -> bytes:
        """One JPEG: freeze, length, chunks, resume.

        Raises:
            ProtocolError: it could not be read whole.
        """
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
        """Part of the frozen frame; requested again when the reply is damaged."""
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
                reason = "a chunk's frame is damaged"
            except ProtocolError as error:
                reason = str(error)
            self.refused += 1
            self._drain()
        raise ProtocolError(f"{reason}, {_RETRIES} times")

    def _retried(self, command: Command, arguments: bytes) -> bytes:
        """`_ask`, again when the reply is damaged; every command may be given twice."""
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
