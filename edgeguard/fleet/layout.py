"""The device's folder, and writing in it so that a power cut leaves the old or the new, whole.

root.json             whom this device trusted first; put there by whoever sets it up
device.json           who it is; identity/ holds its key
trusted/              metadata of the repository, and seen.json; outside the slots, so no rollback forgets it
incoming/             downloads that are not whole yet
slots/a, slots/b      two bundles, unpacked
reserve               room that only a change of the state may take
state.json            which slot is current, and whether it is on trial
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeguard.errors import DeviceError
from edgeguard.system.files import replaced
from edgeguard.system.leftovers import clear_all_partials

DEFAULT = Path("/var/lib/edgeguard-fleet")
_RESERVE_BYTES = 256 << 10


@dataclass(frozen=True)
class Layout:
    """Where things are in a device's folder.

    Attributes:
        root: the folder.
        run: where the run writes, if it has another user and a folder of its own.
    """

    root: Path
    run: Path | None = None

    @property
    def trusted(self) -> Path:
        """Metadata of the repository."""
        return self.root / "trusted"

    @property
    def incoming(self) -> Path:
        """Unfinished downloads."""
        return self.root / "incoming"

    @property
    def state(self) -> Path:
        """See `state.State`."""
        return self.root / "state.json"

    @property
    def reserve(self) -> Path:
        """Room on the disk that only a change of the state may take."""
        return self.root / "reserve"

    @property
    def identity(self) -> Path:
        """The device's own key."""
        return self.root / "identity"

    @property
    def status(self) -> Path:
        """What the run writes of itself every second (`run --status-file`)."""
        return (self.run or self.root) / "status.json"

    @property
    def work(self) -> Path:
        """A folder for each bundle: where its run writes what its configuration names without a folder."""
        return (self.run or self.root) / "work"

    def slot(self, name: str) -> Path:
        """A slot's folder."""
        return self.root / "slots" / name

    def make(self) -> None:
        """Make what is missing, and remove what a killed update left.

        Raises:
            DeviceError: the folder cannot be written.
        """
        try:
            for folder in (self.root, self.trusted, self.incoming, self.root / "slots", self.identity):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700 if folder == self.identity else 0o755)
        except OSError as error:
            raise DeviceError(f"cannot write {self.root}: {error.strerror}") from error
        clear_all_partials(self.root)
        if not self.reserve.exists():
            write_durably(self.reserve, bytes(_RESERVE_BYTES))
        for left in self.trusted.glob("tmp*"):  # the TUF client's temporary files
            left.unlink(missing_ok=True)

    @contextmanager
    def held(self, what: str, *, wait: bool) -> Iterator[None]:
        """Hold a lock of the folder: `update` for an update from its first to its last step, `state` for one step.

        Raises:
            DeviceError: somebody else holds it, and we do not wait.
        """
        try:
            descriptor = os.open(self.root / f"{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DeviceError(f"cannot write {self.root}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield
        except BlockingIOError:
            raise DeviceError(f"another update of {self.root} is running: wait for its end") from None
        finally:
            os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file: all of it or nothing, and it is still so after a power cut.

    Raises:
        DeviceError: the disk is full or cannot be written; the old file is untouched.
    """
    with replaced(path) as partial:
        partial.write_bytes(data)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        DeviceError: the disk cannot be written.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DeviceError(f"cannot write {folder}: {error.strerror}") from error


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it, where it is there.

    Raises:
        DeviceError: it cannot be removed.
    """
    try:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise DeviceError(f"cannot remove {folder}: {error.strerror}") from error
