"""An HTTP MJPEG camera that can be told to misbehave, on one port all the way."""

import socket
import threading
import time

from camera.streams import HEAD, part

FAULTS = (
    "stall", "close", "html", "playlist", "truncated", "garbage", "slow drip", "mute", "polite end", "refuse",
)  # fmt: skip


class FaultyCamera:
    """Serves frames at 50 a second while `mode` is `good`; each connection follows the mode as it changes.

    Attributes:
        sent: whole frames that were sent.
        mode: `good`, or one of FAULTS.
    """

    def __init__(self, jpegs: list[bytes], fps: float = 50.0) -> None:
        self.jpegs, self.mode, self.sent = jpegs, "good", 0
        self._pause_s = 1 / fps
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/stream"

    def __enter__(self) -> "FaultyCamera":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._threads = [t for t in self._threads if t.is_alive()]
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                if self.mode == "refuse":
                    return
                if self.mode == "html":
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>login</html>")
                    return
                if self.mode == "playlist":
                    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
                    connection.sendall(head + b"#EXTM3U\nfile:///etc/passwd\n")
                    return
                if self.mode == "mute":
                    self._wait_while("mute")
                    return
                connection.sendall(HEAD)
                while not self._stop.is_set() and self._step(connection):
                    time.sleep(self._pause_s)
            except OSError:
                return

    def _step(self, connection: socket.socket) -> bool:
        """One frame, or one piece of misbehaviour; False closes the connection."""
        mode, jpeg = self.mode, self.jpegs[self.sent % len(self.jpegs)]
        if mode == "good":
            connection.sendall(part(jpeg))
            self.sent += 1
        elif mode == "truncated":
            connection.sendall(part(jpeg[: len(jpeg) // 2]))
        elif mode == "garbage":
            connection.sendall(bytes(range(256)) * 8)
        elif mode == "slow drip":
            connection.sendall(part(jpeg)[:40])
            self._wait_while("slow drip")
            return False
        elif mode == "polite end":
            connection.sendall(b"--frame--\r\n")
            return False
        elif mode in ("stall", "mute"):
            self._wait_while(mode)
            return False
        else:
            return False
        return True

    def _wait_while(self, mode: str) -> None:
        while self.mode == mode and not self._stop.is_set():
            time.sleep(0.01)
