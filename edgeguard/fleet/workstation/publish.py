"""A TUF repository in a folder, for any static web server: `metadata/` and `targets/`.

Everything new is written beside what is there; `timestamp.json` comes last, and before that nobody sees anything.
Whoever is killed in between publishes again.

    targets    signed by the release keys: each bundle with its size and hash; hands `rollout.json` to the online key
    rollout    signed by the online key: which bundle goes to what share of the devices
    snapshot, timestamp   signed by the online key: what belongs together, and that it is fresh
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from msgspec import json
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.archive import open_bundle
from edgeguard.fleet.identity import LARGEST_ROOT
from edgeguard.fleet.install import Verified, verify
from edgeguard.fleet.manifest import LARGEST_BUNDLE, moment_text
from edgeguard.fleet.trust import LARGEST_ROLLOUT, MOST_OFFERS, ROLLOUT, Offer, ReleaseKeys, Rollout
from edgeguard.fleet.workstation.keys import read_root, signers_of
from edgeguard.fleet.workstation.published import check_newest, note_published
from edgeguard.system.files import replaced, write_bytes
from edgeguard.system.foreign import parsing, read_bounded
from edgeguard.system.names import folder_inside

_ROLE = "rollout"
_EXPIRES = {"targets": timedelta(days=180), _ROLE: timedelta(days=30)}
_FRESH_FOR = timedelta(days=7)
_LARGEST = 4 << 20
_OFFERED = 4  # versions of a bundle for the same devices: the one before, the newest, and two that were halted
Role = TypeVar("Role", Timestamp, Snapshot, Targets)


@dataclass(frozen=True)
class Repository:
    """A repository's folder, and the folder of the keys that sign it."""

    folder: Path
    keys: Path

    @property
    def metadata(self) -> Path:
        """Where metadata are."""
        return self.folder / "metadata"

    @property
    def targets(self) -> Path:
        """Where bundles are."""
        return self.folder / "targets"


@dataclass(frozen=True)
class _Current:
    """What is published: version 0 where nothing is."""

    targets: Targets
    rollout: Targets
    offers: Rollout
    snapshot: Snapshot
    timestamp: Timestamp
    targets_hold: bool


def publish(repository: Repository, bundle: Path | None, share: float | None, *, now: datetime) -> Rollout:
    """Publish a bundle to a share of the devices; without a bundle, say again that what is there is fresh.

    A bundle that is there already only gets another share, for which the online key is enough.

    Args:
        repository: see there.
        bundle: signed by enough release keys.
        share: percent of the devices; all of them by default.
        now: the clock.

    Raises:
        InputError: keys are missing, or the bundle is refused as a device would.
        DeviceError: the folder cannot be written.
    """
    current = _read(repository, now)
    targets, offers = None, list(current.offers.bundles)
    if bundle is not None:
        verified = _verified(repository, bundle)
        target = f"bundles/{verified.manifest.title}.egb"
        with parsing(str(bundle)):
            info = TargetFile.from_file(target, str(bundle), ["sha256"])
        published = current.targets.targets.get(target)
        if published is not None and published != info:
            raise InputError(f"{verified.manifest.title} is published already, with other bytes: give it a new version")
        if published is None:
            _check_grows(verified, offers)
            targets = current.targets
            targets.targets[target] = info
            _make(repository)
            _copy(bundle, repository.targets / "bundles" / f"{info.hashes['sha256']}.{verified.manifest.title}.egb")
        offers = [o for o in offers if o.target != target]
        offers = _newest([*offers, _offer(target, verified, 100.0 if share is None else share)])
        if targets is not None:  # what no device is offered any more takes no room in what each device loads
            offered = {offer.target for offer in offers}
            targets.targets = {path: one for path, one in targets.targets.items() if path in offered}
    return _write(repository, current, targets, offers, now)


def change(repository: Repository, title: str, *, share: float | None = None, halted: bool, now: datetime) -> Rollout:
    """Halt a rollout, or let it go on.

    Args:
        repository: see there.
        title: NAME-VERSION of a published bundle.
        share: a new one, in percent.
        halted: nobody else gets it.
        now: the clock.

    Raises:
        InputError: no such bundle is rolled out.
    """
    current = _read(repository, now)
    target = f"bundles/{title}.egb"
    if target not in {offer.target for offer in current.offers.bundles}:
        raise InputError(f"{title} is not rolled out in {repository.folder}")
    offers = [
        o if o.target != target else replace(o, halted=halted, share=o.share if share is None else share)
        for o in current.offers.bundles
    ]
    return _write(repository, current, None, offers, now)


def read_rollout(repository: Repository, now: datetime) -> Rollout:
    """What is rolled out.

    Raises:
        InputError: no repository, or a damaged one.
    """
    return _read(repository, now).offers


