"""Somebody between a sensor and its receiver: he opens each frame, changes levels, closes it, and sends it on."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edgeguard.jpeg.seal import read_seal
from edgeguard.png.frame import EXTRA_AT, chunk, read_png, read_png_info, write_png

Frame = NDArray[np.uint8]
Change = Callable[[Frame, int], Frame]


class LinkAttacker:
    """A TCP proxy in front of a sensor's stream. Use as a context manager.

    Args:
        url: the sensor's stream.
        change: gives what is sent on for a frame and its number.

    Attributes:
        url: where receivers connect.
        sent: what the sensor sent, by the seals' numbers; `forwarded`: what went on.
    """

    def __init__(self, url: str, change: Change) -> None:
        parts = urlsplit(url)
        self._sensor = (parts.hostname or "", parts.port or 0)
        self._change = change
        self.sent, self.forwarded = dict[int, Frame](), dict[int, Frame]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "LinkAttacker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                receiver, _ = self._listener.accept()
                with contextlib.suppress(OSError), receiver, socket.create_connection(self._sensor) as sensor:
                    sensor.sendall(receiver.recv(4096))
                    self._forward(sensor.makefile("rb"), receiver)

    def _forward(self, stream: BinaryIO, receiver: socket.socket) -> None:
        receiver.sendall(_head(stream))
        while part := _head(stream):
            length = int(part.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            data = self._changed(stream.read(length))
            stream.read(2)
            receiver.sendall(part.replace(b"Length: %d\r" % length, b"Length: %d\r" % len(data)) + data + b"\r\n")

    def _changed(self, data: bytes) -> bytes:
        """The frame with other levels, and with the sensor's own seal."""
        info = read_png_info(data)
        seal = read_seal(info)
        assert seal is not None and info.extra is not None
        levels = read_png(info)
        forged = self._change(levels, seal.sequence)
        self.sent[seal.sequence], self.forwarded[seal.sequence] = levels, forged
        plain = write_png(forged)
        return plain[:EXTRA_AT] + chunk(*info.extra) + plain[EXTRA_AT:]


def _head(stream: BinaryIO) -> bytes:
    """Lines up to an empty one; nothing at the end."""
    lines = b""
    while line := stream.readline():
        lines += line
        if line == b"\r\n":
            break
    return lines
