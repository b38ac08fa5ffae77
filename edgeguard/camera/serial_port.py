"""Serial ports: opening one with a reason where it cannot be, and the form of serial sources."""

import errno
from typing import Any
from urllib.parse import parse_qsl

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.extras import how_to_install


def no_pyserial() -> str:
    """The line where pyserial is missing."""
    return f"serial cameras need pyserial: {how_to_install('serial')}"


def port_names() -> list[str]:
    """Device files of this machine's serial ports.

    Raises:
        ImportError: pyserial is not installed.
    """
    from serial.tools.list_ports import comports

    return sorted(port.device for port in comports())


def parse_serial_spec(spec: str, kind: str, keys: set[str]) -> tuple[str, dict[str, str]]:
    """Port and options of `serial:KIND:PORT?key=value`.

    Raises:
        InputError: no port, or an unknown key.

    Example:
        >>> parse_serial_spec("serial:vc0706:/dev/ttyUSB0?baud=9600", "vc0706", {"baud"})
        ('/dev/ttyUSB0', {'baud': '9600'})
    """
    port, _, query = spec.removeprefix(f"serial:{kind}:").partition("?")
    if not port:
        raise InputError(f"{spec}: wanted serial:{kind}:PORT, e.g. serial:{kind}:/dev/ttyUSB0")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - keys):
        raise InputError(f"{spec}: unknown key {unknown[0]!r}; known: {', '.join(sorted(keys))}")
    return port, options


def open_port(port: str, baud: int) -> Any:
    """A port of pyserial's, 8N1, of our own.

    Raises:
        DeviceError: it is not there, in use, or not ours to open.
        InputError: pyserial is not installed.
    """
    try:
        import serial
    except ImportError as error:
        raise InputError(no_pyserial()) from error

    try:
        return serial.Serial(port, baud, timeout=1, write_timeout=2, exclusive=True)
    except serial.SerialException as error:
        code = getattr(error, "errno", None)
        if code == errno.ENOENT:
            raise DeviceError(f"there is no serial port {port}: {_those_there()}") from error
        if code == errno.EACCES:
            hint = "sudo usermod -a -G dialout $USER, and log in again"
            raise DeviceError(f"no permission for {port}: {hint}") from error
        if code in (errno.EBUSY, errno.EWOULDBLOCK) or "lock" in str(error):
            raise DeviceError(f"{port} is in use by another program") from error
        raise DeviceError(f"{port} cannot be opened: {error}") from error


def _those_there() -> str:
    """The ports that there are, and what to do, for a line about one that is missing."""
    if not (there := port_names()):
        return "this machine has none; plug the camera in, then edgeguard doctor lists its port"
    return f"this machine has {', '.join(there)}; edgeguard firmware ports says what answers on each"
