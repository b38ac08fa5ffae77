"""A bundle comes onto a device: verified, unpacked into the idle slot, its golden images run, and only then current.

Each step can be the last one before a power cut. Until the state is replaced nothing has changed; after that the old
bundle lies in its slot, whole, to go back to.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import edgeguard
from edgeguard.errors import CheckFailed, DeviceError, InputError
from edgeguard.fleet.archive import MANIFEST, SIGNATURE, open_bundle, read_members, read_signature
from edgeguard.fleet.envelope import read_envelope, verified_payload
from edgeguard.fleet.identity import Device
from edgeguard.fleet.layout import Layout, remove_folder, sync_folder, write_durably
from edgeguard.fleet.manifest import Manifest, moment, parse_manifest, release_number
from edgeguard.fleet.state import Installed, State, read_state, write_state
from edgeguard.fleet.trust import ReleaseKeys, check_clock
from edgeguard.system.files import sha256_file

_GOLDEN_WITHIN_S = 120.0
_FREE_BYTES = 16 << 20
#: Runs the golden images of an unpacked bundle; raises where they differ.
Golden = Callable[[Path], None]


@dataclass(frozen=True)
class Verified:
    """A bundle whose every byte is what the release keys signed.

    Attributes:
        manifest: parsed.
        payload, signature: the bytes of `bundle.json` and `bundle.sig`.
    """

    manifest: Manifest
    payload: bytes
    signature: bytes

    @property
    def manifest_sha256(self) -> str:
        """Names this very bundle."""
        return hashlib.sha256(self.payload).hexdigest()


def verify(stream: BinaryIO, keys: ReleaseKeys) -> Verified:
    """Check signatures, then every byte; nothing is parsed before a signature holds, but the envelope.

    Raises:
        InputError: the bundle is refused; the text says why.
    """
    signature = read_signature(stream)
    payload = verified_payload(read_envelope(signature), keys.keys, keys.threshold)
    manifest = parse_manifest(payload)
    read_members(stream, signature, payload, manifest, None)
    return Verified(manifest, payload, signature)


def check_fits(bundle: Verified, device: Device, state: State, now: datetime) -> None:
    """Refuse a bundle that is whole, but not for this device or not for now.

    Raises:
        InputError: expired, older, tried before, for others, or for a newer edgeguard.
    """
    manifest = bundle.manifest
    if moment(manifest.expires) <= now:
        raise InputError(f"{manifest.title} has expired ({manifest.expires}); refused")
    highest = state.highest.get(manifest.name, 0)
    if manifest.version <= highest:
        raise InputError(f"{manifest.title} is no newer than {manifest.name}-{highest}, which ran here; refused")
    if failed := [f for f in state.failures if f.manifest_sha256 == bundle.manifest_sha256]:
        raise InputError(f"{manifest.title} was tried here and taken back ({failed[-1].why}); refused")
    if device.bundle is not None and device.bundle != manifest.name:
        raise InputError(f"{manifest.title} is another bundle than {device.bundle}, which this device takes; refused")
    if manifest.hardware and not set(manifest.hardware) & set(device.hardware):
        wanted, mine = ", ".join(manifest.hardware), ", ".join(device.hardware)
        raise InputError(f"{manifest.title} is for other hardware ({wanted}), this device is {mine}; refused")
    if manifest.groups and not set(manifest.groups) & set(device.groups):
        raise InputError(f"{manifest.title} is for other groups ({', '.join(manifest.groups)}); refused")
    if release_number(manifest.edgeguard) > release_number(edgeguard.__version__):
        raise InputError(
            f"{manifest.title} wants edgeguard {manifest.edgeguard}, this is {edgeguard.__version__}; refused"
        )


def put_into_slot(layout: Layout, stream: BinaryIO, bundle: Verified, golden: Golden) -> Installed:
    """Unpack a verified bundle into the idle slot, make it durable, and run its golden images.

    Raises:
        DeviceError: no room, or the disk cannot be written; the slot is empty then.
        InputError: the file changed meanwhile, or its model cannot be used.
        CheckFailed: the golden images' outputs differ.
    """
    manifest = bundle.manifest
    with layout.held("state", wait=True):
        state = read_state(layout)
        slot = state.idle_slot
        if state.previous is not None:  # the slot is about to hold something else
            write_state(layout, replace(state, previous=None))
    folder = layout.slot(slot)
    remove_folder(folder)
    _check_room(layout, manifest)
    try:
        _unpack(folder, stream, bundle)
        golden(folder)
    except BaseException:
        remove_folder(folder)
        raise
    return Installed(slot, manifest.name, manifest.version, bundle.manifest_sha256)


def install_file(
    layout: Layout, path: Path, keys: ReleaseKeys, device: Device, now: datetime, golden: Golden | None = None
) -> Installed:
    """All of it but the switch: a bundle's file becomes a slot that could run.

    Raises:
        InputError, CheckFailed, DeviceError: refused, or not possible; nothing has changed.
    """
    check_clock(layout, now)
    try:
        with open_bundle(path) as stream:
            bundle = verify(stream, keys)
            check_fits(bundle, device, read_state(layout), now)
            return put_into_slot(layout, stream, bundle, run_golden if golden is None else golden)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    except OSError as error:
        raise DeviceError(f"cannot read {path}: {error.strerror or error}") from error


def is_whole(layout: Layout, installed: Installed) -> bool:
    """Whether every file of a slot is there with its bytes."""
    folder = layout.slot(installed.slot)
    try:
        payload = (folder / MANIFEST).read_bytes()
        if hashlib.sha256(payload).hexdigest() != installed.manifest_sha256:
            return False
        return all(sha256_file(folder / file.name) == file.sha256 for file in parse_manifest(payload).files)
    except (OSError, InputError):
        return False


def run_golden(folder: Path) -> None:
    """Run the golden images in a child process.

    Raises:
        CheckFailed: outputs differ, or the child does not end.
        InputError: the model or the configuration cannot be used.
    """
    command = [sys.executable, "-m", "edgeguard.fleet.golden_child", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GOLDEN_WITHIN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"the golden images did not end within {_GOLDEN_WITHIN_S:g} s") from error
    except OSError as error:
        raise DeviceError(f"cannot start a process for the golden images: {error.strerror}") from error
    if done.returncode == 0:
        return
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]
    raise InputError(said) if done.returncode == InputError.exit_code else CheckFailed(f"golden images: {said}")


def _check_room(layout: Layout, manifest: Manifest) -> None:
    free = os.statvfs(layout.root)
    needed = sum(file.bytes for file in manifest.files) + _FREE_BYTES
    if free.f_bavail * free.f_frsize < needed:
        raise DeviceError(f"no room for {manifest.title}: {needed >> 20} MiB are needed on the disk of {layout.root}")


def _unpack(folder: Path, stream: BinaryIO, bundle: Verified) -> None:
    folders = {folder} | {(folder / file.name).parent for file in bundle.manifest.files}

    def write(name: str, pieces: Iterator[bytes]) -> None:
        with open(folder / name, "xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    try:
        for each in sorted(folders):
            each.mkdir(parents=True)
        read_members(stream, bundle.signature, bundle.payload, bundle.manifest, write)
        write_durably(folder / SIGNATURE, bundle.signature)
        write_durably(folder / MANIFEST, bundle.payload)
    except OSError as error:
        raise DeviceError(f"cannot write {folder}: {error.strerror or error}") from error
    for each in sorted(folders, reverse=True):
        sync_folder(each)
    sync_folder(folder.parent)
