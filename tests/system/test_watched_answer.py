"""Answers that never end are ended wherever the standard library reads them."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edgeguard.system.watched_answer import watched_response

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#: How an answer begins, and what comes for ever then.
ENDLESS = {
    "head": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk size": (CHUNKED + b"1;", b"a"),
    "trailers": (CHUNKED + b"0\r\n", b"X: y\r\n"),
}


@contextmanager
def endless(begin: bytes, then: bytes, pause_s: float) -> Iterator[int]:
    """A server on this port that sends `then` until nobody listens."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=send, args=(connection,), daemon=True).start()

    def send(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(1 << 16)
                connection.sendall(begin)
                while True:
                    connection.sendall(then)
                    time.sleep(pause_s)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        listener.close()


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_an_answer_that_does_not_end_is_ended(kind: str, pause_s: float) -> None:
    begin, then = ENDLESS[kind]
    with endless(begin, then if pause_s or len(then) == 1 else then * 100, pause_s) as port:
        until = time.monotonic() + 0.3

        def before_read(sock: socket.socket) -> None:
            if time.monotonic() >= until:
                raise TimeoutError
            sock.settimeout(1.0)

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        connection.response_class = watched_response(before_read)
        connection.request("GET", "/")
        with pytest.raises((TimeoutError, http.client.HTTPException)):
            connection.getresponse().read()
        connection.close()
        assert time.monotonic() < until + 2
