"""Dialects of multipart streams, each from a real server: what small cameras, their web servers and proxies write.

Collected from public reports of people who use such cameras with Frigate, motion, Tasmota, Home Assistant, go2rtc,
mjpg-streamer, ESP32 boards, FFmpeg and OpenCV. Each gives its pictures byte for byte, or one line.
"""

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from camera.streams import http_server
from numpy.typing import NDArray

from edgeguard.camera import Captured
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.multipart import MAX_PART_BYTES, MultipartError, MultipartReader, boundary_of
from edgeguard.errors import DeviceError
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg.end import JpegEnd

Jpegs = list[bytes]
MIXED = "multipart/x-mixed-replace"
X, FRAME = f"{MIXED}; boundary=x", f"{MIXED};boundary=frame"


@dataclass(frozen=True)
class Dialect:
    """How a stream is written.

    Attributes:
        name: what is odd about it.
        content_type: of the answer; None leaves the header out.
        body: all that follows the answer's head.
        said: of the one line that it gives instead of pictures; empty where it gives them.
        headers: more of the answer's head.
    """

    name: str
    content_type: str | None
    body: Callable[[Jpegs], bytes]
    said: str = ""
    headers: str = ""


def parts(
    before: str = "--x\r\n",
    head: str = "Content-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n",
    after: bytes = b"\r\n",
    start: bytes = b"",
    end: bytes = b"--x--\r\n",
    off: int = 0,
) -> Callable[[Jpegs], bytes]:
    def body(jpegs: Jpegs) -> bytes:
        each = [(before + head.format(n=len(jpeg) + off)).encode("latin-1") + jpeg + after for jpeg in jpegs]
        return start + b"".join(each) + end

    return body


def chunked(body: Callable[[Jpegs], bytes], size: int) -> Callable[[Jpegs], bytes]:
    def written(jpegs: Jpegs) -> bytes:
        data = body(jpegs)
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    return written


def no_length(jpegs: Jpegs) -> bytes:
    return parts(head="Content-Type: image/jpeg\r\n\r\n")(jpegs)


def lengths(*, first: int) -> Callable[[Jpegs], bytes]:
    """Only the first part's length is wrong."""

    def body(jpegs: Jpegs) -> bytes:
        return parts(off=first, end=b"")(jpegs[:1]) + parts()(jpegs[1:])

    return body


def with_texts(jpegs: Jpegs) -> bytes:
    text = b"--x\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nmotion: yes\r\n"
    return b"".join(text + parts(end=b"")([jpeg]) for jpeg in jpegs)


def with_texts_without_length(jpegs: Jpegs) -> bytes:
    text = b'--x\r\nContent-Type: application/json\r\n\r\n{"motion": 1}\r\n'
    return b"".join(text + parts(end=b"")([jpeg]) for jpeg in jpegs)


def with_previews(jpegs: Jpegs) -> bytes:
    """A smaller picture stands behind each, within its part and without its length."""
    return parts(head="Content-Type: image/jpeg\r\n\r\n", after=jpegs[0] + b"\r\n")(jpegs)


def with_empty_parts(jpegs: Jpegs) -> bytes:
    empty = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: 0\r\n\r\n\r\n"
    return b"".join(empty + parts(end=b"")([jpeg]) for jpeg in jpegs)


