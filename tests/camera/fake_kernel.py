"""Video nodes as Linux describes them, answered with the structures of linux/videodev2.h in a layout of our own."""

import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeguard.camera import v4l2_nodes

CAPTURE, PLANES, M2M, META = 0x1, 0x1000, 0x4000, 0x00800000
OUTPUT = 0x2
EXT_FORMAT, STREAMING, MEDIA_CONTROLLER = 0x00200000, 0x04000000, 0x20000000
DEVICE_CAPS = 0x80000000


@dataclass(frozen=True)
class FakeNode:
    """What the two ioctls answer for a node; `fails` is the errno of opening it."""

    driver: str
    card: str
    bus: str
    caps: int
    device_caps: int
    formats: tuple[str, ...] = ()
    fails: int = 0
    no_v4l2: bool = False

    def querycap(self, buffer: bytearray) -> None:
        buffer[0:16] = self.driver.encode().ljust(16, b"\0")
        buffer[16:48] = self.card.encode()[:31].ljust(32, b"\0")
        buffer[48:80] = self.bus.encode()[:31].ljust(32, b"\0")
        buffer[80:84] = (0x00060C19).to_bytes(4, "little")
        buffer[84:88] = self.caps.to_bytes(4, "little")
        buffer[88:92] = self.device_caps.to_bytes(4, "little")

    def enum_fmt(self, buffer: bytearray) -> None:
        index, kind = int.from_bytes(buffer[0:4], "little"), int.from_bytes(buffer[4:8], "little")
        planes = bool(self.device_caps & PLANES)
        if index >= len(self.formats) or kind != (9 if planes else 1):
            raise OSError(errno.EINVAL, "Invalid argument")
        buffer[12:44] = b"a description".ljust(32, b"\0")
        buffer[44:48] = self.formats[index].ljust(4).encode()


@dataclass
class FakeKernel:
    """A machine's nodes by their numbers."""

    nodes: dict[int, FakeNode] = field(default_factory=dict)
    opened: set[int] = field(default_factory=set)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(v4l2_nodes, "_paths", lambda: [Path(f"/dev/video{n}") for n in sorted(self.nodes)])
        monkeypatch.setattr(v4l2_nodes, "_open", self._open)
        monkeypatch.setattr(v4l2_nodes, "_close", self.opened.remove)
        monkeypatch.setattr(v4l2_nodes, "_ioctl", self._ioctl)

    def _open(self, path: Path) -> int:
        number = int(path.name.removeprefix("video"))
        if number not in self.nodes:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if self.nodes[number].fails:
            raise OSError(self.nodes[number].fails, "")
        self.opened.add(number)
        return number

    def _ioctl(self, fd: int, request: int, buffer: bytearray) -> None:
        node = self.nodes[fd]
        if node.no_v4l2:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        # The size stands in the request: a structure of another size is another call.
        if request == 2 << 30 | 104 << 16 | ord("V") << 8 | 0 and len(buffer) == 104:
            node.querycap(buffer)
        elif request == 3 << 30 | 64 << 16 | ord("V") << 8 | 2 and len(buffer) == 64:
            node.enum_fmt(buffer)
        else:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")


_BOTH = CAPTURE | META | EXT_FORMAT | STREAMING | DEVICE_CAPS
_ALL_FORMATS = ("YUYV", "UYVY", "RGB3", "BGR3", "BA81", "GBRG", "pBAA", "BG10", "Y10P", "GREY")


def webcam(name: str = "HD Pro Webcam C920", bus: str = "usb-0000:01:00.0-1.1") -> tuple[FakeNode, FakeNode]:
    """A UVC webcam: pictures, and a node of metadata beside them; both name the capabilities of the whole."""
    return (
        FakeNode("uvcvideo", name, bus, _BOTH, CAPTURE | EXT_FORMAT | STREAMING, ("YUYV", "MJPG")),
        FakeNode("uvcvideo", name, bus, _BOTH, META | EXT_FORMAT | STREAMING),
    )


def pi_4(first: int = 0) -> dict[int, FakeNode]:
    """A Pi 4 with a camera on its connector: receiver (pictures and embedded data), codecs, image processor."""
    receiver = EXT_FORMAT | STREAMING
    unicam = FakeNode(
        "unicam", "unicam", "platform:fe801000.csi", CAPTURE | META | receiver | DEVICE_CAPS, CAPTURE | receiver,
        _ALL_FORMATS,
    )  # fmt: skip
    embedded = FakeNode("unicam", "unicam", "platform:fe801000.csi", unicam.caps, META | receiver)
    codec = FakeNode(
        "bcm2835-codec", "bcm2835-codec-decode", "platform:bcm2835-codec", M2M | receiver | DEVICE_CAPS,
        M2M | receiver, ("YU12", "NV12"),
    )  # fmt: skip
    isp = "platform:bcm2835-isp"
    isp_in = FakeNode("bcm2835-isp", "bcm2835-isp", isp, OUTPUT | receiver | DEVICE_CAPS, OUTPUT | receiver)
    isp_out = FakeNode(
        "bcm2835-isp",
        "bcm2835-isp",
        isp,
        CAPTURE | receiver | DEVICE_CAPS,
        CAPTURE | receiver,
        ("YUYV", "RGB3", "NV12"),
    )
    return {first: unicam, first + 1: embedded, 10: codec, 13: isp_in, 14: isp_out, 15: isp_out, 16: isp_out}


def pi_5() -> dict[int, FakeNode]:
    """A Pi 5: the receiver's nodes are set up through the media controller, the image processor takes whole planes."""
    media = EXT_FORMAT | STREAMING | MEDIA_CONTROLLER
    where = "platform:1f00110000.csi"
    cfe = [
        FakeNode("rp1-cfe", "rp1-cfe", where, CAPTURE | META | media | DEVICE_CAPS, CAPTURE | media, _ALL_FORMATS)
        for _ in range(4)
    ]
    backend = FakeNode(
        "pispbe",
        "pispbe",
        "platform:1000880000.pisp_be",
        PLANES | media | DEVICE_CAPS,
        PLANES | media,
        ("YU12", "RGB3"),
    )
    decoder = FakeNode(
        "rpi-hevc-dec", "rpi-hevc-dec", "platform:rpi-hevc-dec", M2M | EXT_FORMAT | STREAMING | DEVICE_CAPS,
        M2M | EXT_FORMAT | STREAMING,
    )  # fmt: skip
    return {**dict(enumerate(cfe)), 19: decoder, 20: backend, 21: backend}


def loopback(writer: bool) -> FakeNode:
    """A loopback device; without a writer it captures nothing yet, and offers no format."""
    caps = CAPTURE | OUTPUT | EXT_FORMAT | STREAMING
    return FakeNode(
        "v4l2 loopback", "Dummy video device (0x0000)", "platform:v4l2loopback-000", caps | DEVICE_CAPS, caps,
        ("YU12",) if writer else (),
    )  # fmt: skip
