"""What was published last in each repository, kept beside the keys: it shows an older copy of a repository.

An older copy is signed with the right keys. Whoever can write the folder that a web server serves could put one there
of the day before a bundle was halted; what is published next would let that bundle go on, with new signatures.
"""

import json
import logging
from pathlib import Path

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded
from edgeguard.system.names import real_path

NAME = "published.json"
_LARGEST = 1 << 20
_log = logging.getLogger(__name__)


def check_newest(keys: Path, repository: Path, version: int) -> None:
    """Refuse a repository that is older than it was, and note one that is newer: another workstation may publish too.

    Args:
        keys: the folder of keys.
        repository: its folder.
        version: of the timestamp there; 0 where nothing is published.

    Raises:
        InputError: more was published there before, or the note is damaged.
    """
    known = _read(keys).get(_name(repository), 0)
    if version < known:
        found = f"holds publication {version}" if version else "holds no timestamp.json"
        raise InputError(
            f"{repository} {found}, and number {known} was published there: it is an older copy, or somebody changed "
            "it; put the newest copy in its place (to go on from this one all the same, remove its line from "
            f"{keys / NAME})"
        )
    if version > known:
        note_published(keys, repository, version)


def note_published(keys: Path, repository: Path, version: int) -> None:
    """Note what is published now. Keys may lie where nothing can be written: then that is said."""
    noted = {**_read(keys), _name(repository): version}
    try:
        write_bytes(keys / NAME, (json.dumps(noted, indent=1) + "\n").encode())
    except DeviceError as error:
        _log.warning("%s: an older copy of %s would not be recognized", error, repository)


def _name(repository: Path) -> str:
    return str(real_path(repository))


def _read(keys: Path) -> dict[str, int]:
    path = keys / NAME
    if not path.exists():
        return {}
    with parsing(str(path)):
        return of_type(dict[str, int], foreign_json(read_bounded(path, _LARGEST, "the note of what was published")))
