"""What stands between a right URL and its picture: logins, redirects, cookies, certificates, each a real server."""

import base64
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from camera.http_cameras import Answer, Asked, DigestServer, camera, self_signed
from camera.streams import answer, http_server
from numpy.typing import NDArray

from edgeguard.camera import Captured, open_source
from edgeguard.camera.http_client import HttpClient
from edgeguard.camera.http_login import challenges
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.urls import credentials, split_url, target_of
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, encode_jpeg


@pytest.fixture(scope="module")
def stream(scenes: list[NDArray[np.uint8]]) -> Answer:
    """An answer of two pictures."""
    jpeg = encode_jpeg(scenes[0], GuardProfile.preset("jpeg:80"))
    part = b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n"
    return 200, {"Content-Type": "multipart/x-mixed-replace; boundary=x"}, 2 * part + b"--x--\r\n"


def _count(url: str) -> int:
    source = HttpMjpeg(url)
    try:
        return sum(isinstance(item, Captured) for item in source.frames())
    finally:
        source.close()


@pytest.mark.parametrize(
    ("algorithm", "qop"),
    [
        ("MD5", "auth"), ("MD5", ""), ("", "auth"), ("", ""), ("MD5-sess", "auth"), ("SHA-256", "auth"),
        ("SHA-256", "auth,auth-int"), ("SHA-256-sess", "auth"), ("SHA-512-256", "auth"),
    ],
)  # fmt: skip
def test_digest(stream: Answer, algorithm: str, qop: str) -> None:
    server = DigestServer(b"me", b"p@ss:w", algorithm=algorithm, qop=qop)
    with camera(lambda asked: server.refusal(asked) or stream) as (host, log):
        assert _count(f"http://me:p%40ss:w@{host}/video?size=1&x=a%20b") == 2
        assert len(log) == 2 and log[0].path == "/video?size=1&x=a%20b"
        with pytest.raises(DeviceError, match=rf"refuses this user or password \(Digest {algorithm or 'MD5'}\)"):
            HttpMjpeg(f"http://me:wrong@{host}/video")
        with pytest.raises(
            DeviceError, match=r"wants a user and a password \(http://user:password@.*\?token=\.\.\. behind"
        ):
            HttpMjpeg(f"http://{host}/video")
        with pytest.raises(DeviceError, match=r"if it is an edgeguard sensor, another \?token="):
            HttpMjpeg(f"http://{host}/video?token=abc")


