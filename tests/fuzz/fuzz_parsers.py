"""Everything in Python that parses bytes from outside, under Atheris (libFuzzer):

    python tests/fuzz/fuzz_parsers.py build/fuzz-python [-max_total_time=120] ...

The first byte of an input chooses the parser. No exception other than the parser's own may leave it; libFuzzer watches
the memory (`-rss_limit_mb`) and the time (`-timeout`).
"""

import inspect
import struct
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import atheris
import numpy as np

from edgeguard.camera import files, http_login, http_mjpeg, multipart
from edgeguard.camera.http_client import HttpClient
from edgeguard.camera.http_login import Login
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.openmv import link as openmv_link
from edgeguard.camera.openmv import packet as openmv_packet
from edgeguard.camera.openmv import source as openmv
from edgeguard.camera.openmv.link import LinkError, OpenMvLink
from edgeguard.camera.openmv.packet import Flag, Hurt, Packet, PacketReader, crc32
from edgeguard.camera.openmv.source import captured
from edgeguard.camera.vc0706 import protocol as vc0706_line
from edgeguard.camera.vc0706.protocol import ProtocolError, Vc0706Line
from edgeguard.errors import DeviceError, JpegError
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.jpeg import end as jpeg_end
from edgeguard.jpeg import header as jpeg_header
from edgeguard.jpeg import seal
from edgeguard.jpeg.header import read_jpeg_info
from edgeguard.jpeg.seal import Seal, SealChecker, read_seal, seal_jpeg, seal_png
from edgeguard.png import frame as png_frame
from edgeguard.png.frame import SIGNATURE, chunk, read_png, read_png_info, write_png
from edgeguard.system.foreign import MAX_PIXELS
from edgeguard.system.http import Access, access, message
from edgeguard.system.http.message import BadRequest, read_request

KEY, NONCE = b"k" * 32, "ab" * 16
_MOST_FRAMES = 50


class Port:
    """A serial port on which these bytes come, and then nothing."""

    baudrate, timeout = 115200, 1.0

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, count: int) -> bytes:
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def write(self, data: bytes) -> int:
        return len(data)


def headers(data: bytes) -> None:
    """JPEG headers and the seal in them."""
    try:
        read_seal(read_jpeg_info(data))
    except JpegError:
        pass


def proven(data: bytes) -> None:
    """A sealed frame: none but the real one is accepted."""
    try:
        found = SealChecker(KEY, NONCE).check(data)
    except JpegError:
        return
    assert data in (SEALED, SEALED_PNG), f"accepted {found}"


def png(data: bytes) -> None:
    """A frame without loss as it came, and again with right checksums around a header and pixels of any kind."""
    for whole in (data, SIGNATURE + chunk(b"IHDR", data[:13]) + chunk(b"IDAT", data[13:]) + chunk(b"IEND", b"")):
        try:
            info = read_png_info(whole)
            read_seal(info)
            levels = read_png(info)
        except JpegError:
            continue
        assert levels.shape == (info.height, info.width, 3) and levels.size <= 3 * MAX_PIXELS


def vc0706(data: bytes) -> None:
    """A frame of a serial camera that answers anything."""
    try:
        frame = Vc0706Line(Port(data)).frame()
    except ProtocolError:
        return
    assert frame[:2] == b"\xff\xd8" and frame[-2:] == b"\xff\xd9"


def openmv_wire(data: bytes) -> None:
    """Whatever comes on the line of an OpenMV board, in two pieces."""
    reader = PacketReader(4082)
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        for found in reader.feed(piece):
            assert isinstance(found, Hurt) or crc32(found.payload) >= 0
    assert 0 < reader.wanted() <= 4082 + 14


class Board:
    """A serial port with an OpenMV board that gives each request a well-formed packet with anything inside."""

    baudrate, timeout = 921600, 1.0

    def __init__(self, data: bytes) -> None:
        self.data, self.waiting = data, b""

    def write(self, data: bytes) -> int:
        (request,) = PacketReader().feed(data)
        assert isinstance(request, Packet)
        if len(self.data) < 3:
            raise OSError("unplugged")
        flags, length = Flag(self.data[0] & 63), int.from_bytes(self.data[1:3], "little") & 0xFFF
        payload, self.data = self.data[3 : 3 + length], self.data[3 + length :]
        self.waiting += Packet(request.sequence, request.channel, flags, request.opcode, payload).encoded()
        return len(data)

    def read(self, count: int) -> bytes:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        if not taken and self.timeout > 0.06:  # not while the line is drained
            raise OSError("silent")
        return taken


