"""Packets of OpenMV's protocol, version 1: coding, and finding them in a stream of bytes that may be damaged.

A packet is a header of 8 bytes (`<HBBBBH`: sync, sequence, channel, flags, opcode, length) and its CRC16, then, when
the length is not 0, the payload and its CRC32. Both CRCs: most significant bit first, no reflection, no final xor.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

SYNC = b"\xaa\xd5"
MOST_PAYLOAD = 65535
_HEADER = struct.Struct("<HBBBBH")
_CRC16, _CRC32 = struct.Struct("<H"), struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC16.size


class Flag(IntFlag):
    """Of a packet."""

    ACK = 1
    NAK = 2
    RTX = 4
    ACK_REQ = 8
    FRAGMENT = 16
    EVENT = 32


class Opcode(IntEnum):
    """Of the protocol; requests and their answers carry the same."""

    SYNC = 0x00
    GET_CAPS = 0x01
    SET_CAPS = 0x02
    STATS = 0x03
    VERSION = 0x04
    RESET = 0x10
    BOOT = 0x11
    INFO = 0x12
    EVENT = 0x13
    MEMORY = 0x14
    LIST = 0x20
    POLL = 0x21
    LOCK = 0x22
    UNLOCK = 0x23
    SHAPE = 0x24
    SIZE = 0x25
    READ = 0x26
    WRITE = 0x27
    IOCTL = 0x28
    CHANNEL_EVENT = 0x29


@dataclass(frozen=True)
class Packet:
    """One packet.

    Example:
        >>> Packet(0, 0, Flag(0), Opcode.SYNC).encoded().hex(" ")
        'aa d5 00 00 00 00 00 00 b0 ac'
    """

    sequence: int
    channel: int
    flags: Flag
    opcode: int
    payload: bytes = b""

    def encoded(self) -> bytes:
        """As it goes over the wire."""
        sync = int.from_bytes(SYNC, "little")
        header = _HEADER.pack(sync, self.sequence, self.channel, self.flags, self.opcode, len(self.payload))
        coded = header + _CRC16.pack(crc16(header))
        return coded + self.payload + _CRC32.pack(crc32(self.payload)) if self.payload else coded


@dataclass(frozen=True)
class Hurt:
    """A packet whose header is whole and whose payload is not."""

    sequence: int


class PacketReader:
    """Finds packets in what a line delivers, in pieces of any size; garbage between them is skipped.

    Args:
        most_payload: longer packets are taken for garbage, so that a damaged length cannot make it wait for 64 kB.

    Attributes:
        skipped: bytes that belonged to no packet.
    """

    def __init__(self, most_payload: int = MOST_PAYLOAD) -> None:
        self.most_payload, self.skipped = most_payload, 0
        self._buffer = bytearray()

    def clear(self) -> None:
        """Forget what has come."""
        self._buffer.clear()

    def wanted(self) -> int:
        """How many bytes at least are missing for the packet that is being read."""
        if len(self._buffer) < HEADER_BYTES:
            return HEADER_BYTES - len(self._buffer)
        (length,) = struct.unpack_from("<H", self._buffer, 6)
        return max(HEADER_BYTES + (length + _CRC32.size if length else 0) - len(self._buffer), 1)

    def feed(self, data: bytes) -> Iterator[Packet | Hurt]:
        """Packets that are whole now."""
        self._buffer += data
        while (found := self._next()) is not None:
            yield found

    def _next(self) -> Packet | Hurt | None:
        while True:
            self._skip_to_sync()
            if len(self._buffer) < HEADER_BYTES:
                return None
            _, sequence, channel, flags, opcode, length = _HEADER.unpack_from(self._buffer)
            (check,) = _CRC16.unpack_from(self._buffer, _HEADER.size)
            if check != crc16(self._buffer[: _HEADER.size]) or length > self.most_payload or flags > 63:
                self._drop(1)
                continue
            if not length:
                del self._buffer[:HEADER_BYTES]
                return Packet(sequence, channel, Flag(flags), opcode)
            end = HEADER_BYTES + length
            if len(self._buffer) < end + _CRC32.size:
                return None
            payload = bytes(self._buffer[HEADER_BYTES:end])
            if _CRC32.unpack_from(self._buffer, end)[0] != crc32(payload):
                self._drop(2)  # bytes are missing or too many: the next packet may begin inside
                return Hurt(sequence)
            del self._buffer[: end + _CRC32.size]
            return Packet(sequence, channel, Flag(flags), opcode, payload)

    def _skip_to_sync(self) -> None:
        at = self._buffer.find(SYNC)
        if at < 0:
            at = len(self._buffer) - (1 if self._buffer[-1:] == SYNC[:1] else 0)
        if at:
            self._drop(at)

    def _drop(self, count: int) -> None:
        self.skipped += count
        del self._buffer[:count]


def crc16(data: bytes | bytearray) -> int:
    """Polynomial 0xF94F, initial value 0xFFFF."""
    value = 0xFFFF
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _TABLE16[value >> 8 ^ byte]
    return value


def crc32(data: bytes) -> int:
    """Polynomial 0xFA567D89, initial value 0xFFFFFFFF."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE32[value >> 24 ^ byte]
    return value


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << (bits - 1), (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


_TABLE16, _TABLE32 = _table(0xF94F, 16), _table(0xFA567D89, 32)
