"""Code for the board itself, beside its tables: what its framework really offers, and no more."""

from collections.abc import Callable

from edgeguard.dct.profile import GuardProfile
from edgeguard.firmware.board import SNIPPETS, Board

_SUBSAMPLING = {"ycbcr444": "444", "ycbcr422": "422", "ycbcr420": "420"}


def snippets(board: Board, profile: GuardProfile, setting: int) -> tuple[tuple[str, str], ...]:
    """File names and texts of a board's snippets.

    Args:
        board: whose `snippets` are wanted.
        profile: that pass 1 should apply.
        setting: the quality or register value that comes nearest, or the one at which tables stand as they are.
    """
    return tuple(_KINDS[kind](board, profile, setting) for kind in board.snippets)


def _openmv_stream(board: Board, profile: GuardProfile, setting: int) -> tuple[str, str]:
    """A script for `serial:openmv:PORT`: the firmware streams each picture that is flushed."""
    return (
        "edgeguard_stream.py",
        f'''"""{_title(board, profile)}: pictures over OpenMV's own protocol.

edgeguard run --source serial:openmv:PORT?script=edgeguard_stream.py
"""
import image
import sensor

sensor.reset()
sensor.set_pixformat(sensor.{_pixel_format(board)})
sensor.set_framesize(sensor.QVGA)
{_sensor_quality(board, setting)}sensor.skip_frames(time=2000)

while True:
    picture = sensor.snapshot(){_compress(board, profile, setting)}
    picture.flush()
''',
    )


def _openmv_vcp(board: Board, profile: GuardProfile, setting: int) -> tuple[str, str]:
    """A script for `serial:openmv-vcp:PORT`: a picture for each `snap`."""
    return (
        "edgeguard_vcp.py",
        f'''"""{_title(board, profile)}: a picture for each "snap" over USB.

Save it on the board as main.py, then: edgeguard run --source serial:openmv-vcp:PORT
"""
import image
import sensor
import struct
from pyb import USB_VCP

sensor.reset()
sensor.set_pixformat(sensor.{_pixel_format(board)})
sensor.set_framesize(sensor.QVGA)
{_sensor_quality(board, setting)}sensor.skip_frames(time=2000)

usb = USB_VCP()
usb.setinterrupt(-1)  # bytes of value 3 are no Ctrl-C

while True:
    if usb.recv(4, timeout=5000) == b"snap":
        picture = sensor.snapshot(){_compress(board, profile, setting)}
        data = picture.bytearray()
        usb.send(struct.pack("<L", len(data)))
        usb.send(data)
''',
    )


def _esp_register(board: Board, profile: GuardProfile, setting: int) -> tuple[str, str]:
    """The sensor codes; one register scales its tables (ESP-IDF and Arduino have the same driver)."""
    return (
        "edgeguard_camera.h",
        f"""/* {_title(board, profile)}
 * ESP-IDF and Arduino: call after esp_camera_init(), with config.pixel_format = PIXFORMAT_JPEG. */
#pragma once
#include "esp_camera.h"

#define EDGEGUARD_QS {setting} /* the tables are the sensor's own */

static inline int edgeguard_set_compression(void)
{{
    sensor_t *sensor = esp_camera_sensor_get();
    return sensor == NULL ? -1 : sensor->set_quality(sensor, EDGEGUARD_QS);
}}
""",
    )


def _esp_encoder(board: Board, profile: GuardProfile, setting: int) -> tuple[str, str]:
    """The ESP32 codes; its tables are compiled in."""
    return (
        "edgeguard_encode.h",
        f"""/* {_title(board, profile)}
 * ESP-IDF and Arduino: replace both tables of {board.source_file} with those of {board.board}.h, take raw frames
 * (PIXFORMAT_RGB565 or PIXFORMAT_YUV422), and code them here: at quality {setting} the tables stand as they are. */
#pragma once
#include "esp_camera.h"
#include "img_converters.h"

static inline bool edgeguard_encode(camera_fb_t *frame, uint8_t **jpeg, size_t *length)
{{
    return frame2jpg(frame, {setting}, jpeg, length); /* free(*jpeg) afterwards */
}}
""",
    )


def _picamera2(board: Board, profile: GuardProfile, setting: int) -> tuple[str, str]:
    """Raw frames of picamera2, coded with the profile's tables."""
    luma, chroma = (list(table) for table in profile.component_tables[:2])
    number = {"ycbcr444": 0, "ycbcr422": 1, "ycbcr420": 2}[profile.color]
    return (
        "edgeguard_picamera2.py",
        f'''"""{_title(board, profile)}: raw frames, coded with the profile's tables."""

from picamera2 import Picamera2
from PIL import Image

LUMA = {luma}
CHROMA = {chroma}

camera = Picamera2()
camera.configure(camera.create_video_configuration(main={{"format": "BGR888", "size": (1280, 720)}}))
camera.start()
frame = camera.capture_array("main")  # "BGR888" is RGB in memory
Image.fromarray(frame).save("frame.jpg", "JPEG", qtables=[LUMA, CHROMA], subsampling={number})
''',
    )


def _v4l2_encoder(board: Board, profile: GuardProfile, setting: int) -> tuple[str, str]:
    """The control belongs to an open file: only the program that codes can set it."""
    return (
        "edgeguard_v4l2.py",
        f'''"""{_title(board, profile)}: the control of this very file descriptor.

Set from another program (v4l2-ctl), it changes nothing: call this in the one that codes.
"""

import fcntl
import struct

VIDIOC_G_CTRL, VIDIOC_S_CTRL = 0xC008561B, 0xC008561C
JPEG_COMPRESSION_QUALITY = 0x009D0903


def set_quality(encoder_fd: int, quality: int = {setting}) -> int:
    """Set the quality and return what the driver holds then."""
    fcntl.ioctl(encoder_fd, VIDIOC_S_CTRL, struct.pack("=Ii", JPEG_COMPRESSION_QUALITY, quality))
    held = fcntl.ioctl(encoder_fd, VIDIOC_G_CTRL, struct.pack("=Ii", JPEG_COMPRESSION_QUALITY, 0))
    return struct.unpack("=Ii", held)[1]
''',
    )


#: By the name that a board's TOML file gives.
_KINDS: dict[str, Callable[[Board, GuardProfile, int], tuple[str, str]]] = {
    "openmv-stream": _openmv_stream,
    "openmv-vcp": _openmv_vcp,
    "esp-register": _esp_register,
    "esp-encoder": _esp_encoder,
    "picamera2": _picamera2,
    "v4l2-encoder": _v4l2_encoder,
}
assert set(_KINDS) == set(SNIPPETS)


def _title(board: Board, profile: GuardProfile) -> str:
    return f"{profile.name} ({profile.sha256[:12]}) for {board.title}"


def _pixel_format(board: Board) -> str:
    return "JPEG" if board.control == "qs" else "RGB565"


def _sensor_quality(board: Board, setting: int) -> str:
    return f"sensor.set_quality({setting})\n" if board.control == "qs" else ""


def _compress(board: Board, profile: GuardProfile, setting: int) -> str:
    if board.control == "qs":
        return ""
    return f".to_jpeg(quality={setting}, subsampling=image.JPEG_SUBSAMPLING_{_SUBSAMPLING[profile.color]})"