def openmv_answers(data: bytes) -> None:
    """An OpenMV board that answers anything."""
    link = OpenMvLink(Board(data))
    try:
        link.open()
        link.stream(True)
        link.printed()
        captured(0, "fuzz", link.picture(0.0), 0.0)
    except (LinkError, OSError):
        pass


def mjpeg(data: bytes) -> None:
    """A stream of a network camera that sends anything; its first byte chooses what the head declared."""
    port, declared = Port(data[1:]), ("multipart/x-mixed-replace; boundary=frame", "", "multipart/mixed; boundary=x")
    kind = declared[data[0] % len(declared)] if data else ""
    response: Any = SimpleNamespace(
        read1=lambda count: port.read(min(count, 700)),
        getheader=lambda name, default=None: kind if name == "Content-Type" else default,
        status=200,
    )
    with mock.patch.object(HttpClient, "get", lambda *_, **__: response):
        source = HttpMjpeg("http://fuzz/")
    try:
        for number, _ in enumerate(source.frames()):
            if number > _MOST_FRAMES:
                break
    except DeviceError:
        pass
    login = Login("me", "secret")
    if login.challenged([data.decode("latin-1")]):
        assert login.header("GET", "/")


def requests(data: bytes) -> None:
    """What anybody sends to a server of ours, and whether he may have it."""
    try:
        found = read_request(data)
    except BadRequest as error:
        assert 400 <= error.status < 500
        return
    if found is not None:
        assert found.path.startswith("/") and found.path.isascii() and len(found.body) <= 1024
        for access in (Access("localhost", None), Access("0.0.0.0", "0123456789abcdef")):
            refused = access.refusal(found)
            if refused is not None:
                refused.encoded()


PARSERS = (headers, proven, vc0706, mjpeg, openmv_wire, openmv_answers, requests, png, proven)
JPEG = encode_jpeg(np.zeros((8, 8, 3), np.uint8), GuardProfile.preset("fd-jpeg"))
SEALED = seal_jpeg(JPEG, Seal(1, 2.5, NONCE, "00"), KEY)
PNG = write_png(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
SEALED_PNG = seal_png(PNG, Seal(1, 2.5, NONCE, "00"), KEY)


def instrument(*modules: ModuleType) -> None:
    """Coverage of these modules' functions. Atheris' own import hook does not see editable installations."""
    for module in modules:
        owners = [module, *(c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__)]
        for owner in owners:
            for member in list(vars(owner).values()):
                function = member.fget if isinstance(member, property) else member
                if inspect.isfunction(function) and function.__module__ == module.__name__:
                    atheris.instrument_func(function)


def seeds(folder: Path) -> None:
    """Good inputs for each parser."""
    mark = b"\x76\0\x32\0\0"
    chunk = JPEG.ljust(-(-len(JPEG) // 8) * 8, b"\0")
    serial = b"\x76\0\x36\0\0" + b"\x76\0\x34\0\x04" + len(JPEG).to_bytes(4, "big") + mark + chunk + mark
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(JPEG), JPEG)
    wire = Packet(3, 3, Flag.ACK, 0x26, JPEG).encoded() + Packet(4, 3, Flag.ACK, 0x23).encoded()
    listed = b"".join(struct.pack("<BB14s", n, 0, name) for n, name in enumerate((b"", b"stdin", b"stdout", b"stream")))
    picture = struct.pack("<IIIII", 8, 8, 0x06060000, len(JPEG), 20) + JPEG
    small = [struct.pack("<IH10x", 15, 4082), b"", listed, b"", b"", b"\0\0\0\0", b"", struct.pack("<I", len(picture))]
    answers = b"".join(struct.pack("<BH", Flag.ACK, len(one)) + one for one in (b"", *small, picture, b""))
    folder.mkdir(parents=True, exist_ok=True)
    head = b"Host: [::1]:80\r\nCookie: edgeguard_token=a\r\nContent-Length: 3\r\n"
    request = b"POST /light?token=a%20b HTTP/1.1\r\n" + head + b"\r\ndim"
    good = (
        JPEG,
        SEALED,
        serial + b"\x76\0\x36\0\0",
        2 * part + b"--frame--\r\n",
        wire,
        answers,
        request,
        SEALED_PNG,
        SEALED_PNG,
    )
    for number, data in enumerate(good):
        (folder / f"seed-{number}").write_bytes(bytes([number]) + data)


def one_input(data: bytes) -> None:
    """What libFuzzer calls."""
    if data:
        PARSERS[data[0] % len(PARSERS)](bytes(data[1:]))


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    instrument(
        access, files, http_login, http_mjpeg, jpeg_end, jpeg_header, message, multipart, openmv, openmv_link,
        openmv_packet, png_frame, seal, vc0706_line,
    )  # fmt: skip
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
