"""The host's side of OpenMV's protocol, version 1: one request at a time, each with its answer.

    resync -> SYNC -> capabilities -> channels -> [script] -> stream on
    frame:  LOCK -> SIZE -> READ in chunks -> UNLOCK

Every request may be given twice, and the board repeats its answer when it sees the same sequence number again: a
damaged or missing packet costs a repetition, never a frame that is put together of two.
"""

import contextlib
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from edgeguard.camera.openmv.packet import HEADER_BYTES, Flag, Hurt, Opcode, Packet, PacketReader

DEFAULT_BAUD = 921600
_FIRST_PAYLOAD = 52  # that of a board nobody has talked to yet
_MOST_PAYLOAD = 4082
_CRC, _SEQUENCE = 1, 2  # capabilities; acknowledging every packet and events stay off
_RETRIES = 4
_ANSWER_S = 0.2  # doubled with each retry, and the time on the wire beside it
_MOST_BYTES = 4 << 20
_READ_BYTES = 4096


class Channel(IntEnum):
    """Channels that every board has."""

    STDIN = 1
    STDOUT = 2
    STREAM = 3


class StreamIoctl(IntEnum):
    """Of the stream channel."""

    CTRL = 0


class StdinIoctl(IntEnum):
    """Of the stdin channel."""

    STOP = 1
    EXEC = 2
    RESET = 3


class Status(IntEnum):
    """Why a request was refused."""

    SUCCESS = 0
    FAILED = 1
    INVALID = 2
    TIMEOUT = 3
    BUSY = 4
    CHECKSUM = 5
    SEQUENCE = 6
    OVERFLOW = 7
    FRAGMENT = 8
    UNKNOWN = 9


class LinkError(Exception):
    """An answer that does not come, or does not belong to its request."""


class Refused(LinkError):
    """The board says no."""

    def __init__(self, opcode: int, status: int) -> None:
        self.status = status
        name = Status(status).name if status in Status._value2member_map_ else str(status)
        super().__init__(f"{Opcode(opcode).name} was refused: {name}")


@dataclass(frozen=True)
class Picture:
    """A frame as the board holds it.

    Attributes:
        width, height: pixels.
        pixel_format: of `PixelFormat`, or one that we do not know.
        data: what is behind the header.
    """

    width: int
    height: int
    pixel_format: int
    data: bytes


