"""Which camera a number is, on machines as their kernels describe them; no such device was at hand."""

import errno
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from camera.fake_kernel import (
    CAPTURE,
    DEVICE_CAPS,
    EXT_FORMAT,
    STREAMING,
    FakeKernel,
    FakeNode,
    loopback,
    pi_4,
    pi_5,
    webcam,
)  # fmt: skip

from edgeguard.camera import local, open_source, picamera2_import, source_opener, v4l2_nodes
from edgeguard.camera.local import local_cameras
from edgeguard.camera.v4l2_nodes import how_to_get_in
from edgeguard.errors import DeviceError, InputError

IMX708 = {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 0}
USB_CAMERA = {
    "Model": "HD Pro Webcam C920", "Location": 2, "Id": "/base/scb/pcie@7d500000/usb@0,0-1.1:1.0-046d:082d", "Num": 1,
}  # fmt: skip


class Opened:
    """Stands for an opened camera: remembers what was opened."""

    made: ClassVar[list[tuple[str, str]]] = []
    live = True

    def __init__(self, source: str, *, name: str | None = None, **_: Any) -> None:
        self.source, self.name = source, name or source
        self.made.append((source, self.name))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel()
    fake.install(monkeypatch)
    monkeypatch.setattr(local, "open_exactly", Opened)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(picamera2_import, "_SYSTEM_PACKAGES", Path("/no/such/folder"))
    return fake


def _with_picamera2(monkeypatch: pytest.MonkeyPatch, cameras: list[dict[str, Any]]) -> None:
    module: Any = ModuleType("picamera2")
    module.Picamera2 = type("Picamera2", (), {"global_camera_info": staticmethod(lambda: cameras)})
    monkeypatch.setitem(sys.modules, "picamera2", module)


def _chosen(number: int) -> str:
    opened = open_source(number)
    assert isinstance(opened, Opened)
    return opened.source


def test_a_webcams_metadata_is_no_camera(kernel: FakeKernel, said: list[str]) -> None:
    kernel.nodes = dict(enumerate(webcam()))
    found = local_cameras()
    assert [camera.source for camera in found.usable] == ["v4l2:/dev/video0"]
    assert found.usable[0].formats == ("YUYV", "MJPG")
    assert [node.passed_over for node in found.passed_over] == ["the camera's metadata"]
    assert _chosen(0) == "v4l2:/dev/video0" and not kernel.opened, "nodes stay open"
    assert said == ["camera 0 is v4l2:/dev/video0, HD Pro Webcam C920 at usb-0000:01:00.0-1.1"]


def test_a_pi_4_with_its_camera_and_a_webcam(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.nodes = {**pi_4(), **dict(enumerate(webcam(), 2))}
    _with_picamera2(monkeypatch, [IMX708, USB_CAMERA])
    found = local_cameras()
    assert [camera.source for camera in found.usable] == ["v4l2:/dev/video2", "picamera2:0"]
    why = {node.path.name: node.passed_over.partition(":")[0] for node in found.passed_over}
    assert why["video0"] == why["video1"] == "a raw receiver of a camera connector"
    assert why["video10"] == "a video codec" and why["video3"] == "the camera's metadata"
    assert all(why[f"video{n}"] == "a part of the image processor" for n in (13, 14, 15, 16))
    assert (_chosen(0), _chosen(1)) == ("v4l2:/dev/video2", "picamera2:0")


def test_a_pi_5_with_a_camera_only(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.nodes = pi_5()
    _with_picamera2(monkeypatch, [IMX708])
    (camera,) = local_cameras().usable
    assert camera.source == "picamera2:0" and camera.formats == ("RGB by libcamera",)
    assert _chosen(0) == "picamera2:0"


def test_a_receiver_of_another_maker_is_known_by_its_media_controller(kernel: FakeKernel) -> None:
    caps = CAPTURE | EXT_FORMAT | STREAMING | 0x20000000
    kernel.nodes = {0: FakeNode("sun6i-video", "sun6i-csi", "platform:sun6i", caps | DEVICE_CAPS, caps, ("YUYV",))}
    assert "raw receiver of a sensor" in local_cameras().passed_over[0].passed_over


@pytest.mark.parametrize("writer", [True, False])
def test_a_loopback_device(kernel: FakeKernel, writer: bool) -> None:
    kernel.nodes = {5: loopback(writer)}
    found = local_cameras()
    assert len(found.usable) == writer
    if not writer:
        assert "that nobody writes to" in found.passed_over[0].passed_over
        with pytest.raises(DeviceError, match="none of /dev/video5 is a camera that gives pictures"):
            open_source("0")


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (FakeNode("uvcvideo", "Cam", "usb-1", CAPTURE | STREAMING, 0, ("H264",)), "it gives H264 only"),
        (FakeNode("uvcvideo", "Cam", "usb-1", CAPTURE, 0, ("YUYV",)), "gives no frames to programs"),
        (FakeNode("x", "y", "z", 0, 0, no_v4l2=True), "it is no V4L2 device: Inappropriate ioctl"),
        (FakeNode("x", "y", "z", 0, 0, fails=errno.ENODEV), "it cannot be opened: No such device"),
        (FakeNode("radio", "FM", "usb-2", 0x10000 | STREAMING, 0), "it captures nothing"),
    ],
)
def test_why_a_node_is_passed_over(kernel: FakeKernel, node: FakeNode, why: str) -> None:
    kernel.nodes = {0: node}
    found = local_cameras()
    assert not found.usable and why in found.passed_over[0].passed_over


