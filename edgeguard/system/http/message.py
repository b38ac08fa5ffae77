"""Requests and answers: one strict reading of a request's bytes (RFC 9112), and nothing that a page does not need.

No bodies but short ones of known length, no pipelining, no folded or doubled headers: what two readers could read in
two ways is refused.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

MOST_HEAD_BYTES, MOST_BODY_BYTES = 16 << 10, 1 << 10
_MOST_HEADERS, _MOST_FIELDS = 64, 32
_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
_ONCE = frozenset({"host", "origin", "content-length", "authorization", "cookie", "sec-fetch-site", "sec-fetch-mode"})
_METHODS = ("GET", "HEAD", "POST")

#: A browser loads nothing and runs nothing but the server's own files, keeps nothing, and says nothing to others.
SAFE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

#: Sends bytes to whoever asked; raises OSError when he is gone or too slow.
Write = Callable[[bytes], None]


class BadRequest(Exception):
    """Bytes that are no request that is answered; `status` says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What somebody wants.

    Attributes:
        method: GET, HEAD or POST.
        path: without the query, as it was sent.
        query: its fields; of a repeated one the first.
        headers: by their names in lower case.
        body: at most 1024 bytes.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What he gets.

    Attributes:
        status: of HTTP.
        body, kind: the bytes and their media type.
        headers: beside those that every answer has.
        stream: instead of a body: is called in a thread of its own and sends pieces until it returns.
    """

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Callable[[Write], None] | None = None

    @staticmethod
    def line(status: int, text: str) -> "Answer":
        """A line of text."""
        return Answer(status, f"{text}\n".encode())

    @staticmethod
    def json(data: object) -> "Answer":
        """Plain data as JSON."""
        return Answer(200, json.dumps(data).encode(), "application/json")

    def encoded(self, *, body: bool = True) -> bytes:
        """Head and body as they are sent; only the head for HEAD."""
        fields = {"Content-Type": self.kind, **SAFE_HEADERS, **self.headers, "Connection": "close"}
        if self.stream is None:
            fields["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + (self.body if body else b"")


def read_request(data: bytes) -> Request | None:
    """The request that begins these bytes; None while it is not whole.

    Raises:
        BadRequest: it can be no request any more.
    """
    end = data.find(b"\r\n\r\n")
    if end > MOST_HEAD_BYTES or (end < 0 and len(data) > MOST_HEAD_BYTES):
        raise BadRequest(431, "the head of the request is too long")
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise BadRequest(400, "this is no request of HTTP/1.1")
    method, target = line[1].decode(), line[2].decode()
    if method not in _METHODS:
        raise BadRequest(405, "only GET, HEAD and POST are answered")
    headers = _headers(lines)
    length = _length(headers, method)
    body = data[end + 4 : end + 4 + length]
    if len(body) < length:
        return None
    path, _, query = target.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace")
    except ValueError as error:
        raise BadRequest(400, "the query has too many fields") from error
    return Request(method, path, dict(reversed(pairs)), headers, body)


def _headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > _MOST_HEADERS:
        raise BadRequest(431, "the request has too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise BadRequest(400, "a header of the request is malformed")
        name, value = found[1].decode().lower(), found[2].decode("latin-1").strip(" \t")
        if name in headers and name in _ONCE:
            raise BadRequest(400, f"the request has more than one header {name}")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _length(headers: Mapping[str, str], method: str) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(411, "a body needs a Content-Length")
    text = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadRequest(400, "Content-Length is no number")
    if int(text) > (MOST_BODY_BYTES if method == "POST" else 0):
        raise BadRequest(413, "the body of the request is too long")
    return int(text)
