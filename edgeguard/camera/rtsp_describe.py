"""Asking an RTSP server what it has (DESCRIBE, RFC 2326) before FFmpeg opens it, to which all failures are one."""

import socket
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import SplitResult

from edgeguard.camera.http_login import Login, challenges
from edgeguard.camera.urls import credentials, target_of
from edgeguard.errors import DeviceError

_PORTS = {"rtsp": 554, "rtsps": 322}
_MOST_BYTES = 1 << 16
_MOST_TRIES = 5
_NO_PATH = frozenset((400, 404, 451, 454, 455))


@dataclass(frozen=True)
class _Reply:
    protocol: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def describe(parts: SplitResult, name: str, timeout_s: float) -> socket.socket:
    """The connection, still open, where the server lets this user in and has video at this path.

    Some servers take their pipeline down when the last connection ends, and refuse whoever comes in that moment: keep
    it until the stream is opened.

    Args:
        parts: of an rtsp:// or rtsps:// URL, credentials included.
        name: of the source, for messages.
        timeout_s: the longest wait for the connection, and for each whole answer.

    Raises:
        DeviceError: it refuses the connection, says nothing, refuses user or password, does not know the path, or has
            no video there; each in words of its own.
    """
    given = credentials(parts)
    login = None if given is None else Login(*given)
    host = parts.netloc.rpartition("@")[2]
    uri = f"{parts.scheme}://{host}{target_of(parts) if parts.path or parts.query else ''}"
    for number in range(1, _MOST_TRIES + 1):
        sock, reply = _ask(
            parts, name, timeout_s, uri, number, None if login is None else login.header("DESCRIBE", uri)
        )
        if reply.status != 401:
            break
        sock.close()
        wanted = reply.all("www-authenticate")
        if login is None:
            raise DeviceError(f"{name} wants a user and a password (rtsp://user:password@...)")
        if not login.challenged(wanted):
            kinds = ", ".join(str(challenge) for challenge in challenges(wanted))
            raise DeviceError(f"{name} refuses this user or password{f' ({kinds[:80]})' if kinds else ''}")
    try:
        _judge(reply, name)
    except DeviceError:
        sock.close()
        raise
    return sock


def _judge(reply: _Reply, name: str) -> None:
    answers = f"{name} answers {reply.status} {reply.reason}".rstrip()
    if reply.protocol.startswith("HTTP"):
        raise DeviceError(f"{name} speaks HTTP on this port: use http://, or its RTSP port (often 554)")
    if reply.status in _NO_PATH:
        raise DeviceError(f"{answers}: there is no stream at this path (see the camera's manual)")
    if 300 <= reply.status < 400:
        to = next(iter(reply.all("location")), "nowhere").rpartition("@")[2]
        raise DeviceError(f"{answers} and redirects to {to[:120]}: if you trust that place, give its URL")
    if reply.status != 200:
        raise DeviceError(answers)
    media = [line[2:].split(" ")[0] for line in reply.body.splitlines() if line.startswith("m=")]
    if "video" not in media:
        raise DeviceError(f"{name} has no video at this path, only {', '.join(sorted(set(media)))[:80] or 'nothing'}")


def _ask(
    parts: SplitResult, name: str, timeout_s: float, uri: str, number: int, authorization: str | None
) -> tuple[socket.socket, _Reply]:
    lines = [f"DESCRIBE {uri} RTSP/1.0", f"CSeq: {number}", "User-Agent: edgeguard", "Accept: application/sdp"]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    address = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        with ExitStack() as stack:
            sock = stack.enter_context(socket.create_connection(address, timeout_s))
            if parts.scheme == "rtsps":
                sock = stack.enter_context(_unproven().wrap_socket(sock, server_hostname=address[0]))
            sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
            reply = _read(sock, name, timeout_s)
            sock.settimeout(timeout_s)
            stack.pop_all()
            return sock, reply
    except TimeoutError as error:
        raise DeviceError(f"{name} is silent: no answer within {timeout_s:g} s") from error
    except ConnectionRefusedError as error:
        raise DeviceError(f"{name} refuses the connection: nothing listens on port {address[1]} of it") from error
    except (OSError, ValueError) as error:
        raise DeviceError(f"{name} cannot be reached: {getattr(error, 'strerror', None) or error}") from error


def _unproven() -> ssl.SSLContext:
    """As FFmpeg does it: hidden from who listens, not proven to be the camera."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _read(sock: socket.socket, name: str, timeout_s: float) -> _Reply:
    data, deadline_s = b"", time.monotonic() + timeout_s
    while b"\r\n\r\n" not in data:
        data += _more(sock, data, name, deadline_s)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    protocol, _, status = first.partition(" ")
    code, _, reason = status.partition(" ")
    if not protocol.startswith(("RTSP/", "HTTP/")) or not code.isascii() or not code.isdigit() or len(code) != 3:
        raise DeviceError(f"{name} does not speak RTSP: its answer begins with {data[:40]!r}")
    headers = tuple((key.strip().lower(), value.strip()) for key, _, value in (line.partition(":") for line in rest))
    length = dict(headers).get("content-length", "0")
    wanted = int(length) if length.isascii() and length.isdigit() and len(length) < 7 else 0
    while len(body) < min(wanted, _MOST_BYTES):
        try:
            body += _more(sock, data + body, name, deadline_s)
        except DeviceError:  # shorter than it says
            break
    shown = "".join(letter for letter in reason[:80] if letter.isprintable())
    return _Reply(protocol, int(code), shown, headers, body.decode("utf-8", "replace"))


def _more(sock: socket.socket, sofar: bytes, name: str, deadline_s: float) -> bytes:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:  # a byte now and then is no answer
        raise TimeoutError
    sock.settimeout(left_s)
    piece = sock.recv(4096)
    if not piece or len(sofar) > _MOST_BYTES:
        what = f"its answer begins with {sofar[:40]!r}" if sofar else "it closes the connection without a word"
        raise DeviceError(f"{name} does not speak RTSP: {what}")
    return piece
