"""The Edge TPU: whether one is there, and which of three failures it is that the runtime does not tell apart."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeguard.errors import DeviceError

LIBRARY = "libedgetpu.so.1"
#: A Coral USB accelerator changes its identity when its firmware is loaded, with the first inference.
CORAL_USB_IDS = {
    ("1a6e", "089a"): "waiting for its first use",
    ("18d1", "9302"): "initialised",
}


def coral_devices(usb: Path = Path("/sys/bus/usb/devices"), dev: Path = Path("/dev")) -> list[str]:
    """Each Coral that the kernel lists, on USB with its state or on PCIe."""
    found = []
    for device in sorted(usb.glob("*")):
        try:
            key = tuple((device / name).read_text().strip().lower() for name in ("idVendor", "idProduct"))
        except OSError:
            continue
        if key in CORAL_USB_IDS:
            found.append(f"Coral USB accelerator, {CORAL_USB_IDS[key]}")
    return found + [f"Coral on PCIe: {node}" for node in sorted(dev.glob("apex_*"))]


def library_is_there() -> bool:
    """Whether the dynamic linker finds libedgetpu."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def edgetpu_delegate(load_delegate: Callable[[str], Any], devices: Callable[[], list[str]] = coral_devices) -> Any:
    """The Edge TPU as a delegate of the runtime.

    Raises:
        DeviceError: which of the three it is: no library, no device, or a device that the library cannot open.
    """
    if not library_is_there():
        raise DeviceError(
            f"the Edge TPU's library {LIBRARY} is not installed: install libedgetpu1-std that fits the runtime"
        )
    if not (found := devices()):
        raise DeviceError("no Coral on USB or PCIe: check the cable, the power, and (PCIe) the gasket driver")
    try:
        return load_delegate(LIBRARY)
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"{found[0]}, but {LIBRARY} cannot open it: another program uses it, you are not in the group plugdev, or "
            "the library does not fit the runtime"
        ) from error
