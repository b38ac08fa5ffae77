"""A hostile camera cannot make the process grow, nor fill its log: each attack in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from camera.streams import HEAD, http_server
from numpy.typing import NDArray

from edgeguard.guard import GuardProfile, encode_jpeg

_PROGRAM = """
import logging, sys, threading, time
from edgeguard.camera import source_opener
from edgeguard.demo.assets import bundled_clip, bundled_model
from edgeguard.errors import EdgeGuardError
from edgeguard.model import load_model
from edgeguard.pipeline import Pipeline

lines = []
class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
logging.getLogger("edgeguard").addHandler(Lines())
model = load_model(bundled_model())
with Pipeline(source_opener(str(bundled_clip()))(), model, keep_frames=False) as warm:
    for count, _ in enumerate(warm):
        if count == 20:
            break
def resident_kb():
    return int(open("/proc/self/statm").read().split()[1]) * 4
before = after = resident_kb()
def sample():
    global after
    while True:
        after = max(after, resident_kb())
        time.sleep(0.02)
threading.Thread(target=sample, daemon=True).start()
opening = source_opener(sys.argv[1])
results = 0
try:
    with Pipeline(opening(), model, keep_frames=False, reopen=opening, lost_after_s=1.0) as pipeline:
        threading.Timer(float(sys.argv[2]), pipeline.reader.stop).start()
        for _ in pipeline:
            results += 1
except EdgeGuardError as error:
    lines.append(str(error))
print(after - before, len(lines), results)
print("\\n".join(lines))
"""


def _headers(connection: socket.socket, jpeg: bytes) -> None:
    """200 MB of headers of one part."""
    connection.sendall(HEAD + b"--frame\r\n")
    for _ in range(200):
        connection.sendall(b"X-Header: 12345678901234567890\r\n" * 31_250)


def _announced(connection: socket.socket, jpeg: bytes) -> None:
    connection.sendall(HEAD + b"--frame\r\nContent-Length: 10000000000\r\n\r\n")
    _forever(connection, jpeg * 100)


def _answer_of_10_gb(connection: socket.socket, jpeg: bytes) -> None:
    connection.sendall(HEAD[:-2] + b"Content-Length: 10000000000\r\n\r\n")
    _forever(connection, b"--frame\r\n\r\n\xff\xd8\xff\xe0" + bytes(60_000))


def _every_byte(connection: socket.socket, jpeg: bytes) -> None:
    """Parts of one byte, each byte in a packet of its own."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(HEAD)
    while True:
        for byte in b"--frame\r\n\r\na\r\n":
            connection.sendall(bytes([byte]))


def _ten_thousand(connection: socket.socket, jpeg: bytes) -> None:
    """Far more than 10,000 parts a second, as fast as they are taken."""
    connection.sendall(HEAD)
    _forever(connection, b"--frame\r\nContent-Type: image/jpeg\r\n\r\na\r\n" * 1000)


def _ten_thousand_pictures(connection: socket.socket, jpeg: bytes) -> None:
    part = b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
    connection.sendall(HEAD)
    _forever(connection, part * 100)


def _endless_picture(connection: socket.socket, jpeg: bytes) -> None:
    connection.sendall(HEAD + b"--frame\r\n\r\n" + jpeg[:-2])
    _forever(connection, b"a" * 65536)


def _forever(connection: socket.socket, data: bytes) -> None:
    while True:
        connection.sendall(data)


_ATTACKS = (
    _headers,
    _announced,
    _answer_of_10_gb,
    _every_byte,
    _ten_thousand,
    _ten_thousand_pictures,
    _endless_picture,
)


@pytest.mark.full
@pytest.mark.parametrize("attack", _ATTACKS, ids=lambda attack: attack.__name__.strip("_"))
def test_memory_stays_and_it_is_said_once(
    attack: Callable[[socket.socket, bytes], None], scene: NDArray[np.uint8]
) -> None:
    jpeg = encode_jpeg(np.ascontiguousarray(scene[:32, :32]), GuardProfile.preset("jpeg:50"))

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(5)
        attack(connection, jpeg)

    with http_server(handle) as url:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, url, "8"], capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stderr
    figures, *lines = done.stdout.splitlines()
    grown_kb, said, results = (int(word) for word in figures.split())
    print(f"{attack.__name__}: grew by {grown_kb / 1024:.1f} MB, {said} lines, {results} results")
    assert grown_kb < 64 * 1024 and len(lines) <= 4, lines
    assert time.monotonic() - began < 100 and not done.stderr
