"""Everything in Python that parses bytes from outside, under Atheris (libFuzzer):

    python tests/fuzz/fuzz_parsers.py build/fuzz-python [-max_total_time=120] ...

The first byte of an input chooses the parser. No exception other than the parser's own may leave it; libFuzzer watches
the memory (`-rss_limit_mb`) and the time (`-timeout`).
"""

import inspect
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import atheris
import numpy as np

from edgeguard.camera import files, http_mjpeg, vc0706_line
from edgeguard.camera.http_mjpeg import HttpMjpeg
from edgeguard.camera.vc0706_line import ProtocolError, Vc0706Line
from edgeguard.errors import DeviceError
from edgeguard.guard import GuardProfile, encode_jpeg, jpeg_header, seal
from edgeguard.guard.jpeg_header import JpegError, read_jpeg_info
from edgeguard.guard.seal import Seal, SealChecker, read_seal, seal_jpeg

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
    assert data == SEALED, f"accepted {found}"


def vc0706(data: bytes) -> None:
    """A frame of a serial camera that answers anything."""
    try:
        frame = Vc0706Line(Port(data)).frame()
    except ProtocolError:
        return
    assert frame[:2] == b"\xff\xd8" and frame[-2:] == b"\xff\xd9"


def mjpeg(data: bytes) -> None:
    """A stream of a network camera that sends anything."""
    port = Port(data)
    source = HttpMjpeg.__new__(HttpMjpeg)
    source.name, source._boundary, source._buffer, source._checker = "fuzz", b"--frame", b"", None
    source._timeout_s, source._frame_timeout_s = 3.0, 6.0
    source._connection = SimpleNamespace(sock=None)
    source._response = SimpleNamespace(read1=lambda count: port.read(min(count, 700)))
    try:
        for number, _ in enumerate(source.frames()):
            if number > _MOST_FRAMES:
                break
    except DeviceError:
        pass


PARSERS = (headers, proven, vc0706, mjpeg)
JPEG = encode_jpeg(np.zeros((8, 8, 3), np.uint8), GuardProfile.preset("fd-jpeg"))
SEALED = seal_jpeg(JPEG, Seal(1, 2.5, NONCE, "00"), KEY)


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
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate((JPEG, SEALED, serial + b"\x76\0\x36\0\0", 2 * part + b"--frame--\r\n")):
        (folder / f"seed-{number}").write_bytes(bytes([number]) + data)


def one_input(data: bytes) -> None:
    """What libFuzzer calls."""
    if data:
        PARSERS[data[0] % len(PARSERS)](bytes(data[1:]))


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    instrument(files, http_mjpeg, jpeg_header, seal, vc0706_line)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
