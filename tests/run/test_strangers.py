"""A running service among strangers: its camera, its broker and everybody on the network send what they like.

No thread ends, nothing slows down, and when the camera is itself again results come as before.
"""

import contextlib
import json
import logging
import multiprocessing
import random
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera.streams import HEAD, part
from numpy.typing import NDArray

from edgeguard.camera import open_source
from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile, Sanitizer, encode_jpeg
from edgeguard.jpeg.seal import Seal, seal_jpeg, seal_png
from edgeguard.model import ContractGuard, load_model
from edgeguard.png.frame import chunk, read_png_info, write_png
from edgeguard.run.runner import Outcome, run
from edgeguard.run.settings import Settings

KEY = b"k" * 32
FD_JPEG, FD = GuardProfile.preset("fd-jpeg"), GuardProfile.preset("fd")
_SEALS = (
    b'"captured_at":1' + b"0" * 400, b'"captured_at":1e999', b'"captured_at":-5', b'"sequence":1' + b"0" * 400,
    b'"sequence":"\x1b[2J"', b'"nonce":"\x9b"', b"[" * 900, b"\xff\xff", b"{}",
)  # fmt: skip


class HostileCamera:
    """Serves any number of receivers: while it is hostile, mutations of sealed frames, of parts and of heads."""

    profile = FD_JPEG

    def __init__(self, jpeg: bytes, key: bytes | None) -> None:
        self.jpeg, self.key, self.hostile, self.sent, self.pause_s = jpeg, key, True, 0, 0.02
        self._generator = random.Random(11)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/stream"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, IndexError), connection:
            request = connection.recv(4096)
            nonce = request.split(b"nonce=")[1][:32].decode() if self.key else ""
            head = self._mutated(HEAD) if self.hostile and self._generator.random() < 0.2 else HEAD
            connection.sendall(head)
            for number in range(1_000_000):
                frame = self._frame(Seal(number, time.time(), nonce, self.profile.sha256))
                connection.sendall(self._hostile_part(frame) if self.hostile and number % 8 else part(frame))
                self.sent += 1
                time.sleep(0.005 if self.hostile else self.pause_s)

    def _hostile_part(self, frame: bytes) -> bytes:
        kind = self._generator.randrange(8)
        if kind == 0:  # a seal that was made without the key
            text = self._generator.choice(_SEALS)
            body = b"EDGEGUARD\0\x01" + len(text).to_bytes(4, "big") + text + bytes(32)
            return part(self.jpeg[:2] + b"\xff\xef" + (len(body) + 2).to_bytes(2, "big") + body + self.jpeg[2:])
        if kind in (1, 4, 5):
            text = b'{"captured_at":1' + b"0" * 400 + b',"nonce":"","profile":"","sequence":1}'
            body = b"EDGEGUARD\0\x01" + len(text).to_bytes(4, "big") + text + bytes(32)
            return part(self.jpeg[:2] + b"\xff\xef" + (len(body) + 2).to_bytes(2, "big") + body + self.jpeg[2:])
        if kind == 2:
            return part(frame[: self._generator.randrange(len(frame))])
        if kind == 3 and self._generator.random() < 0.1:
            return self._mutated(part(frame))
        return part(self._mutated(frame))

    def _frame(self, seal: Seal) -> bytes:
        return seal_jpeg(self.jpeg, seal, self.key)

    def _mutated(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._generator.randrange(1, 8)):
            at = self._generator.randrange(min(len(changed), 900) if self._generator.random() < 0.7 else len(changed))
            changed[at : at + self._generator.randrange(3)] = self._generator.randbytes(self._generator.randrange(4))
        return bytes(changed)


