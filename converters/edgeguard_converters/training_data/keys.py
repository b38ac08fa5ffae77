"""Ed25519 keys in files, and signatures with them (RFC 8032)."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.foreign import read_bounded
from edgeguard.system.names import with_a_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MOST_BYTES = 64 << 10


def make_keys(path: Path) -> tuple[Path, Path, str]:
    """Write a new pair: `NAME.key`, which only its owner may read, and `NAME.pub`.

    Args:
        path: of the pair, without a suffix.

    Returns:
        Both files, and the public key's fingerprint.

    Raises:
        InputError: there is such a file already.
        DeviceError: they cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = with_a_name(path)
    private, public = path.with_name(f"{path.name}.key"), path.with_name(f"{path.name}.pub")
    for file in (private, public):
        if os.path.lexists(file):
            raise InputError(f"{file} is there already: a key is not written over")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    told = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with replaced(private) as partial:
        os.chmod(partial, 0o600)  # noqa: PTH101 - before the bytes are in it
        partial.write_bytes(pem)
    try:
        write_bytes(public, told)
    except DeviceError:
        private.unlink()
        raise
    return private, public, fingerprint(raw_public(key.public_key()))


def read_private(path: Path) -> "Ed25519PrivateKey":
    """The private key of a file.

    Raises:
        InputError: the file holds no Ed25519 key, or one behind a password.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = read_bounded(path, _MOST_BYTES, "the key")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except Exception as error:  # the library's own classes differ by version
        raise InputError(f"{path} holds no private key that can be read without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind: wanted Ed25519 (`edgeguard data keygen`)")
    return key


def read_public(path: Path) -> bytes:
    """The 32 bytes of a file's public key.

    Raises:
        InputError: the file holds no Ed25519 public key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = read_bounded(path, _MOST_BYTES, "the public key")
    try:
        key = serialization.load_pem_public_key(data)
    except Exception as error:
        hint = ": this is the private one; take NAME.pub" if b"PRIVATE" in data else ""
        raise InputError(f"{path} holds no public key{hint}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} holds a key of another kind: wanted Ed25519 (`edgeguard data keygen`)")
    return raw_public(key)


def raw_public(key: "Ed25519PublicKey") -> bytes:
    """A public key's 32 bytes."""
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def signature_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the owner of a public key signed exactly this message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: bytes) -> str:
    """A short name of a public key, for people: the first 16 digits of its SHA-256.

    Example:
        >>> fingerprint(bytes(32))
        '66687aadf862bd77'
    """
    return hashlib.sha256(public).hexdigest()[:16]
