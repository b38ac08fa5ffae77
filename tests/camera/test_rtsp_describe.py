"""Why an RTSP camera gives nothing: each reason in words of its own, against servers of our own making."""

import contextlib
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.request import parse_http_list, parse_keqv_list

import pytest

from edgeguard.camera.rtsp import Rtsp, _without_transport
from edgeguard.camera.rtsp_describe import describe
from edgeguard.camera.urls import split_url
from edgeguard.errors import DeviceError

VIDEO = "v=0\r\nm=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 26\r\n"
AUDIO = "v=0\r\nm=audio 0 RTP/AVP 0\r\n"


@contextmanager
def server(script: Callable[[str], bytes | None]) -> Iterator[str]:
    """Answers each request with what `script` makes of it; None keeps silent. Yields HOST:PORT."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                reply = script(connection.recv(65536).decode())
                if reply is None:
                    stop.wait(2)
                else:
                    connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        thread.join(5)
        listener.close()


def _reply(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"RTSP/1.0 {status}", "CSeq: 1", *headers, f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _ask(host: str, login: str = "", path: str = "/1", timeout_s: float = 3.0) -> None:
    url = f"rtsp://{login}{host}{path}"
    describe(split_url(url, ("rtsp",)), f"rtsp://{host}{path}", timeout_s).close()


def _digest(algorithm: str) -> Callable[[str], bytes]:
    name = "sha256" if algorithm == "SHA-256" else "md5"

    def h(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    def script(request: str) -> bytes:
        uri = request.split(" ")[1]
        found = re.search(r"Authorization: Digest (.*)\r\n", request)
        if found is not None:
            said = parse_keqv_list(parse_http_list(found[1]))
            right = h(f"{h('me:cam:p@ss')}:n:{h(f'DESCRIBE:{uri}')}")
            if said["response"] == right and said["uri"] == uri:
                return _reply("200 OK", VIDEO)
        return _reply(
            "401 Unauthorized", "", f'WWW-Authenticate: Digest realm="cam", nonce="n", algorithm={algorithm}',
            'WWW-Authenticate: Basic realm="cam"',
        )  # fmt: skip

    return script


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_digest(algorithm: str) -> None:
    with server(_digest(algorithm)) as host:
        _ask(host, "me:p@ss@", "/cam/realmonitor?channel=1&subtype=0")
        with pytest.raises(DeviceError, match=rf"refuses this user or password \(Digest {algorithm}, Basic\)") as error:
            _ask(host, "me:wrong@")
        assert "wrong" not in str(error.value)
        with pytest.raises(DeviceError, match="wants a user and a password"):
            _ask(host)


def test_basic() -> None:
    def script(request: str) -> bytes:
        ok = "Authorization: Basic bWU6c2VjcmV0\r\n" in request
        return _reply("200 OK", VIDEO) if ok else _reply("401 Unauthorized", "", "WWW-Authenticate: Basic realm=x")

    with server(script) as host:
        _ask(host, "me:secret@")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (_reply("404 Not Found"), "answers 404 Not Found: there is no stream at this path"),
        (_reply("454 Session Not Found"), "answers 454 .*: there is no stream at this path"),
        (_reply("200 OK", AUDIO), "has no video at this path, only audio"),
        (_reply("200 OK"), "has no video at this path, only nothing"),
        (_reply("503 Service Unavailable"), "answers 503 Service Unavailable"),
        (_reply("302 Moved", "", "Location: rtsp://me:pw@other/1"), "redirects to other/1: if you trust that place"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP on this port: use http://"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak RTSP: its answer begins with b'SSH"),
        (b"", "does not speak RTSP: it closes the connection without a word"),
        (b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 30_000, "does not speak RTSP|cannot be reached"),
        (b"RTSP/1.0 \xb2\xb2\xb2 OK\r\n\r\n", "does not speak RTSP"),
        (None, "is silent: no answer within 0.5 s"),
    ],
)  # fmt: skip
def test_each_reason_has_its_words(reply: bytes | None, said: str) -> None:
    with server(lambda request: reply) as host, pytest.raises(DeviceError, match=said) as error:
        _ask(host, timeout_s=0.5 if reply is None else 3.0)
    assert "pw" not in str(error.value) and "\n" not in str(error.value)


def test_an_answer_byte_by_byte_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while not over.wait(0.05):
                    connection.sendall(b"R")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(DeviceError, match="is silent: no answer within 0.4 s"):
            _ask(f"127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.4)
        over.set()
        thread.join(5)
    assert time.monotonic() - began < 5


def test_nobody_listens() -> None:
    with pytest.raises(DeviceError, match="refuses the connection: nothing listens on port 1 of it"):
        _ask("127.0.0.1:1")


def test_a_server_that_describes_and_does_not_deliver() -> None:
    def script(request: str) -> bytes:
        return _reply("200 OK", VIDEO) if "DESCRIBE" in request else _reply("461 Unsupported")

    with server(script) as host:
        with pytest.raises(DeviceError, match=r"has video and does not deliver it over TCP: try \?transport=udp"):
            Rtsp(f"rtsp://{host}/1", timeout_s=1.0)


def test_our_word_is_taken_out_of_the_url() -> None:
    for query, sent, transport in (
        ("transport=udp", "", "udp"),
        ("a=1&transport=tcp&b=2", "a=1&b=2", "tcp"),
        ("transport=x", "transport=x", "tcp"),
    ):
        parts, found = _without_transport(split_url(f"rtsp://camera/1?{query}", ("rtsp",)))
        assert (parts.query, found) == (sent, transport)
