"""Files that a job names, where the job runs: in place, or as copies that came with it to another machine."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from edgeguard.errors import DeviceError
from edgeguard.system.files import write_bytes

_COPIES = "EDGEGUARD_EVALUATE_FILES"


def located(path: str) -> Path:
    """The file itself, else its copy on this machine; either may be missing, which reading it says."""
    here = Path(path)
    if here.exists() or _COPIES not in os.environ:
        return here
    return Path(os.environ[_COPIES]) / _copy_name(path)


def keep_copy(path: str, data: bytes) -> None:
    """Keep a copy of a file that this machine does not have, once.

    Raises:
        DeviceError: another user of this machine made the folder, or can write there.
    """
    folder = Path(os.environ.setdefault(_COPIES, str(Path(tempfile.gettempdir()) / f"edgeguard-files-{os.getuid()}")))
    _make_own(folder)
    target = folder / _copy_name(path)
    if Path(path).exists() or (target.exists() and target.read_bytes() == data):
        return
    write_bytes(target, data)


def _make_own(folder: Path) -> None:
    """The folder's name can be foreseen, so others may have put theirs there, or a link."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise DeviceError(f"{folder} is not this user's alone: remove it, or set {_COPIES} to another folder")


def _copy_name(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest() + Path(path).suffix
