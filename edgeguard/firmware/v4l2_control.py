"""A control of a V4L2 device, set on a file descriptor of ours and read back (Linux `videodev2.h`)."""

import errno
import fcntl
import os
import struct

from edgeguard.errors import CheckFailed, DeviceError, InputError

VIDIOC_G_CTRL, VIDIOC_S_CTRL = 0xC008561B, 0xC008561C  # _IOWR('V', 27 and 28, struct v4l2_control)
JPEG_COMPRESSION_QUALITY = 0x009D0903  # V4L2_CID_JPEG_CLASS_BASE + 3
_CONTROL = struct.Struct("=Ii")


def set_control(device: str, control: int, value: int) -> int:
    """Set a control and return what the driver holds then.

    Raises:
        DeviceError: no such device, no permission, or it was lost.
        InputError: the device has no such control, or not this value.
        CheckFailed: the driver holds another value afterwards.
    """
    try:
        fd = os.open(device, os.O_RDWR)
    except OSError as error:
        hint = ": sudo usermod -a -G video $USER, and log in again" if error.errno == errno.EACCES else ""
        raise DeviceError(f"cannot open {device}: {error.strerror}{hint}") from error
    try:
        fcntl.ioctl(fd, VIDIOC_S_CTRL, _CONTROL.pack(control, value))
        held = int(_CONTROL.unpack(fcntl.ioctl(fd, VIDIOC_G_CTRL, _CONTROL.pack(control, 0)))[1])
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY, errno.ERANGE):
            raise InputError(f"{device} has no JPEG quality of {value}: {error.strerror}") from error
        raise DeviceError(f"{device} was lost: {error.strerror}") from error
    finally:
        os.close(fd)
    if held != value:
        raise CheckFailed(f"{device} holds {held}, {value} was set")
    return held
