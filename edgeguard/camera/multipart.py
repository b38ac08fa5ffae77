"""Parts of a Motion-JPEG stream, whatever a small camera or a proxy writes around its pictures.

RFC 2046 says how a multipart body is framed. What devices send differs from it in every detail, so the framing is a
hint here and the picture decides: a part begins at its headers or at FFD8, and ends where its length, its JPEG or the
next delimiter says. What had to be passed over is counted.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from edgeguard.jpeg.end import JpegEnd

#: A part with more bytes than this ends the stream.
MAX_PART_BYTES = 16 << 20
_MAX_LINE, _MAX_HEADERS = 8192, 64
_MAX_GARBAGE, _PRICE_OF_A_LINE = 1 << 20, 64  # bytes between two parts; a line costs time, however short it is
_JPEG, _BLANK = b"\xff\xd8\xff", b"\r\n \t\0"
_BLANKS = re.compile(rb"[\r\n \t\0]*")
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,60}[ \t]*:")
_STATUS = re.compile(rb"HTTP/")  # some send the whole answer's head again with each part
_AGAIN = b"content-"
_AHEAD = 280  # bytes behind a part that tell whether its length was right; longer than a delimiter
_MOST_PREVIEWS = 2  # smaller pictures behind a picture, in the same part

#: What was passed over, by the names under which it is counted.
TEXT, EMPTY, LENGTH, TRAILING = "text between parts", "empty parts", "wrong lengths of parts", "bytes after pictures"


@dataclass(frozen=True)
class Part:
    """One part of the stream.

    Attributes:
        content_type: the media type in lower case; empty where it has none.
        data: the body.
    """

    content_type: str
    data: bytes


class MultipartError(ValueError):
    """The stream cannot be read on; the message says what it sends, without naming it."""


def boundary_of(content_type: str) -> bytes:
    """The boundary parameter of a Content-Type (RFC 2045), as it is declared; empty where there is none.

    Example:
        >>> boundary_of('multipart/x-mixed-replace; charset=utf-8 ; Boundary = "a b"')
        b'a b'
    """
    message = Message()
    message["Content-Type"] = content_type
    found = message.get_param("boundary", "")
    return found.strip().encode("latin-1", "replace") if isinstance(found, str) else b""


class MultipartReader:
    r"""Takes bytes as they come, gives parts as soon as they are whole. Holds at most one part and a line.

    Args:
        boundary: as the Content-Type declares it, with or without dashes; empty where it does not.

    Attributes:
        passed_over: how often what had to be passed over.
        closing: the last delimiter was a closing one, and nothing came after it.
        at_end: nothing more will arrive.

    Example:
        >>> reader = MultipartReader(b"x")
        >>> reader.feed(b"--x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi\r\n")
        >>> [part.data for part in reader.parts()]
        [b'hi']
    """

    def __init__(self, boundary: bytes = b"") -> None:
        self.passed_over: Counter[str] = Counter()
        self.closing = False
        self._core = b""
        self._delimiter = _delimiter_in_body(b"")
        self._learn(boundary)
        self._buffer = bytearray()
        self._headers: dict[str, str] | None = None
        self._body: _Body | None = None
        self._delimited = self._bare = False
        self._bare_in_a_row = self._garbage = self._header_lines = 0
        self._lengths_are_right = True
        self.at_end = False

    @property
    def in_part(self) -> bool:
        """The headers of a part have arrived, and its body has not."""
        return self._body is not None

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    def end(self) -> None:
        """Nothing more will arrive: `parts` gives what can be taken for whole."""
        self.at_end = True

    def parts(self) -> Iterator[Part]:
        """The parts that are whole by now.

        Raises:
            MultipartError: it is no such stream, or a part is larger than `MAX_PART_BYTES`.
        """
        while True:
            if self._headers is None and not self._find_part():
                return
            if self._body is None and not self._read_headers():
                return
            if self._body is None:  # a closing delimiter among headers
                continue
            data = self._read_body(self._body)
            if data is None:
                return
            assert self._headers is not None
            kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
            self._headers = self._body = None
            if not data:
                self.passed_over[EMPTY] += 1
            elif self._belongs_to_the_last():
                self.passed_over[TRAILING] += 1
            else:
                yield Part(kind, data)

    def _belongs_to_the_last(self) -> bool:
        """A preview behind a picture stands there without a delimiter, where all others have one."""
        self._bare_in_a_row = self._bare_in_a_row + 1 if self._bare else 0
        if self._bare_in_a_row > _MOST_PREVIEWS:
            self._delimited = False  # nobody delimits any more
        return self._bare and self._delimited

    def _find_part(self) -> bool:
        """Pass over everything up to a delimiter, a header or a picture."""
        while True:
            del self._buffer[: _after_blank(self._buffer, 0)]
            if not self._buffer:
                return False
            line_end = _LINE_END.search(self._buffer, 0, _MAX_LINE)
            length = line_end.start() if line_end else min(len(self._buffer), _MAX_LINE)
            picture = self._buffer.find(_JPEG, 0, length + len(_JPEG))
            if picture >= 0:
                before = self._take(picture).strip(_BLANK)
                delimited = self._is_delimiter(before)
                if before and not delimited:
                    self._pass_over(before)
                self._begin_part(bare=not delimited)
                return True
            if line_end is None and len(self._buffer) < _MAX_LINE:
                return False
            line = bytes(self._buffer[:length])
            if _HEADER.match(line) or _STATUS.match(line):  # the delimiter before them was left out
                self._begin_part()
                return True
            self._take(line_end.end() if line_end else length - len(_JPEG))
            text = line.strip(_BLANK)
            if not self._is_delimiter(text):
                self._pass_over(line)
            elif self._opens(text):
                self._begin_part()
                return True

    def _begin_part(self, bare: bool = False) -> None:
        self._headers, self._garbage, self._header_lines, self._bare = {}, 0, 0, bare

    def _opens(self, delimiter: bytes) -> bool:
        """Take a delimiter; False for a closing one, after which nothing has to come, and may."""
        self._learn(delimiter)
        self._delimited = True
        self.closing = delimiter.endswith(b"--") and delimiter.strip(b"-") != b""
        return not self.closing

    def _learn(self, delimiter: bytes) -> None:
        """What is sent counts, not what was declared."""
        core = delimiter.strip(b"-" + _BLANK)
        if core and core != self._core:
            self._core, self._delimiter = core, _delimiter_in_body(core)

    def _read_headers(self) -> bool:
        """Headers up to the blank line or the picture; False where they have not arrived."""
        assert self._headers is not None
        while True:
            if self._buffer[: len(_JPEG)] == _JPEG:
                self._begin_body(self._headers)
                return True
            line_end = _LINE_END.search(self._buffer, 0, _MAX_LINE)
            if line_end is None:
                if len(self._buffer) >= _MAX_LINE:
                    raise MultipartError("sends something else than parts of its stream")
                return False
            text = bytes(self._buffer[: line_end.start()]).strip(_BLANK)
            if not text and not self._knows_what_follows(line_end.end()):
                return False
            self._take(line_end.end())
            if self._is_delimiter(text):
                self.passed_over[EMPTY] += 1
                self._headers = {} if self._opens(text) else None
                if self._headers is None:
                    return True
            elif text:
                self._take_header(text, self._headers)
            elif self._buffer[: len(_AGAIN)].lower() != _AGAIN:  # else it is a blank line among the headers
                self._begin_body(self._headers)
                return True

    def _knows_what_follows(self, start: int) -> bool:
        """Whether what stands behind a blank line can be told from more headers."""
        ahead = self._buffer[start : start + len(_AGAIN)].lower()
        return self.at_end or len(ahead) == len(_AGAIN) or not _AGAIN.startswith(ahead)

    def _take_header(self, line: bytes, headers: dict[str, str]) -> None:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
        elif not _STATUS.match(line):
            self._pass_over(line)
        self._header_lines += 1
        if self._header_lines > _MAX_HEADERS:
            raise MultipartError(f"sends more than {_MAX_HEADERS} headers with a frame")

    def _begin_body(self, headers: dict[str, str]) -> None:
        self.closing = False
        text = headers.get("content-length", "")
        length = None
        if text.isascii() and text.isdigit():
            if len(text) > 12 or int(text) > MAX_PART_BYTES:  # Python refuses to convert thousands of digits
                raise MultipartError(f"announces a frame of {text[:20]} bytes, more than {MAX_PART_BYTES}")
            length = int(text) or None
        self._body = _Body(length)

    def _read_body(self, body: "_Body") -> bytes | None:
        """The whole body; None while it is not; empty for an empty part."""
        if body.is_jpeg is None and not self._look_at_beginning(body):
            return None
        if body.length is None or (body.is_jpeg and not self._lengths_are_right):
            return self._by_contents(body)
        if len(self._buffer) >= body.length:
            return self._by_length(body, body.length)
        end = body.find_end(self._buffer) if self.at_end and body.is_jpeg else None
        return None if end is None else self._cut(end)

    def _look_at_beginning(self, body: "_Body") -> bool:
        """Whether it is a JPEG, behind blank bytes or not; False while that cannot be told."""
        start = _after_blank(self._buffer, 0)
        is_whole = self.at_end or (body.length is not None and len(self._buffer) >= body.length)
        if len(self._buffer) < start + len(_JPEG) and not is_whole:
            return False
        body.is_jpeg = self._buffer[start : start + len(_JPEG)] == _JPEG
        if body.is_jpeg:
            self._take(start)
        return True

    def _by_length(self, body: "_Body", length: int) -> bytes | None:
        """The announced length, where what stands there agrees."""
        if not body.is_jpeg or _ends_like_a_jpeg(self._buffer, length):
            return self._take(length)
        end = body.find_end(self._buffer)
        if end is not None and end <= length:
            return self._cut(end) if self._delimiter_at(end, length) else self._take(length)
        if self.at_end or self._delimiter_at(length):
            return self._take(length)  # damaged, and as long as it says
        if end is None and len(self._buffer) < length + _AHEAD:
            return None
        self._lengths_are_right = False
        self.passed_over[LENGTH] += 1
        return self._by_contents(body)

    def _by_contents(self, body: "_Body") -> bytes | None:
        """A JPEG up to its end, anything else up to the next delimiter."""
        if not body.is_jpeg and self._delimiter_at(0):
            return b""
        end = body.find_end(self._buffer) if body.is_jpeg else None
        found = self._delimiter.search(self._buffer, body.searched, end or len(self._buffer))
        if found is not None:
            return self._take(found.start())
        if end is not None:
            return self._take(end)
        body.searched = max(len(self._buffer) - _AHEAD, 0)
        if len(self._buffer) > MAX_PART_BYTES:
            raise MultipartError(f"sends a frame of more than {MAX_PART_BYTES} bytes")
        return None

    def _cut(self, end: int) -> bytes:
        """A picture that is whole though its length says otherwise; what follows is the next part."""
        self._lengths_are_right = False
        self.passed_over[LENGTH] += 1
        return self._take(end)

    def _delimiter_at(self, start: int, before: int | None = None) -> bool:
        """Whether a delimiter begins there, behind blanks, and (where given) before a position."""
        start = _after_blank(self._buffer, start)
        if before is not None and start >= before:
            return False
        line = bytes(self._buffer[start : start + 256])
        found = _LINE_END.search(line)
        return self._is_delimiter(line[: found.start()] if found else line.strip(_BLANK))

    def _is_delimiter(self, line: bytes) -> bool:
        if not 0 < len(line) <= 256:
            return False
        return line.startswith(b"--") or (bool(self._core) and line.strip(b"-" + _BLANK) == self._core)

    def _pass_over(self, text: bytes) -> None:
        self.passed_over[TEXT] += 1
        self._garbage += len(text) + _PRICE_OF_A_LINE
        if self._garbage > _MAX_GARBAGE:
            raise MultipartError("sends something else than parts of its stream")

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class _Body:
    """What is known of the body that arrives."""

    def __init__(self, length: int | None) -> None:
        self.length, self.searched = length, 0
        self.is_jpeg: bool | None = None
        self._end = JpegEnd()
        self._found: int | None = None

    def find_end(self, data: bytearray) -> int | None:
        """Behind the JPEG's EOI marker."""
        if self._found is None:
            self._found = self._end.find(data)
        return self._found


def _delimiter_in_body(core: bytes) -> re.Pattern[bytes]:
    """What ends a body that says no length and is no whole JPEG."""
    if not core:
        return re.compile(rb"(?:\r?\n)?--[!-~]{1,200}[ \t]*\r?\n(?=[A-Za-z-]+[ \t]*:)")
    name = re.escape(core)
    if len(core) < 4:  # too short to be told from a picture's bytes without a line of its own
        return re.compile(rb"[\r\n]+-*" + name + rb"(?:--)?[ \t]*[\r\n]")
    return re.compile(rb"(?:\r?\n|\r)?--+" + name + rb"|[\r\n]+" + name + rb"[ \t]*[\r\n]")


def _ends_like_a_jpeg(data: bytearray, length: int) -> bool:
    return bytes(data[max(length - 64, 0) : length]).rstrip(_BLANK).endswith(b"\xff\xd9")


def _after_blank(data: bytearray, start: int) -> int:
    """The first position from `start` on that is no blank."""
    found = _BLANKS.match(data, start)
    return start if found is None else found.end()
