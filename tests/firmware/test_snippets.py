"""Code for boards: compiled against declarations of their frameworks, and run against doubles of their modules."""

import os
import pty
import struct
import subprocess
import sys
import threading
import tty
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from programs import needed

from edgeguard.camera import Captured, open_source
from edgeguard.dct.profile import GuardProfile as Profile
from edgeguard.firmware.board import SNIPPETS, board, boards
from edgeguard.firmware.export import export
from edgeguard.guard import GuardProfile, encode_jpeg, read_jpeg_info

FD_JPEG = GuardProfile.preset("fd-jpeg")
_ESP = """
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct { int dummy; } camera_fb_t;
typedef struct _sensor { int (*set_quality)(struct _sensor *sensor, int quality); } sensor_t;
sensor_t *esp_camera_sensor_get(void);
bool frame2jpg(camera_fb_t *frame, uint8_t quality, uint8_t **out, size_t *length);
"""
_MAIN = """
#include <stdio.h>
#include SNIPPET
static int held = -1;
static int set(sensor_t *s, int q) { (void)s; held = q; return 0; }
static sensor_t the_sensor = { set };
sensor_t *esp_camera_sensor_get(void) { return &the_sensor; }
bool frame2jpg(camera_fb_t *f, uint8_t q, uint8_t **o, size_t *n) { (void)f; (void)o; (void)n; held = q; return true; }
int main(void) { CALL; printf("%d", held); return 0; }
"""