class HostileSensor(HostileCamera):
    """The same with frames without loss; most of its mutations have right checksums, so that they are looked into."""

    profile = FD

    def __init__(self, levels: NDArray[np.uint8], key: bytes | None) -> None:
        self._png = write_png(levels)
        super().__init__(b"", key)

    def _frame(self, seal: Seal) -> bytes:
        return seal_png(self._png, seal, self.key)

    def _hostile_part(self, frame: bytes) -> bytes:
        generator, info = self._generator, read_png_info(frame)
        kind = generator.randrange(8)
        if kind == 0:
            return part(self._mutated(frame))
        if kind == 1:
            return part(frame[: generator.randrange(len(frame))])
        width, height, packed, extra = info.width, info.height, info.packed, info.extra or (b"", b"")
        if kind == 2:
            width, height = generator.choice(
                [(0, 9), (1 << 31, 1 << 31), (1, 1 << 14), (16000, 4000), (8, 8), (4000, 4000)]
            )
        if kind == 3:
            packed = zlib.compress(bytes(8 << 20))
        if kind == 4:
            packed = self._mutated(packed)
        if kind == 5:
            packed = zlib.compress(generator.randbytes(64) * (height * (1 + 3 * width) // 64 + 1))
        if kind == 6:
            text = generator.choice(_SEALS)
            extra = b"egSE", b"EDGEGUARD\0\x01" + len(text).to_bytes(4, "big") + text + bytes(32)
        if kind == 7:
            extra = b"egSE", self._mutated(extra[1])
        header = struct.pack(">IIBBBBB", width, height, 8, generator.choice([2, 2, 2, 0, 6]), 0, 0, 0)
        chunks = chunk(b"IHDR", header) + chunk(*extra) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
        return part(frame[:8] + chunks)


@contextlib.contextmanager
def _hostile_broker() -> Iterator[int]:
    """Accepts, and answers with anything: refusals, half packets, lengths that never end, topics that are no text."""
    generator = random.Random(7)
    answers = [
        b"\x20\x02\x00\x00", b"\x20\x02\x00\x05", b"\x20\x00", b"\x30\xff\xff\xff\xff\xff",
        b"\x20\x02\x00\x00\x30\x04\x00\x09ab",
        b"\x20\x02\x00\x00\x30\x06\x00\x02\xff\xfe\x00\x00",
        b"\x20\x02\x00\x00\x90\x01\x00", b"\x20\x02\x00\x00\x62\x00",
    ]  # fmt: skip
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with contextlib.suppress(OSError), connection:
                    connection.recv(4096)
                    connection.sendall(generator.choice(answers) + generator.randbytes(generator.randrange(40)))
                    time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def _curse(ports: list[int], over: threading.Event) -> None:
    """Mutated requests to every server of the run."""
    generator = random.Random(3)
    while not over.is_set():
        request = bytearray(
            b"GET /raw.jpg?frame=1&token=abc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
        )
        for _ in range(generator.randrange(5)):
            at = generator.randrange(len(request))
            request[at : at + generator.randrange(4)] = generator.randbytes(generator.randrange(4))
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", generator.choice(ports)), 2) as link:
            link.sendall(request)
            link.settimeout(0.05)
            link.recv(100)
        time.sleep(0.005)


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Service:
    """A run in a thread of its own; what its threads raised is kept."""

    def __init__(self, settings: Settings, key: bytes | None = None, profile: GuardProfile = FD_JPEG) -> None:
        self._profile = profile
        self.results, self.raised, self.outcome = list[float](), list[str](), list[Outcome]()
        self._over = False
        self._settings, self._key = settings, key
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        source = self._settings.source
        assert source is not None
        model = load_model(bundled_model())
        guard = ContractGuard(
            self._profile, "frame"
        )  # whose frames may claim a sensor's pass 1: seals are read on the way
        model = model.with_contract(replace(model.contract, guard=guard))
        found = run(
            self._settings, model, lambda: open_source(source, key=self._key), shown=self._shown, ends=(SystemExit,)
        )
        self.outcome.append(found)

    def _shown(self, result: Any) -> None:
        self.results.append(time.monotonic())
        if self._over:
            raise SystemExit(0)

    def __enter__(self) -> "Service":
        self._hook = threading.excepthook
        threading.excepthook = lambda args: self.raised.append(f"{args.thread}: {args.exc_value!r}")
        self._thread.start()
        self.wait(lambda: len(self.results) > 3, "first results")
        self.threads = _threads()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(20)
        threading.excepthook = self._hook

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._thread.is_alive() and time.monotonic() < deadline, what
            time.sleep(0.05)


def _threads() -> set[str]:
    """Threads of ours that have to live as long as the run: connections to a camera come and go."""
    found = {thread.name for thread in threading.enumerate()}
    return {
        name
        for name in found
        if name.startswith("edgeguard-") and name not in ("edgeguard-capture", "edgeguard-stream")
    }


@pytest.fixture
def jpeg(scene: NDArray[np.uint8]) -> bytes:
    return encode_jpeg(scene[:240, :320], FD_JPEG)


@pytest.mark.parametrize(
    ("seconds", "lossless", "key"),
    [
        (1.0, False, KEY), *(pytest.param(4.0, png, None, marks=pytest.mark.full) for png in (False, True)),
        *(pytest.param(60.0, png, key, marks=pytest.mark.full) for png in (False, True) for key in (None, KEY)),
    ],
)  # fmt: skip
def test_what_strangers_send_ends_no_thread(
    scene: NDArray[np.uint8], jpeg: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: bytes | None,
    seconds: float, lossless: bool,
) -> None:  # fmt: skip
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    pytest.importorskip("paho.mqtt.client", reason="the extra mqtt is not installed")
    caplog.set_level(logging.INFO, logger="edgeguard")
    ports, over = [_free_port(), _free_port()], threading.Event()
    camera = HostileSensor(Sanitizer(FD)(scene), key) if lossless else HostileCamera(jpeg, key)
    with _hostile_broker() as broker:
        settings = Settings(
            source=camera.url, web=f"127.0.0.1:{ports[0]}", metrics=f"127.0.0.1:{ports[1]}", lost_after=0.5,
            mqtt=f"mqtt://127.0.0.1:{broker}", output=str(tmp_path / "r.jsonl"), record=str(tmp_path / "events"),
            save=str(tmp_path / "v.mp4"), frozen_after=0,  # the camera has one picture
        )  # fmt: skip
        with Service(settings, key, camera.profile) as service:
            cursing = threading.Thread(target=_curse, args=(ports, over), daemon=True)
            cursing.start()
            time.sleep(seconds)
            camera.hostile = False
            over.set()
            cursing.join(5)
            before = len(service.results)
            service.wait(lambda: len(service.results) > before + 20, "results after the strangers")
            assert service.threads <= _threads(), service.threads - _threads()
            for port in ports:
                assert _get(f"http://127.0.0.1:{port}/healthz") == (200, b"ok\n")
            state = json.loads(_get(f"http://127.0.0.1:{ports[0]}/state.json")[1])
            counters = state["counters"]
            assert (counters["lost"] if key is None else sum(counters["refused"].values())) > 10
    camera.close()
    unforeseen = [line for line in caplog.messages if "a bug of ours" in line or re.search(r"[A-Z]\w+Error: ", line)]
    assert service.raised == [] and not unforeseen
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(lines) > 20 and all(0 < line["captured_at"] < 253402300800 for line in lines)


def _flood(port: int, paths: list[bytes], over: Any) -> None:
    while not over.is_set():
        for path in paths:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while connection.recv(65536):
                    pass


@pytest.mark.full
def test_500_idle_connections_and_a_flood_change_nothing(jpeg: bytes) -> None:
    """/healthz within a second, and at least 95 % of the results a second."""
    port, camera = _free_port(), HostileCamera(jpeg, None)
    camera.hostile, camera.pause_s = False, 0.05  # a rate that a busy machine can keep as well
    settings = Settings(source=camera.url, web=f"127.0.0.1:{port}")
    context = multiprocessing.get_context("spawn")
    with Service(settings) as service, contextlib.ExitStack() as stack:
        time.sleep(2)
        before = _rate(service, 8)
        for _ in range(500):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        over = context.Event()
        floods = [
            context.Process(target=_flood, args=(port, paths, over), daemon=True)
            for paths in ([b"/healthz"], [b"/state.json", b"/raw.jpg", b"/sanitized.jpg"])
        ]
        for process in floods:
            process.start()
        time.sleep(3)
        slowest, asked = 0.0, threading.Event()

        def ask() -> None:
            nonlocal slowest
            while not asked.is_set():
                began = time.monotonic()
                assert _get(f"http://127.0.0.1:{port}/healthz")[0] == 200
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.2)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        under = _rate(service, 8)
        asked.set()
        over.set()
        asking.join(5)
        for process in floods:
            process.join(10)
        after = _rate(service, 8)
    camera.close()
    rates = f"results a second: {before:.1f} before, {under:.1f} under the flood, {after:.1f} after"
    print(f"{rates}; slowest /healthz {slowest:.3f} s")
    assert under >= 0.95 * min(before, after) and slowest < 1, rates


def _rate(service: Service, seconds: float) -> float:
    first = len(service.results)
    time.sleep(seconds)
    return (len(service.results) - first) / seconds
