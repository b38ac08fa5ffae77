"""A real HTTP MJPEG server on loopback, with faults on demand."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Handler = Callable[[socket.socket, bytes], None]


@contextmanager
def http_server(handler: Handler) -> Iterator[str]:
    """Serve each connection with `handler(connection, request)`; yields the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                try:
                    handler(connection, connection.recv(65536))
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/stream"
    finally:
        stop.set()
        thread.join(10)
        listener.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


def part(jpeg: bytes, *, length: bool = True) -> bytes:
    """One part of the stream."""
    header = b"--frame\r\nContent-Type: image/jpeg\r\n"
    if length:
        header += f"Content-Length: {len(jpeg)}\r\n".encode()
    return header + b"\r\n" + jpeg + b"\r\n"


def stream(
    jpegs: list[bytes], *, length: bool = True, pause_s: float = 0.0, close: bytes = b"--frame--\r\n"
) -> Handler:
    """A handler that sends frames, then `close`."""

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(HEAD)
        for jpeg in jpegs:
            connection.sendall(part(jpeg, length=length))
            time.sleep(pause_s)
        connection.sendall(close)

    return handle


def answer(data: bytes, hold_s: float = 0.0) -> Handler:
    """A handler that sends `data` and holds the connection open."""

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(data)
        time.sleep(hold_s)

    return handle