HEAD = "Content-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n"
BARE = "Content-Type: image/jpeg\r\n\r\n"
DIALECTS = [
    Dialect("as RFC 2046 has it", X, parts()),
    Dialect("the first delimiter is left out", X, lambda j: parts()(j)[5:]),
    Dialect("the first delimiter is left out, no lengths", X, lambda j: no_length(j)[5:]),
    Dialect("a blank line before the first headers", X, lambda j: b"\r\n" + parts()(j)[5:]),
    Dialect("preamble text", X, parts(start=b"This is a multi-part message in MIME format.\r\n\r\n")),
    Dialect("preamble that looks like a header", X, parts(start=b"Note: for browsers\r\n\r\n")),
    Dialect("a binary preamble", X, parts(start=bytes(range(200)) * 3 + b"\r\n")),
    Dialect("declared --x, sent --x", f"{MIXED}; boundary=--x", parts()),
    Dialect("declared --x, sent ----x", f"{MIXED}; boundary=--x", parts("----x\r\n", end=b"----x--\r\n")),
    Dialect("declared x, sent ----x", X, parts("----x\r\n", end=b"")),
    Dialect("delimiter without dashes", FRAME, parts("frame\r\n", end=b"")),
    Dialect("delimiter without dashes, no lengths", FRAME, parts("frame\r\n", BARE, end=b"")),
    Dialect("one dash", FRAME, parts("-frame\r\n", end=b"")),
    Dialect("another boundary than declared", f"{MIXED}; boundary=BoundaryString", parts("--ipcamera\r\n", end=b"")),
    Dialect(
        "another boundary, no lengths", f"{MIXED}; boundary=BoundaryString", parts("--ipcamera\r\n", BARE, end=b"")
    ),
    Dialect(
        "each delimiter ends in dashes", f"{MIXED};boundary=data-boundary--", parts("--data-boundary--\r\n", end=b"")
    ),
    Dialect("a space in the boundary", f"{MIXED};boundary=video boundary--", parts("--video boundary--\r\n", end=b"")),
    Dialect("multipart/mixed", "multipart/mixed; boundary=x", parts()),
    Dialect(
        "multipart/related, quoted, another parameter", 'multipart/related; type="image/jpeg"; boundary="x"', parts()
    ),
    Dialect("capitals and spaces", 'Multipart/X-Mixed-Replace ;  Boundary = "x" ', parts()),
    Dialect(
        "a boundary of odd characters in quotes", f'{MIXED}; boundary="a (b); c"', parts("--a (b); c\r\n", end=b"")
    ),
    Dialect("single quotes", f"{MIXED}; boundary='x'", parts("--x\r\n")),
    Dialect("no boundary parameter", MIXED, parts("--whatever\r\n", end=b"")),
    Dialect("no boundary parameter, no lengths", MIXED, parts("--whatever\r\n", BARE, end=b"")),
    Dialect("an empty boundary", f"{MIXED}; boundary=", parts("--\r\n", end=b"")),
    Dialect("no Content-Type of the answer", None, parts()),
    Dialect("application/octet-stream", "application/octet-stream", parts()),
    Dialect("text/plain", "text/plain; charset=utf-8", parts()),
    Dialect("no Content-Type of the parts", X, parts(head="Content-Length: {n}\r\n\r\n")),
    Dialect("no headers in the parts", X, parts(head="\r\n")),
    Dialect("no headers and no blank line", X, parts(head="")),
    Dialect("headers without a blank line", X, parts(head=HEAD[:-2])),
    Dialect("two blank lines behind the headers", X, parts(head=HEAD + "\r\n")),
    Dialect("a blank line before the headers", X, parts(head="\r\n" + HEAD)),
    Dialect("a blank line among the headers", X, parts(head=HEAD.replace("\r\nC", "\r\n\r\nC"))),
    Dialect("an HTTP status line in each part", X, parts(head="HTTP/1.0 200 OK\r\n" + HEAD)),
    Dialect("a header line without a colon", X, parts(head="X-Ok\r\n" + HEAD)),
    Dialect("many headers of its own", X, parts(head="".join(f"X-{i}: {i}\r\n" for i in range(40)) + HEAD)),
    Dialect(
        "header names in capitals, spaces before the colon",
        X,
        parts(head=HEAD.upper().replace(":", " :").replace("{N}", "{n}")),
    ),
    Dialect("image/jpg, with a parameter", X, parts(head=HEAD.replace("jpeg", "jpg; q=1"))),
    Dialect("a wrong type of the parts", X, parts(head=HEAD.replace("image/jpeg", "application/octet-stream"))),
    Dialect("no lengths", X, no_length),
    Dialect("lengths of 0", X, parts(head="Content-Length: 0\r\n\r\n")),
    Dialect("lengths that are no numbers", X, parts(head="Content-Length: -1\r\n\r\n")),
    Dialect("lengths too long by the line end", X, parts(off=2, end=b"")),
    Dialect("lengths too long by 700", X, parts(off=700)),
    Dialect("lengths too short by 1", X, parts(off=-1)),
    Dialect("lengths too short by 300", X, parts(off=-300)),
    Dialect("the first length is too long", X, lengths(first=5)),
    Dialect("the first length is too short", X, lengths(first=-40)),
    Dialect("line feeds alone", X, lambda j: parts("--x\n", HEAD.replace("\r", ""), b"\n", end=b"")(j)),
    Dialect("line feeds alone, no lengths", X, parts("--x\n", "Content-Type: image/jpeg\n\n", b"\n", end=b"")),
    Dialect("carriage returns alone", X, parts("--x\r", HEAD.replace("\n", ""), b"\r", end=b"")),
    Dialect("nothing between a picture and the delimiter", X, parts(after=b"")),
    Dialect("nothing between, no lengths", FRAME, parts("--frame\r\n", BARE, b"", end=b"")),
    Dialect("zeros behind the pictures", X, parts(after=bytes(512) + b"\r\n")),
    Dialect("zeros behind the pictures, no lengths", X, parts(head=BARE, after=bytes(512) + b"\r\n")),
    Dialect("junk behind the pictures", FRAME, parts("--frame\r\n", BARE, b"\x01junk\xfe\r\n", end=b"")),
    Dialect("previews behind the pictures, no lengths", FRAME, lambda j: with_previews(j).replace(b"--x", b"--frame")),
    Dialect("several blank lines between parts", X, parts(after=b"\r\n\r\n\r\n\r\n")),
    Dialect("a closing delimiter behind each part", X, parts(after=b"\r\n--x--\r\n")),
    Dialect("two delimiters before each part", X, parts("--x\r\n--x\r\n")),
    Dialect("text parts between the pictures", X, with_texts),
    Dialect("text parts without lengths", FRAME, lambda j: with_texts_without_length(j).replace(b"--x", b"--frame")),
    Dialect("empty parts between the pictures", X, with_empty_parts),
    Dialect("pictures one after the other, image/jpeg", "image/jpeg", lambda j: b"".join(j)),
    Dialect("pictures one after the other, video/x-motion-jpeg", "video/x-motion-jpeg", lambda j: b"\r\n".join(j)),
    Dialect("pictures one after the other within multipart", X, lambda j: b"".join(j)),
    Dialect("chunked", X, chunked(parts(), 1000), headers="Transfer-Encoding: chunked\r\n"),
    Dialect("chunked in small pieces, no lengths", X, chunked(no_length, 7), headers="Transfer-Encoding: chunked\r\n"),
    Dialect("an answer of 10 GB in one part", X, parts(), headers="Content-Length: 10000000000\r\n"),
    # What is no stream gives one line that says what was seen.
    Dialect("a web page", "text/html", lambda j: b"<html>", "answers with text/html, a web page and no stream"),
    Dialect("a playlist", "application/vnd.apple.mpegurl", lambda j: b"#EXTM3U", "answers with application/vnd.apple"),
    Dialect("a film", "video/mp4", lambda j: b"\0\0\0 ftyp", "answers with video/mp4"),
    Dialect(
        "one still picture", "image/jpeg", lambda j: j[0], "one still picture .*--poll", headers="Content-Length: 9\r\n"
    ),
    Dialect("nothing", X, lambda j: b"", "answers and sends nothing"),
    Dialect("text that never ends", X, lambda j: b"hello\r\n" * 300_000, "sends something else than parts"),
    Dialect(
        "text parts alone",
        X,
        lambda j: b"--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n" * 9 + b"--x--\r\n",
        "its parts are 9 of text/plain",
    ),
    Dialect(
        "H.264 in parts",
        X,
        lambda j: b"--x\r\nContent-Type: video/x-h264\r\nContent-Length: 4\r\n\r\n\0\0\0\1\r\n" * 5,
        "its parts are 5 of video/x-h264",
    ),
    Dialect("zeros", X, lambda j: bytes(5000), r"shows no picture: .*begins with b'\\x00"),
    Dialect(
        "a part of 10 GB",
        X,
        lambda j: b"--x\r\nContent-Length: 10000000000\r\n\r\n",
        "announces a frame of 10000000000 bytes",
    ),
]


