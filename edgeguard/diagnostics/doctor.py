"""What this machine has and lacks for EdgeGuard, each finding with what to do about it."""

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeguard.camera.connection import close_in_time
from edgeguard.camera.local import LocalCamera, local_cameras, open_exactly
from edgeguard.camera.source import Captured
from edgeguard.errors import DeviceError
from edgeguard.model.edgetpu import LIBRARY, coral_devices, library_is_there
from edgeguard.system.power import read_power

Status = Literal["ok", "note", "problem"]

_OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` says what to do, empty when nothing is to be done."""

    what: str
    status: Status
    text: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """All findings, one after another."""
    yield _python()
    yield _runtime()
    yield _opencv()
    yield _sanitizer()
    yield _coefficients()
    yield _converter()
    yield _isolation()
    yield from _cameras()
    yield _serial_ports()
    yield from _edgetpu()
    yield _throttling()


def _python() -> Finding:
    return Finding("python", "ok", f"Python {platform.python_version()} on {platform.machine()}")


def _runtime() -> Finding:
    from edgeguard.model.runtime import runtime

    try:
        name, version, _, _ = runtime()
    except DeviceError as error:
        return Finding("runtime", "problem", "no TensorFlow Lite runtime", str(error).split(": ")[-1])
    return Finding("runtime", "ok", f"{name} {version}, XNNPACK on the CPU")


def _opencv() -> Finding:
    wheels = [name for name in _OPENCV_WHEELS if _version(name)]
    if len(wheels) > 1:
        advice = f"pip uninstall {' '.join(wheels)}, then pip install opencv-python-headless"
        return Finding("opencv", "problem", f"clashing wheels: {', '.join(wheels)}", advice)
    try:
        import cv2
    except ImportError as error:
        return Finding("opencv", "problem", f"OpenCV does not import: {error}", "pip install opencv-python-headless")
    return Finding("opencv", "ok", f"OpenCV {cv2.__version__} ({wheels[0] if wheels else 'system package'})")


def _sanitizer() -> Finding:
    from edgeguard.dct.native_kernel import instruction_sets, load_failure, switched_off

    usable = instruction_sets()
    if usable:
        return Finding("sanitizer", "ok", f"native kernel, {usable[-1]}")
    if switched_off():
        return Finding("sanitizer", "note", "numpy serves, as EDGEGUARD_KERNEL says", "unset it for the native kernel")
    failure = load_failure()
    if failure:
        text = f"the native kernel is there but cannot be loaded: {failure}; numpy serves"
        return Finding("sanitizer", "problem", text, "install the wheel for this machine, see docs/install.md")
    advice = "same bytes, 50 to 70 times slower; install a wheel, or from source where g++ and cmake are"
    return Finding("sanitizer", "note", "no native kernel: numpy serves", advice)


def _coefficients() -> Finding:
    from edgeguard.dct.libjpeg import SONAME, libjpeg_path

    path = libjpeg_path()
    if path:
        where = "the system's" if path == SONAME else "Pillow's copy of"
        return Finding("jpeg coefficients", "ok", f"{where} libjpeg-turbo ({Path(path).name})")
    version = _version("jpeglib")
    if version:
        return Finding("jpeg coefficients", "note", f"jpeglib {version}, through files: slow", f"install {SONAME}")
    return Finding(
        "jpeg coefficients", "note", "no coefficient codec: JPEGs cannot be requantized for ycbcr profiles",
        f"install {SONAME} (Debian: libjpeg62-turbo) and build the native kernel, or use an rgb profile such as fd",
    )  # fmt: skip


def _converter() -> Finding:
    missing = [name for name in ("torch", "litert-torch", "ai-edge-quantizer") if not _version(name)]
    if not missing:
        return Finding("converter", "ok", f"litert-torch {_version('litert-torch')}, torch {_version('torch')}")
    return Finding(
        "converter", "note", f"not installed ({', '.join(missing)}): this machine runs models, it does not convert",
        "on a workstation, install EdgeGuard's file or checkout with its extra convert (see docs/install.md)",
    )  # fmt: skip


def _isolation() -> Finding:
    """What keeps a process in that reads a stranger's model file."""
    from edgeguard.system.isolation import isolation

    found = isolation()
    if not found.missing:
        return Finding("isolation", "ok", f"foreign model files are read by a process confined in {found}")
    return Finding(
        "isolation", "note", f"foreign model files are read by a process that is not fully confined: {found}",
        "a Linux kernel >= 5.13 with Landlock; in a container allow user namespaces and seccomp filters",
    )  # fmt: skip


def _cameras() -> Iterator[Finding]:
    cameras = local_cameras()
    for number, camera in enumerate(cameras.usable):
        yield _usable_camera(number, camera)
    for node in cameras.passed_over:
        named = f"{node.path} ({node.card})" if node.card else str(node.path)
        yield Finding("no camera", "problem" if node.denied else "note", f"{named}: {node.passed_over}")
    if cameras.advice:
        yield Finding("camera", "note", "a Pi camera may be there", cameras.advice)
    elif not cameras.usable and not any(node.denied for node in cameras.passed_over):
        yield Finding(
            "camera", "note", "no camera was found", "connect a USB camera; Pi cameras need picamera2 (system package)"
        )


def _usable_camera(number: int, camera: LocalCamera) -> Finding:
    """A camera with what it offers, and whether it gives a frame now."""
    from edgeguard.system.redirect import muted

    offers = f": {', '.join(camera.formats)}" if camera.formats else ""
    text = f"--camera {number} is {camera}{offers}"
    try:
        with muted():
            why = _no_frame(camera)
    except DeviceError as error:
        why = str(error)
    return Finding("camera", "note" if why else "ok", f"{text}; {why or 'it gives frames'}")


def _no_frame(camera: LocalCamera) -> str:
    """Why a camera gives no frame now; empty where it does."""
    source = open_exactly(camera.source, size=None, fps=None)
    try:
        found = next(iter(source.frames()), None)
        return "" if isinstance(found, Captured) else f"its first frame is damaged: {getattr(found, 'reason', 'none')}"
    finally:
        close_in_time(source)


def _serial_ports() -> Finding:
    from edgeguard.camera.serial_port import no_pyserial, port_names

    try:
        there = port_names()
    except ImportError:
        return Finding("serial ports", "note", "not looked for", no_pyserial())
    if not there:
        return Finding("serial ports", "note", "there are none", "a serial camera is not plugged in")
    return Finding("serial ports", "ok", ", ".join(there), "edgeguard firmware ports says what answers on each")


def _edgetpu() -> Iterator[Finding]:
    devices = coral_devices()
    if not devices:
        yield Finding(
            "edge tpu", "note", "no Coral on USB or PCIe", "nothing, unless you have one: check cable and power"
        )
        return
    for device in devices:
        yield Finding("edge tpu", "ok", device)
    if library_is_there():
        yield Finding("edge tpu", "ok", LIBRARY)
    else:
        yield Finding("edge tpu", "problem", "libedgetpu is not installed", "install libedgetpu1-std for your runtime")


def _throttling() -> Finding:
    power = read_power()
    if power.now is None or power.since_boot is None:
        return Finding("power", "note", "the system does not say: not a Raspberry Pi, or not its system image")
    words = [f"{limit} now" for limit in power.now] + [f"{limit} since boot" for limit in power.since_boot]
    if not words:
        return Finding("power", "ok", "no under-voltage, no throttling since boot")
    return Finding("power", "problem", ", ".join(words), "use the official power supply and a heat sink or fan")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
