"""Who can reach a server of ours, and the token that they need."""

import ipaddress
from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.system.foreign import read_bounded

_LARGEST_TOKEN = 1 << 16  # bytes
_SHORTEST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        InputError: the file cannot be read, or holds fewer than 16 characters.
    """
    try:
        token = read_bounded(path, _LARGEST_TOKEN, "the token file").decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read the token file {path}: {error}") from error
    if len(token) < _SHORTEST_TOKEN:
        raise InputError(f"{path}: a token has at least {_SHORTEST_TOKEN} characters (openssl rand -hex 16 makes one)")
    return token