@pytest.fixture(scope="module")
def jpegs(scenes: list[NDArray[np.uint8]]) -> list[bytes]:
    """Three pictures, the second with a thumbnail whose end is not its own."""
    profile = GuardProfile.preset("jpeg:80")
    found = [encode_jpeg(np.ascontiguousarray(scene[:96, :80]), profile) for scene in scenes[:3]]
    small = encode_jpeg(np.ascontiguousarray(scenes[0][:32, :32]), profile)
    segment = b"Exif\0\0" + small
    found[1] = found[1][:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + found[1][2:]
    return found


def _served(dialect: Dialect, body: bytes, pieces: int) -> Callable[[socket.socket, bytes], None]:
    kind = "" if dialect.content_type is None else f"Content-Type: {dialect.content_type}\r\n"
    head = f"HTTP/1.1 200 OK\r\n{kind}{dialect.headers}\r\n".encode()

    def handle(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head)
        for start in range(0, len(body), pieces):
            connection.sendall(body[start : start + pieces])
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(2)
        connection.recv(1)  # until the client has closed

    return handle


def _frames(url: str) -> tuple[list[bytes], str]:
    """Pictures, and what was said at the end."""
    found: list[bytes] = []
    try:
        source = HttpMjpeg(url)
        try:
            for item in source.frames():
                assert isinstance(item, Captured), item
                found.append((item.jpeg or b"").rstrip(b"\r\n"))  # a length may hold the line's end
        finally:
            source.close()
    except DeviceError as error:
        return found, str(error)
    return found, ""


def _pictures(reader: MultipartReader) -> list[bytes]:
    return [part.data.rstrip(b"\r\n") for part in reader.parts() if part.data[:2] == b"\xff\xd8"]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_each_dialect_gives_its_pictures_or_one_line(dialect: Dialect, jpegs: list[bytes]) -> None:
    body = dialect.body(jpegs)
    with http_server(_served(dialect, body, 4099)) as url:
        found, said = _frames(url)
    if dialect.said:
        assert not found
        assert re.search(dialect.said, said) and "\n" not in said, said
    else:
        assert found == jpegs, (said, [len(data) for data in found], [len(data) for data in jpegs])
        assert said == "" or "ended" in said


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 20])
@pytest.mark.parametrize(
    "dialect", [d for d in DIALECTS if not d.said and not d.headers], ids=lambda d: d.name.replace(" ", "-")
)
def test_how_the_bytes_arrive_changes_nothing(dialect: Dialect, jpegs: list[bytes], size: int) -> None:
    reader, data, found = MultipartReader(boundary_of(dialect.content_type or "")), dialect.body(jpegs), list[bytes]()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        found += _pictures(reader)
    reader.end()
    found += _pictures(reader)
    assert found == jpegs


