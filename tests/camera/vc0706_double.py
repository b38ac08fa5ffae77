"""A VC0706 on a pty that speaks the protocol, at the line's rate where wanted, and hurts replies on demand."""

import time

from camera.pty_double import PtyDouble

_RATES = {0xAEC8: 9600, 0x56E4: 19200, 0x2AF2: 38400, 0x1C1C: 57600, 0x0DA6: 115200}


class Vc0706Double(PtyDouble):
    """The device's side.

    Attributes:
        frozen: the JPEG that is being read.
        hurt: share of replies that are dropped, flipped, cut, doubled or delayed.
    """

    def __init__(self, jpegs: list[bytes], *, hurt: float = 0.0, throttle: bool = False, seed: int = 0) -> None:
        super().__init__(hurt, seed)
        self.jpegs, self.throttle = jpegs, throttle
        self.frozen: bytes | None = None
        self.frames_frozen = self.payload_flips = 0
        self.registers: dict[bytes, int] = {b"\x01\x01\x12\x04": 0x36, b"\x04\x01\x00\x19": 0x11}
        self.baud, self._buffer = 38400, b""

    def received(self, data: bytes) -> None:
        """Commands, as they become whole."""
        self._buffer += data
        while (start := self._buffer.find(b"\x56")) >= 0 and len(self._buffer) >= start + 4:
            end = start + 4 + self._buffer[start + 3]
            if len(self._buffer) < end:
                break
            command, arguments = self._buffer[start + 2], self._buffer[start + 4 : end]
            self._buffer = self._buffer[end:]
            self._answer(command, arguments)

    def _answer(self, command: int, arguments: bytes) -> None:
        if self.silent:
            return
        data, then = b"", self.baud
        if command == 0x11:
            data = b"VC0703 1.00"
        elif command == 0x24:
            then = _RATES[int.from_bytes(arguments[1:3], "big")]
        elif command == 0x30:
            data = bytes([self.registers[arguments[:4]]])
        elif command == 0x31:
            self.registers[arguments[:4]] = arguments[4]
        elif command == 0x34:
            data = len(self.frozen or b"").to_bytes(4, "big")
        elif command == 0x36:
            if arguments == b"\x00" and self.frozen is None:
                self.frozen = self.jpegs[self.frames_frozen % len(self.jpegs)]
                self.frames_frozen += 1
            elif arguments == b"\x03":
                self.frozen = None
        elif command == 0x32:
            at, length = int.from_bytes(arguments[2:6], "big"), int.from_bytes(arguments[6:10], "big")
            chunk = (self.frozen or b"")[at : at + length].ljust(length, b"\0")
            mark = b"\x76\0\x32\0\0"
            self._write(mark + chunk + mark)
            return
        self._write(bytes([0x76, 0, command, 0, len(data)]) + data)
        self.baud = then

    def _write(self, reply: bytes) -> None:
        self.send(reply, self._hurt, self.baud if self.throttle else None)

    def _hurt(self, reply: bytearray) -> bytes:
        kind, at = self.random.randrange(5), self.random.randrange(len(reply))
        if kind == 0:
            return b""
        if kind == 1:
            reply[at] ^= 1 << self.random.randrange(8)
            self.payload_flips += int(len(reply) > 20 and 5 <= at < len(reply) - 5)
        elif kind == 2:
            del reply[at:]
        elif kind == 3:
            reply[at:at] = reply[at : at + 8]
        else:
            time.sleep(0.05)
        return bytes(reply)
