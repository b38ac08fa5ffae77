"""picamera2 where it can be imported, else why not, and what to do.

It is a package of the system, which environments hide by default; and its part simplejpeg is built for the system's
numpy, which an environment's own numpy 2 breaks.
"""

import sys
from pathlib import Path
from typing import Any

from edgeguard.errors import DeviceError

_SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
_SYSTEM_PREFIX = "/usr"


def picamera2_class() -> Any:
    """The class `picamera2.Picamera2`.

    Raises:
        DeviceError: it does not import; the message says what to do.
    """
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise DeviceError(_why_missing(error)) from error
    except Exception as error:
        raise DeviceError(_why_broken(error)) from error
    return Picamera2


def system_has_it() -> bool:
    """Whether the system's own Python has picamera2, as Raspberry Pi OS installs it."""
    return (_SYSTEM_PACKAGES / "picamera2").is_dir()


def _why_missing(error: ImportError) -> str:
    if not system_has_it():
        return (
            "a Pi camera needs picamera2, which is not installed: sudo apt install python3-picamera2, and make the "
            "environment with python3 -m venv --system-site-packages"
        )
    if str(_SYSTEM_PACKAGES) in sys.path:
        return f"the system's picamera2 does not import here: {error}"
    sees = "a Pi camera needs picamera2, which the system has and this environment does not see"
    if sys.base_prefix != _SYSTEM_PREFIX:  # another Python's packages of the system are others
        return (
            f"{sees}, since its Python is not the system's: make one with "
            "/usr/bin/python3 -m venv --system-site-packages, and install EdgeGuard there"
        )
    return f"{sees}: /usr/bin/python3 -m venv --system-site-packages {sys.prefix} lets it"


def _why_broken(error: Exception) -> str:
    if "size changed" in str(error):
        return (
            "the system's picamera2 is built for another numpy than this environment's: "
            f"{sys.prefix}/bin/pip install --force-reinstall --no-deps simplejpeg mends it ({error})"
        )
    return f"picamera2 does not import here: {error}"
