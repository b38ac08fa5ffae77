"""A mosquitto of the test's own."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from programs import needed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def broker(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "mosquitto.conf"
    user = "" if os.geteuid() else "user root"
    config.write_text(f"listener {port} 127.0.0.1\n{user}\nallow_anonymous true\n")
    process = subprocess.Popen([needed("mosquitto"), "-c", config], stderr=subprocess.DEVNULL)
    try:
        wait(lambda: _listens(port), "the broker listens")
        yield process
    finally:
        process.kill()
        process.wait()


def wait(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
