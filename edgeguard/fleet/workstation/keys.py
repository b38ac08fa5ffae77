"""Keys of a fleet, as PEM files in a folder, and `root.json`, which names them (The Update Framework's roles).

root       names the others; belongs off line, on a stick in a drawer
release-N  sign bundles and the list of them (`targets`); so many of them as the threshold says
online     signs what changes every day: shares, snapshot, timestamp; it can release nothing
"""

import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root

from edgeguard.errors import InputError
from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.foreign import parsing, read_bounded
from edgeguard.system.outputs import output_folder

ROOT_EXPIRES = timedelta(days=365)
_LARGEST = 1 << 16
_ROOT, _ONLINE = "root", "online"


def make_keys(folder: Path, now: datetime, release_keys: int = 1, threshold: int = 1) -> Path:
    """Make a folder of keys and its first root metadata; returns the path of `root.json`.

    Raises:
        InputError: there are keys already, or the threshold cannot be reached.
        DeviceError: the folder cannot be written.
    """
    if not 1 <= threshold <= release_keys <= 16:
        raise InputError(
            f"{threshold} of {release_keys} release keys cannot be: 1 to 16 keys, and no more wanted than there are"
        )
    names = ["release"] if release_keys == 1 else [f"release-{n}" for n in range(1, release_keys + 1)]
    keys = [written for name in (_ROOT, *names, _ONLINE) for written in (name, f"{name}.pub")]
    written = [*keys, "root.json", "1.root.json"]
    taken = next((name for name in written if os.path.lexists(folder / name)), None)
    if taken is not None:
        raise InputError(f"{folder} holds keys already ({taken}): they would be lost; name a new folder")
    is_new = not os.path.lexists(folder)
    with output_folder(folder, *written):
        if is_new:
            folder.chmod(0o700)
        return _first_root(folder, now, names, threshold)


def _first_root(folder: Path, now: datetime, names: list[str], threshold: int) -> Path:
    signers = {name: _new_key(folder / name) for name in (_ROOT, *names, _ONLINE)}
    root = Root(expires=now + ROOT_EXPIRES, consistent_snapshot=True)
    root.add_key(signers[_ROOT].public_key, "root")
    for name in names:
        root.add_key(signers[name].public_key, "targets")
    root.roles["targets"].threshold = threshold
    for role in ("snapshot", "timestamp"):
        root.add_key(signers[_ONLINE].public_key, role)
    return _write_root(folder, Metadata(root), [signers[_ROOT]])


def replace_key(folder: Path, name: str, now: datetime) -> Path:
    """Revoke a release key or the online key: a new root metadata names a new key in its place.

    The old private key's file is kept as `NAME.revoked`. Devices learn of it with their next update.

    Raises:
        InputError: no such key.
    """
    if name == _ROOT or not (folder / name).is_file():
        raise InputError(f"{folder / name} is no release key and not the online key")
    metadata = read_root(folder)
    old = load_signer(folder / name).public_key
    roles = [role for role, entry in metadata.signed.roles.items() if old.keyid in entry.keyids]
    if not roles:
        raise InputError(f"{name} is no key that root.json names: nothing to revoke")
    metadata.signed.version += 1
    metadata.signed.expires = now + ROOT_EXPIRES
    made = (f"{name}.new", f"{name}.new.pub")
    with output_folder(folder, *made, f"{metadata.signed.version}.root.json"):
        new = _new_key(folder / made[0]).public_key
        for role in roles:
            metadata.signed.revoke_key(old.keyid, role)
            metadata.signed.add_key(new, role)
        root = _write_root(folder, metadata, [load_signer(folder / _ROOT)])
    (folder / name).replace(folder / f"{name}.revoked")
    for written, wanted in zip(made, (name, f"{name}.pub"), strict=True):
        (folder / written).replace(folder / wanted)
    return root


def read_root(folder: Path) -> "Metadata[Root]":
    """The newest root metadata of a folder of keys.

    Raises:
        InputError: none, or a damaged one.
    """
    data = read_bounded(folder / "root.json", 512_000, "the root metadata")
    with parsing(f"{folder / 'root.json'}"):
        metadata = Metadata[Root].from_bytes(data)
        for name, role in metadata.signed.roles.items():
            if not role.keyids or not set(role.keyids) <= set(metadata.signed.keys):
                raise ValueError(f"the keys of the role {name} are missing")
        return metadata


def load_signer(path: Path) -> CryptoSigner:
    """A private key that can sign.

    Raises:
        InputError: no such file, or no Ed25519 key.
    """
    data = read_bounded(path, _LARGEST, "the key")
    with parsing(f"the key {path}"):
        key = load_pem_private_key(data, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no Ed25519 key")
    return CryptoSigner(key)


def signers_of(folder: Path, role: str) -> list[CryptoSigner]:
    """The private keys in a folder that root.json names for a role."""
    wanted = set(read_root(folder).signed.roles[role].keyids)
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == "" and path.is_file():
            signer = load_signer(path)
            if signer.public_key.keyid in wanted:
                found.append(signer)
    return found


def _new_key(path: Path) -> CryptoSigner:
    """A new key: the private part for its owner only, and `NAME.pub` for everybody (openssl reads both)."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with replaced(path) as partial:
        os.chmod(partial, 0o600)  # noqa: PTH101 - before the bytes are in it
        partial.write_bytes(private)
    write_bytes(
        path.with_name(f"{path.name}.pub"),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    return CryptoSigner(key)


def _write_root(folder: Path, metadata: "Metadata[Root]", signers: list[CryptoSigner]) -> Path:
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    data = metadata.to_bytes()
    write_bytes(folder / f"{metadata.signed.version}.root.json", data)
    write_bytes(folder / "root.json", data)
    return folder / "root.json"