@pytest.mark.parametrize("name", [n for n, one in boards().items() if any(s.startswith("esp") for s in one.snippets)])
def test_esp_fragments_compile_and_set_what_they_say(name: str, tmp_path: Path) -> None:
    compiler = needed("cc", "gcc", "clang")
    made = export(board(name), FD_JPEG)
    ((file_name, text),) = made.others
    (tmp_path / file_name).write_text(text)
    for header in ("esp_camera.h", "img_converters.h"):
        (tmp_path / header).write_text("#pragma once\n#ifndef E\n#define E\n" + _ESP + "#endif\n")
    (tmp_path / "main.c").write_text(_MAIN)
    call = "(void)edgeguard_set_compression()" if "set_quality" in text else "(void)edgeguard_encode(0, 0, 0)"
    command = [
        compiler, "-Wall", "-Werror", f"-I{tmp_path}", f'-DSNIPPET="{file_name}"', f"-DCALL={call}",
        str(tmp_path / "main.c"), "-o", str(tmp_path / "main"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    found = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert found == ("50" if name == "esp32-software" else "63")


class _Picture:
    """What `sensor.snapshot()` gives on a board; compressed with Pillow here."""

    def __init__(self, rgb: NDArray[np.uint8], log: list[object]) -> None:
        self._rgb, self._log, self._data = rgb, log, encode_jpeg(rgb, Profile.preset("jpeg:90"))

    def to_jpeg(self, quality: int, subsampling: int) -> "_Picture":
        self._log.append(("to_jpeg", quality, subsampling))
        self._data = encode_jpeg(self._rgb, Profile.preset(f"jpeg:{quality}"))
        return self

    def bytearray(self) -> bytearray:
        return bytearray(self._data)

    def flush(self) -> None:
        self._log.append("flush")
        raise SystemExit  # one picture is enough


def _modules(rgb: NDArray[np.uint8], log: list[object], fd: int | None) -> dict[str, types.ModuleType]:
    made: list[Any] = [types.ModuleType(name) for name in ("sensor", "image", "pyb")]
    sensor, image, pyb = made
    sensor.RGB565, sensor.JPEG, sensor.QVGA = "RGB565", "JPEG", "QVGA"
    for name in ("reset", "set_pixformat", "set_framesize", "set_quality"):
        setattr(sensor, name, lambda *a, name=name: log.append((name, *a)))
    sensor.skip_frames = lambda time: None
    sensor.snapshot = lambda: _Picture(rgb, log)
    image.JPEG_SUBSAMPLING_420 = 420

    class Usb:
        def setinterrupt(self, value: int) -> None:
            log.append(("setinterrupt", value))

        def recv(self, count: int, timeout: int) -> bytes:
            assert fd is not None
            data = os.read(fd, count)
            if not data:
                raise SystemExit
            return data

        def send(self, data: bytes) -> None:
            assert fd is not None
            view = memoryview(bytes(data))
            while view:
                view = view[os.write(fd, view[:2000]) :]

    pyb.USB_VCP = Usb
    return {"sensor": sensor, "image": image, "pyb": pyb}


def _script(name: str, file_name: str) -> str:
    return dict(export(board(name), FD_JPEG).others)[file_name]


@pytest.mark.parametrize("name", [n for n, one in boards().items() if "openmv-vcp" in one.snippets])
def test_the_vcp_script_and_our_client_understand_each_other(
    name: str, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    log: list[object] = []
    for key, module in _modules(scene, log, master).items():
        monkeypatch.setitem(sys.modules, key, module)
    text = _script(name, "edgeguard_vcp.py")

    def run() -> None:
        try:
            exec(compile(text, "edgeguard_vcp.py", "exec"), {})
        except (SystemExit, OSError):
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    camera = open_source(f"serial:openmv-vcp:{os.ttyname(slave)}")
    frames = camera.frames()
    items = [next(frames) for _ in range(3)]
    camera.close()
    os.close(slave)  # ends the script's read
    thread.join(60)
    assert not thread.is_alive()  # or it would read from the next test's terminal, which may get the same number
    os.close(master)
    hardware = board(name).control == "qs"
    wanted = "jpeg:90" if hardware else "jpeg:50"
    for item in items:
        assert isinstance(item, Captured) and item.jpeg is not None
        assert read_jpeg_info(item.jpeg).tables == GuardProfile.preset(wanted).component_tables
    assert ("set_quality", 0) in log if hardware else ("to_jpeg", 50, 420) in log
    assert ("setinterrupt", -1) in log


@pytest.mark.parametrize("name", [n for n, one in boards().items() if "openmv-stream" in one.snippets])
def test_the_stream_script_runs(name: str, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []
    for key, module in _modules(scene, log, None).items():
        monkeypatch.setitem(sys.modules, key, module)
    with pytest.raises(SystemExit):
        exec(compile(_script(name, "edgeguard_stream.py"), "stream", "exec"), {})
    assert log[-1] == "flush"
    assert ("to_jpeg", 50, 420) in log or ("set_quality", 0) in log


def test_the_v4l2_snippet_sets_this_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    text = dict(export(board("pi4-jpeg"), GuardProfile.preset("jpeg:73")).others)["edgeguard_v4l2.py"]
    held: dict[tuple[int, int], int] = {}

    def ioctl(fd: int, request: int, data: bytes) -> bytes:
        control, value = struct.unpack("=Ii", data)
        if request == 0xC008561C:
            held[fd, control] = value
        return struct.pack("=Ii", control, held[fd, control])

    space: dict[str, Any] = {}
    exec(compile(text, "v4l2", "exec"), space)
    monkeypatch.setattr("fcntl.ioctl", ioctl)
    assert space["set_quality"](7) == 73
    assert held == {(7, 0x009D0903): 73}


def test_the_picamera2_snippet_codes_with_the_profile(
    scene: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = types.ModuleType("picamera2")

    class Picamera2:
        def create_video_configuration(self, **settings: object) -> object:
            return settings

        def configure(self, settings: object) -> None: ...
        def start(self) -> None: ...
        def capture_array(self, name: str) -> NDArray[np.uint8]:
            return scene

    module.Picamera2 = Picamera2
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.chdir(tmp_path)
    text = dict(export(board("pi5"), FD_JPEG).others)["edgeguard_picamera2.py"]
    exec(compile(text, "picamera2", "exec"), {})
    info = read_jpeg_info((tmp_path / "frame.jpg").read_bytes())
    assert info.tables == FD_JPEG.component_tables and info.sampling == "420"


def test_every_snippet_belongs_to_a_board() -> None:
    assert {kind for one in boards().values() for kind in one.snippets} == set(SNIPPETS)
