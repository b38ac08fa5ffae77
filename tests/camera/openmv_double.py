"""An OpenMV board on a pty that speaks protocol version 1, at the line's rate where wanted, and hurts packets on
demand, in both directions."""

import struct
import time

from camera.pty_double import PtyDouble

from edgeguard.camera.openmv.packet import Flag, Hurt, Opcode, Packet, PacketReader

JPEG = 0x06060000
CHANNELS = {0: b"protocol", 1: b"stdin", 2: b"stdout", 3: b"stream", 4: b"profile"}
_MOST_PAYLOAD = 4082


class OpenMvDouble(PtyDouble):
    """The board's side.

    Attributes:
        hurt: share of packets, in either direction, that are dropped, flipped, cut, doubled, delayed or split.
        scripts: what was uploaded and started.
        header_bytes: of a frame; newer firmware has more than 20.
    """

    def __init__(
        self, jpegs: list[bytes], *, hurt: float = 0.0, baud: int | None = None, seed: int = 0, header_bytes: int = 20
    ) -> None:
        super().__init__(hurt, seed)
        self.jpegs, self.baud, self.header_bytes = jpegs, baud, header_bytes
        self.pixel_format, self.size = JPEG, (320, 240)
        self.frames_locked = self.busy_every = 0
        self.scripts, self.printed = list[bytes](), b""
        self._streaming, self._held, self._locks, self._upload = False, b"", 0, b""
        self._expected, self._last, self._payload = 0, b"", 52
        self._reader = PacketReader(_MOST_PAYLOAD)

    def received(self, data: bytes) -> None:
        """Packets, as they become whole; requests are hurt as often as answers."""
        if self.random.random() < self.hurt:
            self.hurt_count += 1
            data = self._hurt(bytearray(data))
        for packet in self._reader.feed(data):
            if isinstance(packet, Hurt):
                self._write(Packet(packet.sequence, 0, Flag.NAK, 0, struct.pack("<H", 5)).encoded())
            elif not self.silent:
                self._request(packet)

    def _request(self, packet: Packet) -> None:
        if packet.opcode == Opcode.SYNC:
            self._expected, self._payload, self._held = 0, 52, b""
            self._write(Packet(packet.sequence, 0, Flag.ACK, Opcode.SYNC).encoded())
            return
        if packet.flags & Flag.RTX and packet.sequence == (self._expected - 1) & 0xFF:
            self._write(self._last)  # the answer was lost, not the request
            return
        if packet.sequence != self._expected:
            self._write(Packet(packet.sequence, packet.channel, Flag.NAK, packet.opcode, b"\x06\0").encoded())
            return
        self._expected = (self._expected + 1) & 0xFF
        status, answer = self._do(packet)
        flags = Flag.NAK if status else Flag.ACK
        payload = struct.pack("<H", status) if status else answer
        self._last = Packet(packet.sequence, packet.channel, flags, packet.opcode, payload).encoded()
        self._write(self._last)

    def _do(self, packet: Packet) -> tuple[int, bytes]:
        """Status and answer of a request."""
        if packet.opcode == Opcode.GET_CAPS:
            return 0, struct.pack("<IH10x", 15, _MOST_PAYLOAD)
        if packet.opcode == Opcode.SET_CAPS:
            _, self._payload = struct.unpack_from("<IH", packet.payload)
            return 0, b""
        if packet.opcode == Opcode.LIST:
            return 0, b"".join(struct.pack("<BB14s", n, 0, name) for n, name in CHANNELS.items())
        if packet.opcode == Opcode.VERSION:
            return 0, bytes(range(16))
        if packet.channel == 1:
            return self._stdin(packet)
        if packet.channel == 2:
            return self._stdout(packet)
        return self._stream(packet) if packet.channel == 3 else (2, b"")

    def _stdin(self, packet: Packet) -> tuple[int, bytes]:
        if packet.opcode == Opcode.WRITE:
            at, count = struct.unpack_from("<II", packet.payload)
            if at != len(self._upload) or count != len(packet.payload) - 8:
                return 2, b""
            self._upload += packet.payload[8:]
            return 0, b""
        (request,) = struct.unpack_from("<I", packet.payload)
        if request == 3:
            self._upload = b""
        elif request == 2:
            self.scripts.append(self._upload)
        return 0, b""

    def _stdout(self, packet: Packet) -> tuple[int, bytes]:
        if packet.opcode == Opcode.SIZE:
            return 0, struct.pack("<I", len(self.printed))
        _, count = struct.unpack_from("<II", packet.payload)
        taken, self.printed = self.printed[:count], self.printed[count:]
        return 0, taken

    def _stream(self, packet: Packet) -> tuple[int, bytes]:
        if packet.opcode == Opcode.IOCTL:
            self._streaming = struct.unpack_from("<II", packet.payload)[1] == 1
            return 0, b""
        if packet.opcode == Opcode.LOCK:
            self._locks += 1
            if not self._streaming or (self.busy_every and self._locks % self.busy_every == 0):
                return 4, b""
            jpeg = self.jpegs[self.frames_locked % len(self.jpegs)]
            self.frames_locked += 1
            header = struct.pack("<IIIII", *self.size, self.pixel_format, len(jpeg), self.header_bytes)
            self._held = header.ljust(self.header_bytes, b"\x5a") + jpeg
            return 0, b""
        if packet.opcode == Opcode.UNLOCK:
            self._held = b""
            return 0, b""
        if not self._held:
            return 1, b""
        if packet.opcode == Opcode.SIZE:
            return 0, struct.pack("<I", len(self._held))
        at, count = struct.unpack_from("<II", packet.payload)
        return (0, self._held[at : at + count]) if count <= self._payload else (7, b"")

    def _write(self, coded: bytes) -> None:
        self.send(coded, self._hurt, self.baud)

    def _hurt(self, data: bytearray) -> bytes:
        kind, at = self.random.randrange(6), self.random.randrange(max(len(data), 1))
        if kind == 0:
            return b""
        if kind == 1:
            data[at] ^= 1 << self.random.randrange(8)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            return bytes(data + data)
        elif kind == 4:
            time.sleep(0.05)
        else:
            data[at:at] = bytes(self.random.randrange(256) for _ in range(7))
        return bytes(data)