def test_a_picture_without_a_length_does_not_wait_for_the_next_delimiter(jpegs: list[bytes]) -> None:
    reader = MultipartReader(b"x")
    reader.feed(b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + jpegs[1])
    assert [part.data for part in reader.parts()] == [jpegs[1]]


def test_a_wrong_length_costs_the_wait_for_the_next_part_once(jpegs: list[bytes]) -> None:
    reader = MultipartReader(b"x")
    one = [parts(off=30, end=b"")([jpeg]) for jpeg in jpegs]
    reader.feed(one[0])
    assert not list(reader.parts())
    reader.feed(one[1])
    assert [part.data for part in reader.parts()] == jpegs[:2]
    reader.feed(one[2])
    assert [part.data for part in reader.parts()] == jpegs[2:]


def test_damaged_parts_stay_apart(jpegs: list[bytes]) -> None:
    for head in (HEAD, BARE):
        reader = MultipartReader(b"frame")
        halves = [jpegs[0], jpegs[1][: len(jpegs[1]) // 2], jpegs[2], b"<html>", jpegs[0]]
        reader.feed(parts("--frame\r\n", head, end=b"--frame--")(halves))
        assert [part.data for part in reader.parts()] == halves, head


def test_what_is_passed_over_is_counted(jpegs: list[bytes]) -> None:
    reader = MultipartReader(b"x")
    reader.feed(b"hello\r\n" + with_empty_parts(jpegs) + with_previews(jpegs) + parts(off=4)(jpegs))
    assert len(list(reader.parts())) == 9
    assert reader.passed_over == {
        "text between parts": 1, "empty parts": 3, "bytes after pictures": 3, "wrong lengths of parts": 1,
    }  # fmt: skip


def test_memory_stays_bounded() -> None:
    """200 MB of headers, endless text, an endless part: refused before they have grown."""
    for stream, said in (
        (b"--x\r\n" + b"h: x\r\n" * 100_000, "64 headers"),
        (b"--x\r\nh: " + b"x" * 200_000, "something else"),
        (b"hello\r\n" * 300_000, "something else"),
        (b"--x\r\n\r\n\xff\xd8\xff" + b"a" * (MAX_PART_BYTES + 10), "frame of more than"),
        (b"--x\r\nContent-Length: 10000000000\r\n\r\na", "announces"),
    ):
        reader = MultipartReader(b"x")
        with pytest.raises(MultipartError, match=said):
            for start in range(0, len(stream), 65536):
                reader.feed(stream[start : start + 65536])
                list(reader.parts())


def test_twenty_thousand_tiny_parts_leave_nothing_behind() -> None:
    reader, began, count = MultipartReader(b"x"), time.monotonic(), 0
    for _ in range(200):
        reader.feed(b"--x\r\n\r\na\r\n" * 100)
        count += sum(1 for _ in reader.parts())
    assert count >= 19_999 and len(reader._buffer) < 100 and time.monotonic() - began < 10


def test_boundaries_as_they_are_declared() -> None:
    for text, expected in (
        ("multipart/x-mixed-replace;boundary=abc", b"abc"),
        ('multipart/x-mixed-replace; boundary="a;b"; x=1', b"a;b"),
        ("multipart/x-mixed-replace; boundary =abc", b"abc"),
        ("multipart/x-mixed-replace", b""),
        ("multipart/x-mixed-replace; boundary", b""),
        ("", b""),
    ):
        assert boundary_of(text) == expected, text


def test_the_end_of_a_jpeg(jpegs: list[bytes]) -> None:
    for jpeg in jpegs:
        end = JpegEnd()
        found = [end.find(jpeg[:size]) for size in (3, 100, 700, len(jpeg) - 1)]
        assert found == [None] * 4 and end.find(jpeg + b"more\xff\xd9") == len(jpeg)
