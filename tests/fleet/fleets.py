"""A small fleet for tests: keys, bundles of little files, a repository, a device, a web server that can misbehave."""

import hashlib
import http.server
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgeguard.fleet.envelope import envelope_bytes, sealed
from edgeguard.fleet.identity import Device, join
from edgeguard.fleet.layout import Layout
from edgeguard.fleet.manifest import EXPECTED, File, Health, Manifest, moment_text
from edgeguard.fleet.workstation.build import write_bundle
from edgeguard.fleet.workstation.keys import load_signer, make_keys
from edgeguard.fleet.workstation.publish import Repository, publish

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def files_of(version: int, size: int = 3000) -> dict[str, bytes]:
    """Files that name their version; the golden check of such a bundle is the test's."""
    model = hashlib.sha256(f"model {version}".encode()).digest() * (size // 32)
    return {
        "model.tflite": model, "config.toml": b'[camera]\nsource = "synthetic:cards"\n', "golden/0.png": b"picture",
        EXPECTED: b"outputs",
    }  # fmt: skip


def manifest_of(version: int, files: dict[str, bytes], now: datetime | None = None, **changes: Any) -> Manifest:
    now = datetime.now(UTC) if now is None else now
    entries = tuple(File(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items())
    expires = moment_text(now.replace(year=now.year + 1))
    made = Manifest(1, "cam", version, moment_text(now), expires, "0.0.1", entries, health=Health(within_s=5))
    return replace(made, **changes)


@dataclass
class Fleet:
    """A fleet in a folder.

    Attributes:
        folder: of all of it.
        now: when the keys were made.
        release_keys, threshold: see `make_keys`.
    """

    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    release_keys: int = 1
    threshold: int = 1

    def __post_init__(self) -> None:
        make_keys(self.keys, self.now, self.release_keys, self.threshold)

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def repository(self) -> Repository:
        return Repository(self.folder / "repository", self.keys)

    @property
    def release(self) -> str:
        return "release" if self.release_keys == 1 else "release-1"

    def device(self, name: str = "cam-hall", **changes: Any) -> tuple[Layout, Device]:
        layout = Layout(self.folder / f"device-{name}")
        device = replace(Device(1, name, ("pi5", "aarch64")), **changes)
        join(layout, (self.keys / "root.json").read_bytes(), device)
        return layout, device

    def bundle(self, version: int, *signers: str, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
        """A bundle, signed by these keys (by the first release key where none is named; "" for nobody)."""
        contents = files_of(version) if files is None else files
        payload = changes.pop("payload", None) or manifest_of(version, contents, **changes).to_bytes()
        path = self.folder / f"cam-{version}.egb"
        envelope = sealed(payload, None, None)
        for name in signers or (self.release,):
            if name:
                envelope = sealed(payload, envelope, load_signer(self.keys / name))
        write_bundle(path, envelope_bytes(envelope), payload, contents)
        return path

    def publish(self, bundle: Path | None = None, share: float = 100.0, now: datetime | None = None) -> None:
        publish(self.repository, bundle, share, now=datetime.now(UTC) if now is None else now)


class Server:
    """A static web server; `spoil` may answer in its place.

    Attributes:
        spoil: called with the path and the handler; True when it answered.
        got: paths that were served.
    """

    def __init__(self, folder: Path) -> None:
        self.spoil: Callable[[str, http.server.BaseHTTPRequestHandler], bool] = lambda path, handler: False
        self.got: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                server.got.append(self.path)
                if server.spoil(self.path, self):
                    return
                path = folder / self.path.lstrip("/")
                if not path.is_file():
                    self.send_error(404)
                    return
                data = path.read_bytes()
                first = int(self.headers.get("Range", "bytes=0-")[6:-1])
                self.send_response(206 if first else 200)
                self.send_header("Content-Length", str(len(data) - first))
                self.end_headers()
                self.wfile.write(data[first:])

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class FakeService:
    """A run that does what a test wants.

    Attributes:
        starts: so often.
        behave: called at each start.
        ready, why: what it says.
    """

    def __init__(self, behave: Callable[["FakeService"], None] | None = None) -> None:
        self.starts, self.ready, self.why = 0, False, None
        self.behave = behave

    why: str | None

    def restart(self) -> None:
        self.starts += 1
        self.ready, self.why = True, None
        if self.behave is not None:
            self.behave(self)

    def stop(self) -> None:
        self.why = "it was stopped"

    def is_ready(self) -> bool:
        return self.ready

    def death(self) -> str | None:
        return self.why


def well(layout: Layout, **changes: Any) -> Callable[[FakeService], None]:
    """A run that is well at once."""
    import json

    def behave(service: FakeService) -> None:
        status = {"at": time.time() + 0.01, "uptime_s": 0.0, "frames": 50, "camera": "running", "age_ms": [5, 9],
                  "infer_ms": [5, 9], **changes}  # fmt: skip
        layout.status.write_text(json.dumps(status))

    return behave


@contextmanager
def full_disk(folder: Path, left: int) -> Iterator[None]:
    """Not used on a real disk: a folder whose file system says so much is left."""
    import os
    from unittest.mock import patch

    real = os.statvfs

    class Left:
        f_bavail, f_frsize = left, 1

    with patch("os.statvfs", lambda path: Left if str(path).startswith(str(folder)) else real(path)):
        yield


def snapshot(folder: Path) -> Path:
    """A copy of a repository as it is now."""
    copy = folder.with_name(f"{folder.name}-{time.monotonic_ns()}")
    shutil.copytree(folder, copy)
    return copy