def test_an_old_driver_without_capabilities_of_the_node(kernel: FakeKernel) -> None:
    kernel.nodes = {0: FakeNode("gspca", "Old Cam", "usb-1", CAPTURE | STREAMING, 0, ("JPEG",))}
    assert [camera.source for camera in local_cameras().usable] == ["v4l2:/dev/video0"]


def test_a_driver_whose_list_of_formats_never_ends(kernel: FakeKernel) -> None:
    kernel.nodes = {0: FakeNode("bad", "Cam", "usb-1", CAPTURE | STREAMING, 0, ("YUYV",) * 1000)}
    assert len(local_cameras().usable[0].formats) == 256


def test_names_are_text(kernel: FakeKernel) -> None:
    kernel.nodes = {0: FakeNode("uvcvideo", "Cam\x1b[31m\n2", "usb-1", CAPTURE | STREAMING, 0, ("YUYV",))}
    assert local_cameras().usable[0].name == "Cam[31m2"


@pytest.mark.parametrize(
    ("group", "mode", "said"),
    [("video", 0o660, "sudo usermod -aG video $USER"), ("root", 0o660, "chgrp video"), ("video", 0o600, "chmod 660")],
)
def test_a_group_that_helps_nobody_is_not_to_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, mode: int, said: str
) -> None:
    node = tmp_path / "video0"
    node.touch()
    node.chmod(mode)
    monkeypatch.setattr("grp.getgrgid", lambda _: SimpleNamespace(gr_name=group))
    found = how_to_get_in(node)
    assert said in found and "-aG root" not in found


def test_no_permission_names_the_group(kernel: FakeKernel) -> None:
    denied = FakeNode("", "", "", 0, 0, fails=errno.EACCES)
    kernel.nodes = {0: denied, 1: denied}
    with pytest.raises(DeviceError, match=r"/dev/video0: you may not open it: sudo usermod -aG \w+ \$USER"):
        open_source("0")
    # One that stands behind the wanted camera changes nothing, one before it may be the camera that is meant.
    kernel.nodes = {0: webcam()[0], 1: denied}
    assert _chosen(0) == "v4l2:/dev/video0"
    kernel.nodes = {0: denied, 1: webcam()[0]}
    with pytest.raises(DeviceError, match="camera 0 cannot be told"):
        open_source("0")


def test_a_camera_that_is_in_use_is_not_skipped(kernel: FakeKernel) -> None:
    busy = FakeNode("", "", "", 0, 0, fails=errno.EBUSY)
    kernel.nodes = {0: busy, 1: webcam()[0]}
    with pytest.raises(DeviceError, match="camera 0 cannot be told: /dev/video0: it is in use: another program may be"):
        open_source("0")
    kernel.nodes = {0: webcam()[0], 1: busy}
    assert _chosen(0) == "v4l2:/dev/video0"


def test_a_number_beyond_the_cameras_says_which_there_are(kernel: FakeKernel) -> None:
    with pytest.raises(DeviceError, match=r"camera 0 is not there: no camera is connected \(see edgeguard doctor\)"):
        open_source("0")
    kernel.nodes = {0: webcam()[0]}
    with pytest.raises(DeviceError, match="there is 1: 0 is v4l2:/dev/video0, HD Pro Webcam C920 at usb"):
        open_source("1")


def test_two_cameras_of_one_name_are_told_apart_by_their_place(kernel: FakeKernel, said: list[str]) -> None:
    left, right = webcam("Cam", "usb-1.1"), webcam("Cam", "usb-1.2")
    kernel.nodes = {0: left[0], 1: left[1], 2: right[0], 3: right[1]}
    opening = source_opener("1")
    assert opening().name == "camera:1"
    kernel.nodes = {0: left[0], 1: left[1]}
    with pytest.raises(DeviceError, match=re.escape("camera 1 (v4l2:/dev/video2, Cam at usb-1.2) is not there")):
        opening()
    kernel.nodes[4] = right[0]  # back, under another number
    opening()
    assert Opened.made[-1] == ("v4l2:/dev/video4", "camera:1") and len(said) == 1


