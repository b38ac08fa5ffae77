"""The server from outside: who is refused, what is bounded, and that strangers hide nothing and slow nobody."""

import contextlib
import http.client
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.http import Access, Answer, HttpServer, Request, Write
from edgeguard.system.http.message import BadRequest, read_request

TOKEN = "0123456789abcdef"


def _answer(request: Request) -> Answer:
    if request.path == "/slow":
        time.sleep(0.2)
    if request.path == "/bug":
        raise RuntimeError("a bug")
    return Answer.line(200, f"{request.method} {request.path} {request.body.decode()}")


@contextlib.contextmanager
def _server(host: str = "127.0.0.1", token: str | None = None) -> Iterator[HttpServer]:
    health = Answer.line(200, "ok")
    with HttpServer(
        "test", host, 0, answer=_answer, health=lambda: health, token=token, posts=frozenset({"/light"})
    ) as server:
        yield server


def _port(server: HttpServer) -> int:
    return int(server.url.rstrip("/").rpartition(":")[2])


def _ask(server: HttpServer, data: bytes, host: str = "127.0.0.1") -> bytes:
    """What comes back for these bytes, until the server closes."""
    with socket.create_connection((host, _port(server)), timeout=8) as connection:
        connection.sendall(data)
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                pieces.append(piece)
    return b"".join(pieces)


def _status(server: HttpServer, path: str = "/", method: str = "GET", **headers: str) -> int:
    fields = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return int(_ask(server, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1")).split()[1])


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:80", 200), ("127.0.0.1:99", 200), ("[::1]:80", 200), ("192.168.0.7", 200),
     ("evil.example", 421), ("evil.example:80", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421),
     ("", 421), ("[evil.example]", 421), ("localhost@evil.example", 421)],
)  # fmt: skip
def test_a_name_that_somebody_made_point_here_reads_nothing(host: str, status: int) -> None:
    with _server() as server:
        assert _status(server, Host=host) == status
        assert _status(server, "/healthz", Host=host) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200), ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"}, 403), ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
    ],
)  # fmt: skip
def test_pages_of_other_sites_get_nothing(headers: dict[str, str], status: int) -> None:
    with _server() as server:
        assert _status(server, **headers) == status
        posted = _status(server, "/light", "POST", Content_Length="0", **headers)
        assert posted == (403 if headers.get("Sec_Fetch_Mode") == "navigate" else status)


def test_a_token_is_wanted_of_everybody() -> None:
    with _server(token=TOKEN) as server:
        assert _status(server) == _status(server, "/?token=wrong") == _status(server, "/light", "POST") == 401
        assert _status(server, f"/?token={TOKEN}") == 303 and _status(server, f"/x?token={TOKEN}") == 200
        assert _status(server, Cookie=f"a=b; edgeguard_token={TOKEN}") == 200
        assert _status(server, Authorization=f"Bearer {TOKEN}", Host="camera.example") == 200
        assert _status(server, Authorization=f"Bearer {TOKEN}", Origin="http://evil.example") == 403
        assert _status(server, "/healthz") == 200


