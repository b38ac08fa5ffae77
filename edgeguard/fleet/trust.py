"""What this device trusts: The Update Framework's client (python-tuf), with two memories of our own beside it.

python-tuf checks signatures, thresholds, expiry, rollback of metadata, mixed files, and sizes. `seen.json` remembers
the serial and the time of the newest rollout: python-tuf does not sync its files, and a power cut that empties one
would make it forget; and a clock that was set back would let old metadata live again.

A repository serves `metadata/` and `targets/`. The target `rollout.json` says which bundles are rolled out to what
share. It is signed by the key that is on line and can choose only among bundles that the release keys signed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import DecodeError, Meta, json
from securesystemslib.signer import Key
from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, TargetFile
from tuf.ngclient import Updater, UpdaterConfig

from edgeguard.errors import DeviceError, InputError
from edgeguard.fleet.fetch import Fetcher, read_small
from edgeguard.fleet.layout import Layout, write_durably
from edgeguard.fleet.manifest import FileName, Moment, Word, moment, moment_text
from edgeguard.system.foreign import read_bounded

ROLLOUT = "rollout.json"
#: What devices take.
LARGEST_ROLLOUT, MOST_OFFERS = 64 << 10, 256
_MOST_ROOT_BYTES = 512_000
_CLOCK_SLACK = timedelta(minutes=10)


@dataclass(frozen=True)
class Offer:
    """A bundle that is rolled out.

    Attributes:
        target: its file in the repository.
        name, version: of the bundle.
        share: percent of the devices, 0 to 100.
        halted: nobody else gets it.
        hardware, groups: as in the manifest.
    """

    target: FileName
    name: Word
    version: Annotated[int, Meta(ge=1, le=2**53)]
    share: Annotated[float, Meta(ge=0, le=100)] = 100.0
    halted: bool = False
    hardware: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    groups: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()


@dataclass(frozen=True)
class Rollout:
    """`rollout.json`.

    Attributes:
        serial: grows with each publication.
        created: when, UTC.
        bundles: what is offered.
    """

    schema: Literal[1]
    serial: Annotated[int, Meta(ge=1, le=2**53)]
    created: Moment
    bundles: Annotated[tuple[Offer, ...], Meta(max_length=MOST_OFFERS)] = ()


@dataclass(frozen=True)
class Seen:
    """The newest rollout that this device has seen."""

    serial: int = 0
    created: Moment = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class ReleaseKeys:
    """Who signs bundles: `threshold` of `keys`."""

    keys: tuple[Key, ...]
    threshold: int


class Repository:
    """A repository, looked at once.

    Args:
        layout: of the device.
        url: where `metadata/` and `targets/` are.
        fetcher: brings bytes.
        now: the device's clock.
    """

    def __init__(self, layout: Layout, url: str, fetcher: Fetcher, now: datetime) -> None:
        self._layout, self._url, self._fetcher, self._now = layout, url.rstrip("/"), fetcher, now
        self._updater: Updater | None = None

    def rollout(self) -> Rollout:
        """Bring the trusted metadata up to date, and say what is rolled out.

        Raises:
            InputError: what the repository has is refused.
            DeviceError: it cannot be reached, or the clock cannot be right.
        """
        check_clock(self._layout, self._now)
        bootstrap = read_bounded(first_root(self._layout), _MOST_ROOT_BYTES, "the trusted root")
        with _said(self._url):
            self._updater = Updater(
                str(self._layout.trusted), f"{self._url}/metadata/", None, None, self._fetcher,
                UpdaterConfig(root_max_length=_MOST_ROOT_BYTES, max_root_rotations=32, max_delegations=4),
                bootstrap=bootstrap,
            )  # fmt: skip
            self._updater.refresh()
            info = self._updater.get_targetinfo(ROLLOUT)
            if info is None:
                raise InputError(f"{self._url} rolls nothing out: it has no {ROLLOUT}")
            if info.length > LARGEST_ROLLOUT:
                raise InputError(f"{ROLLOUT} has {info.length} bytes, more than {LARGEST_ROLLOUT}; refused")
            data = read_small(self._fetcher, self._target_url(info), info.length)
            info.verify_length_and_hashes(data)
        rollout = _parsed(data)
        self._remember(rollout)
        return rollout

    def file(self, offer: Offer) -> tuple[str, TargetFile]:
        """The address of a bundle, and its size and hashes as the release keys signed them.

        Raises:
            InputError: the release keys did not sign such a file.
        """
        assert self._updater is not None
        with _said(self._url):
            info = self._updater.get_targetinfo(offer.target)
        if info is None:
            raise InputError(f"{offer.target} is rolled out, but no release key signed it; refused")
        return self._target_url(info), info

    def _target_url(self, info: TargetFile) -> str:
        folder, slash, name = info.path.rpartition("/")
        return f"{self._url}/targets/{folder}{slash}{next(iter(info.hashes.values()))}.{name}"

    def _remember(self, rollout: Rollout) -> None:
        seen = read_seen(self._layout)
        if rollout.serial < seen.serial:
            raise InputError(
                f"{self._url} offers rollout {rollout.serial}, which is older than {seen.serial}, seen before; refused"
            )
        if moment(rollout.created) > self._now + _CLOCK_SLACK:
            raise DeviceError(_clock_line(self._now, rollout.created))
        if rollout.serial > seen.serial:
            write_durably(seen_file(self._layout), json.encode(Seen(rollout.serial, rollout.created)))


def check_clock(layout: Layout, now: datetime) -> None:
    """Refuse to judge expiry by a clock that is behind what was signed already.

    Raises:
        DeviceError: it is.
    """
    created = read_seen(layout).created
    if now + _CLOCK_SLACK < moment(created):
        raise DeviceError(_clock_line(now, created))


def seen_file(layout: Layout) -> Path:
    """Where `Seen` is kept."""
    return layout.trusted / "seen.json"


def read_seen(layout: Layout) -> Seen:
    """What this device has seen.

    Raises:
        DeviceError: the file is damaged.
    """
    path = seen_file(layout)
    if not path.exists():
        return Seen()
    try:
        return json.decode(read_bounded(path, 4096, "the memory of"), type=Seen)
    except (DecodeError, RecursionError) as error:
        raise DeviceError(f"{path} is damaged ({error}): set the device up again (edgeguard fleet join)") from error


def first_root(layout: Layout) -> Path:
    """The root that whoever set the device up gave it.

    Raises:
        InputError: nobody did.
    """
    path = layout.root / "root.json"
    if not path.exists():
        raise InputError(
            f"this device trusts nobody yet: edgeguard fleet join --root-metadata root.json --root {layout.root}"
        )
    return path


def release_keys(layout: Layout) -> ReleaseKeys:
    """The release keys of the newest root that this device knows; each root is signed by the one before it.

    Raises:
        InputError: no root, or a damaged one.
    """
    path = first_root(layout)
    with _said(str(path)):
        trusted = Metadata[Root].from_bytes(read_bounded(path, _MOST_ROOT_BYTES, "the trusted root"))
        trusted.signed.verify_delegate(Root.type, trusted.signed_bytes, trusted.signatures)
        while True:
            newer = layout.trusted / "root_history" / f"{trusted.signed.version + 1}.root.json"
            if not newer.exists():
                break
            found = Metadata[Root].from_bytes(read_bounded(newer, _MOST_ROOT_BYTES, "a trusted root"))
            for judge in (trusted, found):
                judge.signed.verify_delegate(Root.type, found.signed_bytes, found.signatures)
            trusted = found
    role, known = trusted.signed.roles["targets"], trusted.signed.keys
    return ReleaseKeys(tuple(known[keyid] for keyid in role.keyids if keyid in known), role.threshold)


def _parsed(data: bytes) -> Rollout:
    try:
        return json.decode(data, type=Rollout)
    except (DecodeError, RecursionError) as error:
        raise InputError(f"{ROLLOUT} cannot be read: {error}") from error


def _clock_line(now: datetime, created: str) -> str:
    return (
        f"the clock says {moment_text(now.astimezone(UTC))}, which is before what was signed at {created}: "
        "set the clock (timedatectl); nothing is updated until then"
    )


@contextmanager
def _said(where: str) -> Iterator[None]:
    """What python-tuf refuses, in one line."""
    try:
        yield
    except tuf.ExpiredMetadataError as error:
        raise InputError(
            f"{where}: {error}: nobody published for too long, or somebody holds back what is new; refused"
        ) from error
    except tuf.BadVersionNumberError as error:
        raise InputError(f"{where} offers older metadata than this device has seen ({error}); refused") from error
    except tuf.UnsignedMetadataError as error:
        raise InputError(f"{where}: too few of the trusted keys signed it ({error}); refused") from error
    except tuf.DownloadLengthMismatchError as error:
        raise InputError(f"{where}: larger than it may be ({error}); refused") from error
    except tuf.LengthOrHashMismatchError as error:
        raise InputError(f"{where}: files that do not belong together ({error}); refused") from error
    except tuf.SlowRetrievalError as error:
        raise DeviceError(f"{where} is too slow ({error}); trying again later") from error
    except tuf.DownloadHTTPError as error:
        raise DeviceError(f"{where} answers with HTTP status {error.status_code}: {error}") from error
    except tuf.DownloadError as error:
        raise DeviceError(f"{where} cannot be reached: {error}") from error
    except OSError as error:  # python-tuf writes what it trusts
        raise DeviceError(
            f"cannot write {error.filename or 'the trusted metadata'}: {error.strerror or error}"
        ) from error
    except (tuf.RepositoryError, ValueError, KeyError) as error:
        raise InputError(f"{where}: the metadata is damaged or no metadata ({error}); refused") from error
