"""Who belongs to a fleet: one file with public keys, one-time tokens that wait, and devices that are revoked."""

import fcntl
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import DecodeError, Meta, json

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.enrollment import Request
from edgeguard.fleet.manifest import Hash, Moment, Word, moment, moment_text
from edgeguard.system.files import replaced
from edgeguard.system.foreign import read_bounded

TOKEN_HOLDS = timedelta(days=7)
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Token:
    """Waits for a device.

    Attributes:
        token: the secret; it goes when it was used.
        expires: UTC.
    """

    token: Annotated[str, Meta(min_length=16, max_length=128)]
    expires: Moment


@dataclass(frozen=True)
class Devices:
    """The file.

    Attributes:
        keys: public keys by devices.
        tokens: by the devices that they are for.
        revoked: devices whose messages count for nothing, and since when.
    """

    schema: Literal[1] = 1
    keys: dict[Word, Hash] = field(default_factory=dict)
    tokens: dict[Word, Token] = field(default_factory=dict)
    revoked: dict[Word, Moment] = field(default_factory=dict)

    def expecting(self, device: str, now: datetime) -> "Devices":
        """A device may enroll; the same with a token for it.

        Raises:
            InputError: it belongs to the fleet already.
        """
        if device in self.keys and device not in self.revoked:
            raise InputError(
                f"{device} belongs to the fleet already: edgeguard fleet revoke it first, if it is another one"
            )
        token = Token(secrets.token_hex(16), moment_text(now + TOKEN_HOLDS))
        return replace(self, tokens={**self.tokens, device: token})

    def enrolled(self, request: Request, now: datetime) -> "Devices":
        """A device showed its token; the same with its key, without the token.

        Raises:
            InputError: no token waits for it, or it has another one.
        """
        token = self.tokens.get(request.device)
        if token is None:
            raise InputError(f"{request.device} wants to enroll, and no token waits for it (used already?)")
        if moment(token.expires) < now:
            raise InputError(f"{request.device} wants to enroll with a token that has expired")
        if not request.holds(token.token):
            raise InputError(f"{request.device} wants to enroll with a wrong token")
        tokens = {name: one for name, one in self.tokens.items() if name != request.device}
        revoked = {name: since for name, since in self.revoked.items() if name != request.device}
        return replace(self, keys={**self.keys, request.device: request.key}, tokens=tokens, revoked=revoked)

    def without(self, device: str, now: datetime) -> "Devices":
        """A lost device counts for nothing from now on.

        Raises:
            InputError: it does not belong to the fleet.
        """
        if device not in self.keys and device not in self.tokens:
            raise InputError(f"{device} does not belong to this fleet")
        tokens = {name: one for name, one in self.tokens.items() if name != device}
        return replace(self, tokens=tokens, revoked={**self.revoked, device: moment_text(now)})


def read_devices(path: Path) -> Devices:
    """The file; an empty fleet where there is none yet.

    Raises:
        InputError: it is damaged.
    """
    if not path.exists():
        return Devices()
    try:
        return json.decode(read_bounded(path, _LARGEST, "the devices"), type=Devices)
    except (DecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error


def change_devices(path: Path, change: Callable[[Devices], Devices]) -> Devices:
    """Read, change and replace the file; of two that do it at once one waits, so that no revocation is lost.

    The file is for its owner only, since it holds tokens.

    Args:
        path: of the file.
        change: gives what it shall hold from what it holds.

    Raises:
        InputError: the file is damaged, or `change` refuses.
        DeviceError: it cannot be written.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        devices = change(read_devices(path))
        _write(path, devices)
        return devices
    finally:
        os.close(folder)


def _write(path: Path, devices: Devices) -> None:
    with replaced(path) as partial:
        partial.chmod(0o600)
        partial.write_bytes(json.format(json.encode(devices)))
