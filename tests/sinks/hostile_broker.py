"""A broker on loopback that does what a test says, byte by byte."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

CONNACK, NOT_AUTHORIZED = b"\x20\x02\x00\x00", b"\x20\x02\x00\x05"
SUBACK_BODY = b"\x01"
Script = Callable[["Peer", int], None]


class Peer:
    """One client's connection, from the broker's side."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.published = connection, list[bytes]()

    def read(self) -> tuple[int, bytes]:
        """The next packet: its first byte, and what follows its length."""
        kind, count, shift = self._exactly(1)[0], 0, 0
        while True:
            byte = self._exactly(1)[0]
            count |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return kind, self._exactly(count)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reset(self) -> None:
        """The end that a process's death makes: no goodbye."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def serve(self, keep: list[bytes]) -> None:
        """Be a good broker, and keep the payloads that arrive."""
        while True:
            kind, body = self.read()
            if kind & 0xF0 == 0x10:
                self.send(CONNACK)
            elif kind & 0xF0 == 0x80:
                self.send(b"\x90\x03" + body[:2] + SUBACK_BODY)
            elif kind & 0xF0 == 0x30:
                end = 2 + struct.unpack(">H", body[:2])[0]
                keep.append(body[end + 2 :])
                self.send(b"\x40\x02" + body[end : end + 2])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data


class HostileBroker:
    """Calls the script with each connection and its number from 0, in a thread of its own."""

    def __init__(self, script: Script) -> None:
        self._script, self.connections = script, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._open = list[socket.socket]()

    def __enter__(self) -> "HostileBroker":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                number, self.connections = self.connections, self.connections + 1
                threading.Thread(target=self._run, args=(connection, number), daemon=True).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            self._script(Peer(connection), number)


def publish(qos: int, number: int, payload_bytes: int, topic: bytes = b"a") -> bytes:
    """A PUBLISH packet full of zeros."""
    body = struct.pack(">H", len(topic)) + topic + (struct.pack(">H", number) if qos else b"") + bytes(payload_bytes)
    length, rest = b"", len(body)
    while True:
        length += bytes([(rest & 127) | (128 if rest > 127 else 0)])
        rest >>= 7
        if not rest:
            return bytes([0x30 | qos << 1]) + length + body