@pytest.mark.parametrize(
    ("user", "password", "written"),
    [
        ("me", "a%b", "me:a%b"), ("me", "50%25", "me:50%2525"), ("me@home", "x y", "me@home:x%20y"),
        ("me", "[1]", "me:[1]"), ("me", "a@b@c", "me:a@b@c"), ("me", "", "me:"), ("me", "", "me"),
        ("me", "a/b?c#d", "me:a%2Fb%3Fc%23d"), ("me", '"\\', 'me:"\\'), ("münchen", "straße", "münchen:straße"),
        ("me", "日本", "me:日本"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("digest", [True, False])
def test_odd_characters(stream: Answer, user: str, password: str, written: str, digest: bool) -> None:
    seen: list[str] = []
    server = DigestServer(user.encode(), password.encode(), algorithm="SHA-256")

    def basic(asked: Asked) -> Answer:
        seen.append(asked.headers.get("Authorization", ""))
        ok = seen[-1] == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return stream if ok else (401, {"WWW-Authenticate": 'Basic realm="x"', "Content-Length": "0"}, b"")

    with camera((lambda asked: server.refusal(asked) or stream) if digest else basic) as (host, _):
        assert _count(f"http://{written}@{host}/") == 2
        parts = split_url(f"http://{written}@{host}/", ("http",))
        assert credentials(parts) == (user, password)


def test_latin_1_where_utf_8_is_refused(stream: Answer) -> None:
    server = DigestServer("jürg".encode("latin-1"), "grün".encode("latin-1"))
    with camera(lambda asked: server.refusal(asked) or stream) as (host, _):
        assert _count(f"http://jürg:grün@{host}/") == 2


def test_stale_nonces_are_replaced(stream: Answer) -> None:
    server = DigestServer(b"me", b"pw", uses=2)
    with camera(lambda asked: server.refusal(asked) or (200, {"Content-Length": "2"}, b"hi")) as (host, log):
        client = HttpClient(f"http://me:pw@{host}/")
        for _ in range(7):
            assert client.get("*/*").read() == b"hi"
            client.end()
    assert len(log) == 7 + 1 + 3  # one refusal at the beginning, then one for each nonce that has run out


def test_the_password_goes_only_where_digest_is_not_wanted(stream: Answer) -> None:
    server = DigestServer(b"me", b"right")

    def both(asked: Asked) -> Answer:
        refused = server.refusal(asked)
        if refused is None:
            return stream
        return refused[0], {"WWW-Authenticate": f"Basic realm=x\n{server.challenge()}", "Content-Length": "0"}, b""

    with camera(both) as (host, log):
        with pytest.raises(DeviceError, match="refuses this user or password"):
            HttpMjpeg(f"http://me:wrong@{host}/")
        assert not any("Basic" in asked.headers.get("Authorization", "") for asked in log)


@pytest.mark.parametrize(
    ("headers", "kinds"),
    [
        (['Digest realm="a", nonce="b", qop="auth"', "Basic realm=c"], ["Digest MD5", "Basic"]),
        (['Basic realm="a, b", Digest realm=x, nonce=y, algorithm=SHA-256'], ["Basic", "Digest SHA-256"]),
        (["Negotiate", "NTLM"], ["Negotiate", "Ntlm"]),
        (["Digest"], ["Digest MD5"]),
        (['Digest realm=, nonce = "x"'], ["Digest MD5"]),
        ([""], []),
        (["=,,=\"", "Basic"], ["Basic"]),
    ],
)  # fmt: skip
def test_challenges(headers: list[str], kinds: list[str]) -> None:
    assert [str(challenge) for challenge in challenges(headers)] == kinds


def _says(script: Callable[[Asked], Answer], said: str, login: str = "me:pw@") -> None:
    with camera(script) as (host, _), pytest.raises(DeviceError, match=said) as error:
        HttpMjpeg(f"http://{login}{host}/video")
    assert "pw" not in str(error.value) and "\n" not in str(error.value)


def test_what_is_refused_is_named() -> None:
    def only(status: int, **headers: str) -> Callable[[Asked], Answer]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda asked: (status, {**named, "Content-Length": "0"}, b"")

    _says(only(401), "answers 401 Unauthorized: it refuses this user or password")
    _says(only(403), "answers 403 Forbidden: it refuses this user or password")
    _says(only(401, WWW_Authenticate="NTLM"), r"wants a login that is not known here \(Ntlm\)")
    _says(only(401, WWW_Authenticate='Digest realm=x, nonce=y, qop="auth-int"'), "not known here .*auth-int")
    _says(only(401, WWW_Authenticate="Digest realm=x, nonce=y, algorithm=SHA-3"), "not known here .*SHA-3")
    _says(only(404), "answers 404 Not Found")
    _says(only(503), "answers 503 Service Unavailable")
    _says(only(302, Location="/login.html"), r"redirects to http://\S+/login.html, a login page")
    _says(only(302, Location="http://elsewhere.example/x"), r"redirects to http://elsewhere.example/x, which is not")
    _says(only(302, Location="file:///etc/passwd"), "redirects to file:///etc/passwd, which is not followed")
    _says(only(302), r"redirects to .*, which is not followed|again and again")
    _says(only(302, Location="http://[::1"), "which is not followed")
    _says(only(307, Location="/video"), "redirects or refuses again and again")
    _says(only(200, Content_Type="text/html"), "a web page and no stream")


def test_redirects_and_cookies_on_the_way(stream: Answer) -> None:
    server = DigestServer(b"me", b"pw")

    def script(asked: Asked) -> Answer:
        if asked.path == "/":
            return 301, {"Location": "/a/video?x=1", "Set-Cookie": "id=7; Path=/\nlang=en", "Content-Length": "0"}, b""
        if asked.headers.get("Cookie") != "id=7; lang=en":
            return 302, {"Location": "/", "Content-Length": "0"}, b""
        return server.refusal(asked) or stream

    with camera(script) as (host, log):
        assert _count(f"http://me:pw@{host}/") == 2
    assert [asked.path for asked in log] == ["/", "/a/video?x=1", "/a/video?x=1"]


def test_a_self_signed_certificate_is_named_and_can_be_trusted(stream: Answer, tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    with camera(lambda asked: stream, context) as (host, _):
        with pytest.raises(DeviceError, match=r"cannot be trusted \(self-signed certificate\).*SSL_CERT_FILE"):
            HttpMjpeg(f"https://{host}/")
        with mock.patch.dict(os.environ, SSL_CERT_FILE=str(certificate)):
            assert _count(f"https://{host}/") == 2
            with pytest.raises(DeviceError, match="cannot be trusted.*ostname mismatch"):
                HttpMjpeg(f"https://{host.replace('127.0.0.1', 'localhost')}/")
        with pytest.raises(DeviceError, match=r"speaks https on this port|cannot be reached"):
            HttpMjpeg(f"http://{host}/")
    with camera(lambda asked: stream) as (host, _), pytest.raises(DeviceError, match="does not speak https"):
        HttpMjpeg(f"https://{host}/")
    with http_server(answer(b"RTSP/1.0 400 Bad Request\r\n\r\n")) as url:
        with pytest.raises(DeviceError, match="speaks RTSP on this port"):
            HttpMjpeg(url)


def test_200_megabytes_of_headers_end() -> None:
    def flood(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _number in range(200):
            connection.sendall(b"X-Header: " + b"x" * 1_000_000 + b"\r\n")

    with http_server(flood) as url, pytest.raises(DeviceError, match="cannot be reached: got more than 65536 bytes"):
        HttpMjpeg(url)

    def many(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _number in range(2000):
            connection.sendall(b"X-Header: x\r\n" * 1000)

    with http_server(many) as url, pytest.raises(DeviceError, match="cannot be reached: got more than 100 headers"):
        HttpMjpeg(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://me:a/b@camera/video", "percent|ends it: write %2F for /"),
        ("http://me:a#b@camera/video", "ends it"),
        ("http://me:secret@cam:99999/", "not a URL"),
        ("http://me:secret@", "is not an http:// or https:// URL"),
        ("http://me:secret@[::1/", "not a URL"),
    ],
)
def test_urls_that_are_none_show_no_password(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        open_source(url)
    assert "secret" not in str(error.value) and "a/b" not in str(error.value)


def test_paths_are_sent_as_they_are_written() -> None:
    def sent(url: str) -> Any:
        return target_of(split_url(url, ("http",)))

    assert sent("http://c/cgi-bin/mjpg/video.cgi?channel=1&subtype=1") == "/cgi-bin/mjpg/video.cgi?channel=1&subtype=1"
    assert sent("http://c/@live/[1]") == "/@live/[1]" and sent("http://c?a=b") == "/?a=b"
    assert sent("http://c/größe x") == "/gr%C3%B6%C3%9Fe%20x"