def test_after_a_loss_the_number_stays_with_its_camera(kernel: FakeKernel) -> None:
    kernel.nodes = {0: webcam("Front", "usb-1")[0], 2: webcam("Back", "usb-2")[0]}
    opening = source_opener(0)
    opening()
    kernel.nodes = {2: kernel.nodes[2]}  # camera 0 by number would be Back now
    with pytest.raises(DeviceError, match="Front at usb-1"):
        opening()
    kernel.nodes[3] = webcam("Front", "usb-7")[0]  # the only Front, at another socket
    opening()
    assert Opened.made[-1] == ("v4l2:/dev/video3", "camera:0")


def test_picamera2_is_missing(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel.nodes = pi_4()
    with pytest.raises(DeviceError, match="none of .* and 4 more is a camera.*sudo apt install python3-picamera2"):
        open_source("0")
    (tmp_path / "picamera2").mkdir()
    monkeypatch.setattr(picamera2_import, "_SYSTEM_PACKAGES", tmp_path)
    monkeypatch.setattr(picamera2_import, "_SYSTEM_PREFIX", sys.base_prefix)
    with pytest.raises(DeviceError, match="this environment does not see: /usr/bin/python3 -m venv --system.* lets it"):
        open_source("0")
    monkeypatch.setattr(picamera2_import, "_SYSTEM_PREFIX", "/elsewhere")
    with pytest.raises(DeviceError, match="its Python is not the system's: make one with /usr/bin/python3 -m venv"):
        open_source("0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match="the system's picamera2 does not import here"):
        open_source("0")


def test_picamera2_was_built_for_another_numpy(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "picamera2").mkdir()
    (tmp_path / "picamera2" / "__init__.py").write_text(
        "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')"
    )
    monkeypatch.delitem(sys.modules, "picamera2")
    monkeypatch.syspath_prepend(tmp_path)
    kernel.nodes = pi_5()
    with pytest.raises(DeviceError, match="pip install --force-reinstall --no-deps simplejpeg mends it"):
        open_source("0")


def test_picamera2_cannot_list(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_picamera2(monkeypatch, [])
    monkeypatch.setattr(sys.modules["picamera2"].Picamera2, "global_camera_info", lambda: 1 / 0)
    kernel.nodes = {0: webcam()[0]}
    found = local_cameras()
    assert len(found.usable) == 1 and "cannot list its cameras" in found.advice


def test_a_pi_camera_without_a_number_in_the_list(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_picamera2(monkeypatch, [{"Model": "ov5647", "Id": "/base/soc/i2c0mux/i2c@1/ov5647@36"}])
    assert _chosen(0) == "picamera2:0"


@pytest.mark.parametrize("spec", ["v4l2:0", "v4l2:", "v4l2:dev/video0", "picamera2:front"])
def test_exact_names_are_exact(spec: str) -> None:
    with pytest.raises(InputError, match="wanted "):
        open_source(spec)


@pytest.mark.skipif(
    not (shutil.which("cc") and Path("/usr/include/linux/videodev2.h").exists()),
    reason="needs a C compiler and Linux's headers",
)
def test_the_structures_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    (tmp_path / "layout.c").write_text(
        """
#include <linux/videodev2.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {
  printf("%lu %lu %zu %zu %zu %zu %zu %zu %zu %zu\\n", VIDIOC_QUERYCAP, VIDIOC_ENUM_FMT,
    sizeof(struct v4l2_capability), offsetof(struct v4l2_capability, card), offsetof(struct v4l2_capability, bus_info),
    offsetof(struct v4l2_capability, capabilities), offsetof(struct v4l2_capability, device_caps),
    sizeof(struct v4l2_fmtdesc), offsetof(struct v4l2_fmtdesc, type), offsetof(struct v4l2_fmtdesc, pixelformat));
  printf("%u %u %u %u %u %u %u %u %u\\n", V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE, V4L2_CAP_VIDEO_M2M,
    V4L2_CAP_VIDEO_M2M_MPLANE, V4L2_CAP_META_CAPTURE, V4L2_CAP_STREAMING, V4L2_CAP_READWRITE, V4L2_CAP_IO_MC,
    V4L2_CAP_DEVICE_CAPS);
}
"""
    )
    subprocess.run(["cc", "layout.c", "-o", "layout"], cwd=tmp_path, check=True)
    layout, flags = subprocess.run(
        [tmp_path / "layout"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    n = v4l2_nodes
    assert layout == f"{n._QUERYCAP} {n._ENUM_FMT} 104 16 48 84 88 64 4 44"
    assert (n._CAPABILITY.size, n._FORMAT.size) == (104, 64)
    assert [int(flag) for flag in flags.split()] == [
        n._CAPTURE, n._CAPTURE_PLANES, n._MEM2MEM, n._MEM2MEM_PLANES, n._METADATA, n._STREAMING, n._READ_WRITE,
        n._MEDIA_CONTROLLER, n._HAS_NODE_CAPABILITIES,
    ]  # fmt: skip
