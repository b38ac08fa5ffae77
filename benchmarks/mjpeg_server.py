"""An HTTP Motion JPEG server for the benchmarks, in a process of its own: paced, or as fast as it is read."""

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


@contextmanager
def mjpeg_server(jpegs: list[bytes], fps: float | None) -> Iterator[str]:
    """Serve the frames over and over; None for unpaced. Yields the URL."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(jpegs, fps, sender), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}/stream"
    finally:
        process.terminate()
        process.join()


def _serve(jpegs: list[bytes], fps: float | None, sender: Connection) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    sender.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.recv(65536)
                connection.sendall(HEAD)
                _stream(connection, jpegs, fps)
            except OSError:
                continue


def _stream(connection: socket.socket, jpegs: list[bytes], fps: float | None) -> None:
    due, index = time.monotonic(), 0
    while True:
        jpeg = jpegs[index % len(jpegs)]
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        connection.sendall(head + jpeg + b"\r\n")
        index += 1
        if fps is not None:
            due += 1 / fps
            time.sleep(max(due - time.monotonic(), 0))
