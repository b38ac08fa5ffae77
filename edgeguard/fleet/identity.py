"""Who a device is: its name, what it is, and a key that is made on it and never leaves it."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import DecodeError, Meta, json

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.layout import Layout, write_durably
from edgeguard.fleet.manifest import Word
from edgeguard.system.files import replaced
from edgeguard.system.foreign import read_bounded

_BOARD = Path("/proc/device-tree/model")
_KEY_BYTES = 32
#: Bytes of a root.json.
LARGEST_ROOT = 512_000
#: First words of what a board says of itself, and our name for it.
_BOARDS = {"Raspberry Pi 5": "pi5", "Raspberry Pi 4": "pi4", "Raspberry Pi Zero 2": "pi-zero2", "Coral": "coral"}


@dataclass(frozen=True)
class Device:
    """`device.json`.

    Attributes:
        device: its name, one word.
        hardware: what it is; a bundle for any of these fits.
        groups: that it belongs to.
        bundle: the one name of bundles that it takes; None: any that fits.
    """

    schema: Literal[1]
    device: Word
    hardware: Annotated[tuple[Word, ...], Meta(max_length=8)] = ()
    groups: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    bundle: Word | None = None


def device_file(layout: Layout) -> Path:
    """Where `Device` is kept."""
    return layout.root / "device.json"


def read_device(layout: Layout) -> Device:
    """Who this device is.

    Raises:
        InputError: it was not set up, or the file is damaged.
    """
    path = device_file(layout)
    if not path.exists():
        raise InputError(
            f"this device has no name yet: edgeguard fleet join --root-metadata root.json --root {layout.root}"
        )
    try:
        return json.decode(read_bounded(path, 1 << 16, "the device's file"), type=Device)
    except (DecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error


def join(layout: Layout, root_metadata: bytes, device: Device) -> bytes:
    """Set a device up: whom it trusts, who it is, and its key; returns the public key.

    Raises:
        DeviceError: the folder cannot be written.
        InputError: it trusts another root already.
    """
    layout.make()
    root = layout.root / "root.json"
    if root.exists() and read_bounded(root, LARGEST_ROOT, "the root metadata") != root_metadata:
        raise InputError(f"{layout.root} trusts another root already: a device changes its fleet with a new folder")
    key = device_key(layout)
    write_durably(device_file(layout), json.format(json.encode(device)))
    write_durably(root, root_metadata)
    return key.public_key().public_bytes_raw()


def device_key(layout: Layout) -> Ed25519PrivateKey:
    """The device's key; made where there is none yet.

    Raises:
        DeviceError: it cannot be written, or is damaged.
    """
    path = layout.identity / "key"
    if not path.exists():
        layout.identity.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replaced(path) as partial:
            partial.chmod(0o600)  # before the bytes are in it
            partial.write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    data = read_bounded(path, 4096, "the device's key")
    if len(data) != _KEY_BYTES:
        raise DeviceError(f"{path} is no key: remove it, and enroll the device again")
    return Ed25519PrivateKey.from_private_bytes(data)


def signature_holds(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a device signed a message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def own_hardware() -> tuple[str, ...]:
    """Names of this machine's hardware: the board's where it says one, and the architecture."""
    try:
        board = _BOARD.read_text(errors="replace").strip("\0\n ")
    except OSError:
        board = ""
    found = [name for words, name in _BOARDS.items() if board.startswith(words)]
    return (*found, re.sub(r"[^A-Za-z0-9_.-]", "-", platform.machine()) or "unknown")
