"""What the kernel's video nodes are: one camera has several, and most of a Raspberry Pi's are no camera at all.

Capabilities and formats are read with the two ioctls of Linux's V4L2 interface that change nothing
(`linux/videodev2.h`: VIDIOC_QUERYCAP, VIDIOC_ENUM_FMT), so a camera that another program uses can be looked at too.
"""

import errno
import fcntl
import grp
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32sII12x")

_CAPTURE, _CAPTURE_PLANES = 0x00000001, 0x00001000
_MEM2MEM, _MEM2MEM_PLANES = 0x00008000, 0x00004000
_METADATA = 0x00800000
_STREAMING, _READ_WRITE = 0x04000000, 0x01000000
_MEDIA_CONTROLLER = 0x20000000
_HAS_NODE_CAPABILITIES = 0x80000000
_BUFFERS, _BUFFERS_OF_PLANES = 1, 9

#: Fourcc codes that OpenCV turns into a picture (its V4L2 reader); a bare sensor's Bayer mosaics are not among them.
_PICTURES = frozenset(
    (
        *("MJPG", "JPEG", "YUYV", "UYVY", "YU12", "YV12", "NV12", "NV21", "411P"),
        *("RGB3", "BGR3", "XR24", "AR24", "GREY", "Y10", "Y12", "Y16"),
    )
)
#: Drivers whose nodes answer like a camera and are none.
_NO_CAMERAS = {
    "unicam": "a raw receiver of a camera connector",
    "bcm2835-unicam": "a raw receiver of a camera connector",
    "rp1-cfe": "a raw receiver of a camera connector",
    "bcm2835-isp": "a part of the image processor",
    "pispbe": "a part of the image processor",
    "bcm2835-codec": "a video codec",
}
_FOR_LIBCAMERA = "libcamera works with it"


@dataclass(frozen=True)
class VideoNode:
    """One /dev/videoN, as the kernel describes it.

    Attributes:
        path: the device file.
        driver, card, bus: the kernel's names for driver, product and place; empty where the node cannot be asked.
        formats: fourcc codes that it captures, in the driver's order.
        passed_over: why it gives no pictures; empty for a usable camera.
        denied: it cannot be looked at: this user may not open it, or another program has it. It may be a camera.
    """

    path: Path
    driver: str = ""
    card: str = ""
    bus: str = ""
    formats: tuple[str, ...] = ()
    passed_over: str = ""
    denied: bool = False

    @property
    def number(self) -> int:
        """N of /dev/videoN."""
        digits = self.path.resolve().name.removeprefix("video")
        return int(digits) if digits.isdecimal() else 0

    @property
    def receives_a_sensor(self) -> bool:
        """Whether it is the receiver of a camera connector, which picamera2 can use."""
        return self.driver in ("unicam", "bcm2835-unicam", "rp1-cfe")


def video_nodes() -> list[VideoNode]:
    """All /dev/videoN, in the order of their numbers."""
    return [_read(path) for path in _paths()]


def read_node(path: Path) -> VideoNode:
    """One node; `path` may be a link, as those under /dev/v4l/by-id."""
    return _read(path)


def _paths() -> list[Path]:
    numbered = [(path.name.removeprefix("video"), path) for path in Path("/dev").glob("video*")]
    return [path for number, path in sorted((int(n), p) for n, p in numbered if n.isdecimal())]