def test_methods_bodies_and_bugs() -> None:
    with _server() as server:
        head = b"Host: localhost\r\nContent-Length: 3\r\n\r\n"
        assert _ask(server, b"POST /light HTTP/1.1\r\n" + head + b"dim").endswith(b"POST /light dim\n")
        assert _ask(server, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").endswith(b"\r\n\r\n")
        assert _status(server, "/", "POST") == 405 and _status(server, "/light") == 405
        assert _status(server, "/bug") == 500 and _status(server) == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", 400), (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX : a\r\n\r\n", 400), (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: \x1b[2J\r\n\r\n", 400), (b"DELETE / HTTP/1.1\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 65 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 17000, 431), (b"GET /?" + b"a&" * 40 + b" HTTP/1.1\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_two_readers_could_read_in_two_ways_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        read_request(data)
    assert caught.value.status == status


def test_mutated_requests_end_no_thread() -> None:
    generator = random.Random(5)
    whole = b"POST /light?token=a%20b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nCookie: a=b\r\n\r\ndim"
    with _server() as server:
        for _ in range(3000):
            data = bytearray(whole)
            for _change in range(generator.randrange(1, 6)):
                at = generator.randrange(len(data))
                data[at : at + generator.randrange(3)] = generator.randbytes(generator.randrange(4))
            with contextlib.suppress(BadRequest):
                found = read_request(bytes(data))
                if found is not None:
                    Access("localhost", None).refusal(found)
                    Access("localhost", TOKEN).refusal(found)
        for _ in range(150):
            data = bytearray(whole)
            data[generator.randrange(len(data))] = generator.randrange(256)
            with socket.create_connection(("127.0.0.1", _port(server)), timeout=5) as connection:
                connection.sendall(data)
        assert _status(server) == 200 and all(thread.is_alive() for thread in server._threads)


def test_heads_that_drip_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.system.http.server._HEAD_WITHIN_S", 0.5)
    with _server() as server, socket.create_connection(("127.0.0.1", _port(server)), timeout=5) as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 200:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert 0.4 < time.monotonic() - began < 2


def test_500_idle_connections_and_slow_readers_do_not_hide_health() -> None:
    with _server() as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", _port(server))
        for _ in range(500):
            stack.enter_context(socket.create_connection(address, timeout=5))
        for _ in range(40):  # more than the workers, and more than may wait for them
            slow = stack.enter_context(socket.create_connection(address, timeout=5))
            slow.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(20):
            began = time.monotonic()
            assert _status(server, "/healthz") == 200
            assert time.monotonic() - began < 1
        assert len(server._waiting) <= 128


@pytest.mark.full
def test_a_flood_takes_a_bounded_share_of_a_core() -> None:
    over = threading.Event()

    def flood(port: int) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection.recv(1000)

    with _server() as server:
        used: list[float] = []
        spend = server._reading.spend
        server._reading.spend = lambda seconds: (used.append(seconds), spend(seconds))[1]  # type: ignore[func-returns-value,method-assign]  # to see what is spent
        floods = [threading.Thread(target=flood, args=(_port(server),), daemon=True) for _ in range(4)]
        for thread in floods:
            thread.start()
        slowest = 0.0
        for _ in range(15):
            began = time.monotonic()
            assert _status(server, "/healthz") == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        over.set()
        for thread in floods:
            thread.join(5)
    assert slowest < 1 and sum(used) < 0.5 + 0.08 * 8


def test_ipv6_and_addresses_that_are_taken() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with _server("[::1]") as server:
        assert server.url.startswith("http://[::1]:")
        connection = http.client.HTTPConnection("::1", _port(server), timeout=5)
        connection.request("GET", "/x")
        assert connection.getresponse().status == 200
        with pytest.raises(DeviceError, match="cannot serve test"):
            HttpServer("test", "::1", _port(server), answer=_answer, health=lambda: Answer.line(200, "ok"))
    with pytest.raises(DeviceError, match="cannot serve test"):
        HttpServer("test", "no-such-name.invalid", 0, answer=_answer, health=lambda: Answer.line(200, "ok"))


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "xn--\u00e9"])
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    """Python encodes a name before it asks for it: exit code 70."""
    with pytest.raises(InputError, match="is no name of a host"):
        HttpServer("test", host, 0, answer=_answer, health=lambda: Answer.line(200, "ok"))


def test_the_end_does_not_wait_for_who_reads_slowly() -> None:
    with socket.socket() as reader:
        big = Answer(200, bytes(32 << 20))
        server = HttpServer("test", "127.0.0.1", 0, answer=lambda request: big, health=lambda: big)
        with server:
            reader.connect(("127.0.0.1", _port(server)))
            reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.3)
            began = time.monotonic()
        assert time.monotonic() - began < 2


def test_a_stream_gives_back_what_it_holds_though_nobody_is_there_any_more() -> None:
    held, ended = threading.Event(), threading.Event()

    def stream(write: Callable[[bytes], None]) -> None:
        try:
            write(b"x")
        finally:
            ended.set()

    def answer(request: Request) -> Answer:
        held.wait(5)  # until whoever asked is gone
        return Answer(200, kind="text/plain", stream=stream)

    with HttpServer("test", "127.0.0.1", 0, answer=answer, health=lambda: Answer.line(200, "ok")) as server:
        link = socket.create_connection(("127.0.0.1", _port(server)))
        link.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.close()  # with a reset: the head cannot be sent
        held.set()
        assert ended.wait(5)


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        ("HEAD /film", "Host: localhost", 200), ("HEAD /healthz", "Host: localhost", 200),
        ("HEAD /", "Host: localhost", 200), ("HEAD /bug", "Host: localhost", 500),
        ("HEAD /light", "Host: localhost", 405), ("HEAD /", "Host: elsewhere.example", 421),
        ("HEAD /", "Host: a\r\nHost: b", 400), ("HEAD nowhere", "Host: localhost", 400),
    ],
)  # fmt: skip
def test_the_answer_to_head_has_no_body(request_line: str, headers: str, status: int) -> None:
    ended, written = threading.Event(), list[int]()

    def film(write: Write) -> None:
        try:
            for _ in range(10):
                write(bytes(10_000))
                written.append(10_000)
        finally:
            ended.set()

    def answer(request: Request) -> Answer:
        if request.path != "/film":
            return _answer(request)
        return Answer(200, kind="video/mp4", headers={"Content-Length": "100000"}, stream=film)

    health = Answer.line(200, "ok")
    with HttpServer(
        "test", "127.0.0.1", 0, answer=answer, health=lambda: health, posts=frozenset({"/light"})
    ) as server:
        head, end, body = _ask(server, f"{request_line} HTTP/1.1\r\n{headers}\r\n\r\n".encode()).partition(b"\r\n\r\n")
        assert end and body == b"" and int(head.split()[1]) == status
        assert b"Content-Length: " in head
        if "film" in request_line:
            assert ended.wait(5) and not written, "the stream gives back what it holds, and is not read"