def _verified(repository: Repository, bundle: Path) -> Verified:
    root = read_root(repository.keys).signed
    role = root.roles["targets"]
    keys = ReleaseKeys(tuple(root.keys[keyid] for keyid in role.keyids), role.threshold)
    with open_bundle(bundle) as stream:
        try:
            return verify(stream, keys)
        except InputError as error:
            raise InputError(f"{bundle.name}: {error} (edgeguard fleet sign {bundle} --key ...)") from error


def _newest(offers: list[Offer]) -> list[Offer]:
    """Of each bundle's name, hardware and groups the newest few versions."""
    kept: list[Offer] = []
    for offer in sorted(offers, key=lambda one: one.version, reverse=True):
        alike = [
            one for one in kept if (one.name, one.hardware, one.groups) == (offer.name, offer.hardware, offer.groups)
        ]
        if len(alike) < _OFFERED:
            kept.append(offer)
    return sorted(kept, key=lambda one: (one.name, one.version))


def _check_grows(verified: Verified, offers: Iterable[Offer]) -> None:
    manifest = verified.manifest
    newest = max((o.version for o in offers if o.name == manifest.name), default=0)
    if manifest.version <= newest:
        raise InputError(f"{manifest.title} is not newer than {manifest.name}-{newest}, which is published")


def _offer(target: str, verified: Verified, share: float) -> Offer:
    manifest = verified.manifest
    return Offer(target, manifest.name, manifest.version, share, False, manifest.hardware, manifest.groups)


def _read(repository: Repository, now: datetime) -> _Current:
    """Follow the timestamp, as devices do."""
    root = read_root(repository.keys).signed
    if not (repository.metadata / "timestamp.json").exists():
        check_newest(repository.keys, repository.folder, 0)
        online = next(iter(root.roles["timestamp"].keyids))
        role = DelegatedRole(_ROLE, [online], 1, True, paths=[ROLLOUT])
        delegations = Delegations({online: root.keys[online]}, {_ROLE: role})
        expires = now + _FRESH_FOR
        made = Targets(expires=expires, delegations=delegations), Targets(expires=expires)
        snapshot, timestamp = Snapshot(expires=expires), Timestamp(expires=expires)
        for signed in (*made, snapshot, timestamp):
            signed.version = 0  # writing makes it 1
        return _Current(*made, Rollout(1, 1, moment_text(now)), snapshot, timestamp, False)
    with parsing(f"the repository {repository.folder}"):
        roots = _roots(repository)
        timestamp = _load(repository, Timestamp, "timestamp", None, roots).signed
        check_newest(repository.keys, repository.folder, timestamp.version)
        snapshot = _load(repository, Snapshot, "snapshot", timestamp.snapshot_meta, roots).signed
        targets = _load(repository, Targets, "targets", snapshot.meta["targets.json"], roots)
        rollout = _load(repository, Targets, _ROLE, snapshot.meta[f"{_ROLE}.json"], [targets.signed]).signed
        data = read_bounded(_rollout_file(repository, rollout.targets[ROLLOUT]), _LARGEST, "the rollout")
        rollout.targets[ROLLOUT].verify_length_and_hashes(data)
    with parsing(ROLLOUT):
        offers = json.decode(data, type=Rollout)
    return _Current(targets.signed, rollout, offers, snapshot, timestamp, _holds(targets, root))


def _roots(repository: Repository) -> list[Root]:
    """Root metadata of the folder of keys, the newest and those before it: what is there may be signed with keys that
    were replaced since."""
    roots = [read_root(repository.keys).signed]
    for path in repository.keys.glob("*.root.json"):
        with parsing(str(path)):
            roots.append(Metadata[Root].from_bytes(read_bounded(path, LARGEST_ROOT, "the root metadata")).signed)
    return roots


def _load(
    repository: Repository, kind: type[Role], role: str, listed: MetaFile | None, delegators: Sequence[Root | Targets]
) -> "Metadata[Role]":
    """Metadata that we signed: what is published next is signed again, and whoever can write the folder of a web
    server has no word in it.

    Args:
        repository: see there.
        kind: of the role.
        role: its name.
        listed: its version and hash, as other metadata say them; None for the timestamp.
        delegators: one of them names the keys that signed it.
    """
    name = f"{role}.json" if listed is None else f"{listed.version}.{role}.json"
    data = read_bounded(repository.metadata / name, _LARGEST, "the metadata")
    with parsing(name):
        metadata = Metadata[Role].from_bytes(data)
        if not isinstance(metadata.signed, kind):
            raise ValueError("another kind of metadata")
        if listed is not None:
            listed.verify_length_and_hashes(data)
    for one in delegators:
        with suppress(UnsignedMetadataError):
            one.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            return metadata
    raise InputError(
        f"{repository.metadata / name} is not signed with the keys of {repository.keys}: somebody else changed it; "
        "put a copy of the repository in its place, or publish into a new folder"
    )