def _read(path: Path) -> VideoNode:
    try:
        fd = _open(path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return VideoNode(path, passed_over=f"you may not open it: {how_to_get_in(path)}", denied=True)
        if error.errno == errno.EBUSY:  # a driver that serves one program at a time, also for questions
            return VideoNode(path, passed_over=f"it is in use: {who_has(path)}", denied=True)
        return VideoNode(path, passed_over=f"it cannot be opened: {os.strerror(error.errno or 0)}")
    try:
        return _asked(path, fd)
    except OSError as error:
        return VideoNode(path, passed_over=f"it is no V4L2 device: {os.strerror(error.errno or 0)}")
    finally:
        _close(fd)


def _asked(path: Path, fd: int) -> VideoNode:
    buffer = bytearray(_CAPABILITY.size)
    _ioctl(fd, _QUERYCAP, buffer)
    driver, card, bus, _, of_device, of_node = _CAPABILITY.unpack(buffer)
    # The device's capabilities are those of all its nodes together: a webcam's metadata node has VIDEO_CAPTURE there.
    capabilities = of_node if of_device & _HAS_NODE_CAPABILITIES else of_device
    formats = _formats(fd, _BUFFERS_OF_PLANES if capabilities & _CAPTURE_PLANES else _BUFFERS)
    names = _text(driver), _text(card), _text(bus)
    return VideoNode(path, *names, formats, _why_not(names[0], capabilities, formats))


def _formats(fd: int, kind: int) -> tuple[str, ...]:
    found: list[str] = []
    while True:
        buffer = bytearray(_FORMAT.pack(len(found), kind, 0, b"", 0, 0))
        try:
            _ioctl(fd, _ENUM_FMT, buffer)
        except OSError:  # EINVAL ends the list; a driver without formats gives ENOTTY
            return tuple(found)
        found.append(_FORMAT.unpack(buffer)[4].to_bytes(4, "little").decode("ascii", "replace").strip())
        if len(found) >= 256:  # a broken driver that never ends
            return tuple(found)


def _why_not(driver: str, capabilities: int, formats: tuple[str, ...]) -> str:
    if driver in _NO_CAMERAS:
        return f"{_NO_CAMERAS[driver]}: {_FOR_LIBCAMERA}"
    if capabilities & (_MEM2MEM | _MEM2MEM_PLANES):
        return "a converter or codec: it captures nothing"
    if not capabilities & (_CAPTURE | _CAPTURE_PLANES):
        return "the camera's metadata" if capabilities & _METADATA else "it captures nothing"
    if capabilities & _MEDIA_CONTROLLER:
        return f"a raw receiver of a sensor: {_FOR_LIBCAMERA}"
    if not capabilities & (_STREAMING | _READ_WRITE):
        return "it gives no frames to programs"
    if not formats:
        return "it offers no format: is it a loopback device that nobody writes to?"
    if not _PICTURES.intersection(formats):
        return f"it gives {', '.join(formats)} only, which OpenCV does not turn into a picture"
    return ""


def how_to_get_in(path: Path) -> str:
    """What a user does who may not open a device file: join its group, by name, where that helps and harms nothing."""
    try:
        node = path.stat()
    except OSError:
        return "sudo usermod -aG video $USER, then log in again"
    try:
        group = grp.getgrgid(node.st_gid).gr_name
    except KeyError:
        group = "root"  # one without a name cannot be joined either
    if group == "root" or node.st_mode & 0o060 != 0o060:
        return f"its group may not open it: sudo chgrp video {path} && sudo chmod 660 {path}, and join the group video"
    return f"sudo usermod -aG {group} $USER, then log in again"


def who_has(path: Path) -> str:
    """Who has a device open that serves one program at a time, or how to find out."""
    users = users_of(path)
    if users:
        return f"{', '.join(users)} has it open; a camera serves one program at a time"
    return "another program may be using it (sudo fuser -v shows which), or its driver failed (see dmesg)"


def users_of(path: Path) -> list[str]:
    """Programs that hold a device file, as far as this user may see them: `motion (process 812)`."""
    try:
        target = path.resolve()
        processes = [folder for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    except OSError:
        return []
    return [f"{_program(p)} (process {p.name})" for p in processes if int(p.name) != os.getpid() and _holds(p, target)]


def _holds(process: Path, target: Path) -> bool:
    try:
        return any(link.readlink() == target for link in (process / "fd").iterdir())
    except OSError:  # another user's, or gone
        return False


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a program"


def _text(name: bytes) -> str:
    text = name.partition(b"\0")[0].decode("utf-8", "replace").strip()
    return "".join(letter for letter in text if letter.isprintable())  # a product names itself


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _close(fd: int) -> None:
    os.close(fd)


def _ioctl(fd: int, request: int, buffer: bytearray) -> None:
    fcntl.ioctl(fd, request, buffer)