class OpenMvLink:
    """A board on a serial line.

    Args:
        port: a pyserial port, which is closed with it.

    Attributes:
        retried: requests that were given again.
        resyncs: times that both sides began anew.
        channels: names by number, once it is open.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._reader = PacketReader(_FIRST_PAYLOAD)
        self._sequence = 0
        self._payload = _FIRST_PAYLOAD
        self.retried = self.resyncs = 0
        self.channels: dict[int, str] = {}

    def close(self) -> None:
        """Close the port; wakes a thread that reads."""
        self._port.cancel_read()
        self._port.close()

    def open(self) -> None:
        """Begin a conversation: sequence 0, the largest payload that both sides take, the list of channels.

        Raises:
            LinkError: nothing answers, or something else than a board with a stream.
        """
        self.resyncs += 1
        self._drain()
        self._payload = self._reader.most_payload = _FIRST_PAYLOAD
        self._sequence = 0
        self._ask(Opcode.SYNC, 0)
        self._sequence = 0
        answer = self._ask(Opcode.GET_CAPS, 0)
        if len(answer) < 6:
            raise LinkError(f"the board's capabilities have {len(answer)} bytes")
        _, theirs = struct.unpack_from("<IH", answer)
        payload = min(max(theirs, _FIRST_PAYLOAD), _MOST_PAYLOAD)
        self._ask(Opcode.SET_CAPS, 0, struct.pack("<IH10x", _CRC | _SEQUENCE, payload))
        self._payload = self._reader.most_payload = payload
        listed = self._ask(Opcode.LIST, 0)
        self.channels = {
            number: name.rstrip(b"\0").decode("ascii", "replace")
            for number, _, name in struct.iter_unpack("<BB14s", listed[: len(listed) // 16 * 16])
        }
        if Channel.STREAM not in self.channels:
            raise LinkError(f"the board has no stream; it has {', '.join(self.channels.values()) or 'no channels'}")
        with contextlib.suppress(Refused):
            self._ask(Opcode.UNLOCK, Channel.STREAM)  # what an earlier conversation held

    def version(self) -> bytes:
        """What the board says of its versions, as it says it."""
        return self._ask(Opcode.VERSION, 0)

    def run_script(self, script: bytes) -> None:
        """Stop what runs, hand over a MicroPython script and start it."""
        self._ioctl(Channel.STDIN, StdinIoctl.STOP)
        self._ioctl(Channel.STDIN, StdinIoctl.RESET)
        step = self._payload - 8
        for at in range(0, len(script), step):
            part = script[at : at + step]
            self._ask(Opcode.WRITE, Channel.STDIN, struct.pack("<II", at, len(part)) + part)
        self._ioctl(Channel.STDIN, StdinIoctl.EXEC)

    def stream(self, on: bool) -> None:
        """Let frames come, or not."""
        self._ioctl(Channel.STREAM, StreamIoctl.CTRL, struct.pack("<I", on))

    def printed(self) -> str:
        """What the script has printed since it was asked last."""
        (size,) = self._numbers(self._ask(Opcode.SIZE, Channel.STDOUT), 1)
        return self._read(Channel.STDOUT, min(size, 1 << 16)).decode("utf-8", "replace") if size else ""

    def picture(self, timeout_s: float = 3.0) -> Picture:
        """The next frame.

        Raises:
            LinkError: none within the time, or one that is not what it says.
        """
        end = time.monotonic() + timeout_s
        while True:
            size = self._locked()
            if size:
                break
            if time.monotonic() > end:
                raise LinkError(f"no frame within {timeout_s:g} s")
            time.sleep(0.005)
        try:
            if not 20 < size <= _MOST_BYTES:
                raise LinkError(f"the board announces a frame of {size} bytes")
            data = self._read(Channel.STREAM, size)
        finally:
            self._ask(Opcode.UNLOCK, Channel.STREAM)
        width, height, pixel_format, _, offset = struct.unpack_from("<IIIII", data)
        if not 20 <= offset <= len(data) or not 0 < width <= 8192 or not 0 < height <= 8192:
            raise LinkError(f"the frame's header is wrong: {width}x{height}, data at {offset}")
        return Picture(width, height, pixel_format, data[offset:])

    def _locked(self) -> int:
        """The size of the frame that is held now; 0 where there is none yet, and none is held."""
        try:
            self._ask(Opcode.LOCK, Channel.STREAM)
        except Refused as refused:
            if refused.status in (Status.BUSY, Status.FAILED):
                return 0
            raise
        (size,) = self._numbers(self._ask(Opcode.SIZE, Channel.STREAM), 1)
        if not size:
            self._ask(Opcode.UNLOCK, Channel.STREAM)
        return int(size)

    def _read(self, channel: int, size: int) -> bytes:
        parts = []
        for at in range(0, size, self._payload):
            count = min(self._payload, size - at)
            part = self._ask(Opcode.READ, channel, struct.pack("<II", at, count))
            if len(part) != count:
                raise LinkError(f"{len(part)} of {count} bytes came")
            parts.append(part)
        return b"".join(parts)

    def _ioctl(self, channel: int, request: int, argument: bytes = b"") -> None:
        self._ask(Opcode.IOCTL, channel, struct.pack("<I", request) + argument)

    @staticmethod
    def _numbers(answer: bytes, count: int) -> tuple[int, ...]:
        if len(answer) < 4 * count:
            raise LinkError(f"an answer has {len(answer)} bytes, {4 * count} are wanted")
        return struct.unpack_from(f"<{count}I", answer)

    def _ask(self, opcode: Opcode, channel: int, payload: bytes = b"") -> bytes:
        """A request until it is answered; each time with the same sequence number."""
        reason: LinkError | None = None
        try:
            for attempt in range(_RETRIES):
                self.retried += bool(attempt)
                flags = Flag.RTX if attempt else Flag(0)
                self._port.write(Packet(self._sequence, channel, flags, opcode, payload).encoded())
                try:
                    return self._answer(opcode, _ANSWER_S * 2**attempt)
                except Refused as refused:
                    if refused.status not in (Status.CHECKSUM, Status.TIMEOUT):
                        raise
                    reason = refused
                except LinkError as error:
                    reason = error
            raise reason or AssertionError
        finally:
            self._sequence = (self._sequence + 1) & 0xFF

    def _answer(self, opcode: Opcode, patience_s: float) -> bytes:
        """The answer to the request that was sent last; packets of others are passed over."""
        end = time.monotonic() + patience_s + 12 * (self._payload + 2 * HEADER_BYTES) / self._port.baudrate
        parts = []
        while True:
            if time.monotonic() > end:
                raise LinkError(f"{opcode.name} was not answered")
            self._port.timeout = max(min(end - time.monotonic(), 0.5), 0.001)
            data = self._port.read(min(self._reader.wanted(), _READ_BYTES))
            for packet in self._reader.feed(data):
                if packet.sequence != self._sequence:
                    continue
                if isinstance(packet, Hurt):
                    raise LinkError(f"the answer to {opcode.name} is damaged")
                if packet.flags & Flag.EVENT or packet.opcode != opcode:
                    continue
                if packet.flags & Flag.NAK:
                    raise Refused(opcode, int.from_bytes(packet.payload[:2], "little"))
                parts.append(packet.payload)
                if packet.flags & Flag.ACK_REQ:
                    self._port.write(Packet(packet.sequence, packet.channel, Flag.ACK, opcode).encoded())
                if not packet.flags & Flag.FRAGMENT:
                    return b"".join(parts)

    def _drain(self) -> None:
        """Read until the line is silent."""
        self._port.timeout = 0.05
        end = time.monotonic() + 1.0
        while self._port.read(_READ_BYTES) and time.monotonic() < end:
            pass
        self._reader.clear()
