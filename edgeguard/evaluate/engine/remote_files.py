"""Files that a job names, where the job runs: in place, or as copies that came with it to another machine."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from edgeguard.errors import DeviceError
from edgeguard.system.files import write_bytes
from edgeguard.system.located import stand_for

_COPIES = "EDGEGUARD_EVALUATE_FILES"


def keep_copy(path: str, data: bytes) -> None:
    """Make a path stand for these bytes in this process (see `located`).

    The file of that name counts if it holds them. Another file of the same name may be anything, so a copy stands for
    the path then, as it does where there is no file. Copies are named by what they hold: each is written once.

    Raises:
        DeviceError: another user of this machine made the folder of copies, or can write there.
    """
    folder = Path(os.environ.get(_COPIES) or Path(tempfile.gettempdir()) / f"edgeguard-files-{os.getuid()}")
    _make_own(folder)
    if _holds(Path(path), data):
        stand_for(path, Path(path))
        return
    copy = folder / (hashlib.sha256(data).hexdigest() + Path(path).suffix)
    if not _holds(copy, data):
        write_bytes(copy, data)
    stand_for(path, copy)


def _holds(path: Path, data: bytes) -> bool:
    try:
        found = path.stat()
        return stat.S_ISREG(found.st_mode) and found.st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _make_own(folder: Path) -> None:
    """The folder's name can be foreseen, so others may have put theirs there, or a link."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise DeviceError(f"{folder} is not this user's alone: remove it, or set {_COPIES} to another folder")