def _write(
    repository: Repository, current: _Current, targets: Targets | None, offers: list[Offer], now: datetime
) -> Rollout:
    root = read_root(repository.keys)
    online = signers_of(repository.keys, "timestamp")
    if not online:
        raise InputError(f"{repository.keys} has no online key that root.json names")
    if _follow_root(current.targets, root.signed) or not current.targets_hold:
        targets = current.targets
    if targets is not None:
        release = signers_of(repository.keys, "targets")
        if len(release) < root.signed.roles["targets"].threshold:
            raise InputError(
                f"{len(release)} release keys are in {repository.keys}, "
                f"{root.signed.roles['targets'].threshold} are wanted to publish a new bundle"
            )
    serial = current.offers.serial + 1
    rollout = Rollout(1, serial, moment_text(now), tuple(offers))
    data = json.format(json.encode(rollout))
    if len(data) > LARGEST_ROLLOUT or len(offers) > MOST_OFFERS:
        raise InputError(f"{len(offers)} bundles are more than devices take in one {ROLLOUT}: use a second repository")
    info = TargetFile.from_data(ROLLOUT, data, ["sha256"])
    write = _Writer(repository, root.signed, current.snapshot, now)
    _make(repository)
    write_bytes(_rollout_file(repository, info), data)
    for old in repository.keys.glob("*.root.json"):
        write_bytes(repository.metadata / old.name, old.read_bytes())
    current.rollout.targets = {ROLLOUT: info}
    write.role(_ROLE, current.rollout, online, _EXPIRES[_ROLE])
    if targets is not None:
        write.role("targets", targets, release, _EXPIRES["targets"])
    write.last(current.timestamp, online)
    note_published(repository.keys, repository.folder, current.timestamp.version)
    return rollout


def _follow_root(targets: Targets, root: Root) -> bool:
    """Name the online key of this root for the rollout; whether that is another one than before."""
    online = next(iter(root.roles["timestamp"].keyids))
    delegations = targets.delegations
    if delegations is None or delegations.roles is None or _ROLE not in delegations.roles:
        raise InputError(f"this repository hands {ROLLOUT} to nobody: edgeguard fleet publish did not make it")
    if online in delegations.keys:
        return False
    delegations.keys = {online: root.keys[online]}
    delegations.roles[_ROLE].keyids[:] = [online]
    return True


def _holds(metadata: "Metadata[Targets]", root: Root) -> bool:
    """Whether enough of the release keys that root names signed it."""
    try:
        root.verify_delegate("targets", metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    return True


class _Writer:
    """Writes roles with the next versions, and a snapshot and a timestamp of them in the end."""

    def __init__(self, repository: Repository, root: Root, snapshot: Snapshot, now: datetime) -> None:
        self._folder, self._root, self._snapshot, self._now = repository.metadata, root, snapshot, now

    def role(self, name: str, signed: Targets, signers: list[CryptoSigner], expires: timedelta) -> None:
        signed.version += 1
        signed.expires = self._now + expires
        data = self._signed(signed, signers)
        write_bytes(self._folder / f"{signed.version}.{name}.json", data)
        self._snapshot.meta[f"{name}.json"] = MetaFile.from_data(signed.version, data, ["sha256"])

    def last(self, timestamp: Timestamp, online: list[CryptoSigner]) -> None:
        self._snapshot.version += 1
        self._snapshot.expires = timestamp.expires = self._now + _FRESH_FOR
        data = self._signed(self._snapshot, online)
        write_bytes(self._folder / f"{self._snapshot.version}.snapshot.json", data)
        timestamp.version += 1
        timestamp.snapshot_meta = MetaFile.from_data(self._snapshot.version, data, ["sha256"])
        write_bytes(self._folder / "timestamp.json", self._signed(timestamp, online))

    def _signed(self, signed: Role, signers: list[CryptoSigner]) -> bytes:
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()


def _rollout_file(repository: Repository, info: TargetFile) -> Path:
    return repository.targets / f"{info.hashes['sha256']}.{ROLLOUT}"


def _make(repository: Repository) -> None:
    """Its folders; a link in the place of one would lead what is written elsewhere."""
    try:
        repository.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot write {repository.folder}: {error.strerror}") from error
    for name in (repository.metadata.name, f"{repository.targets.name}/bundles"):
        folder_inside(repository.folder, name)


def _copy(bundle: Path, target: Path) -> None:
    if bundle.stat().st_size > LARGEST_BUNDLE:
        raise InputError(f"{bundle} is larger than {LARGEST_BUNDLE >> 20} MiB")
    with replaced(target) as partial:
        shutil.copyfile(bundle, partial)
