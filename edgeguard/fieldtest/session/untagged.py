"""Recording objects without tags: a pass is what comes after the operator says so; where it stands is marked later."""

import errno
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeguard.camera.source import Captured, Source
from edgeguard.errors import DeviceError, InputError
from edgeguard.fieldtest.session.arms import folder_names, sheets_named
from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.session.session import frame_bytes
from edgeguard.system.files import write_bytes
from edgeguard.system.names import refuse_special, with_a_name


def photographs_beside(session: Path) -> Path:
    """The folder beside a session that holds its passes without tags."""
    session = with_a_name(session.absolute().resolve())
    return session.with_name(f"{session.name}-untagged")


def untagged_folder(session: Path, plan: Plan, name: str, light: str) -> Path:
    """Where the passes of one sheet go, named so that `fieldtest import` knows what they are.

    Args:
        session: its folder.
        plan: of the session.
        name: what lies on the object: an arm, a sheet's number, or `OBJECT-ARM`.
        light: that is on.

    Raises:
        InputError: no sheet of the plan has this name, or several have; or one of the folders is a link.
    """
    found = sheets_named(plan, (name,))
    if len(found) != 1:
        known = ", ".join(folder_names(sheet, plan) for sheet in plan.sheets)
        raise InputError(f"--untagged {name}: {'several' if found else 'none'} of the plan's sheets; known: {known}")
    beside = photographs_beside(session)
    path = beside.parent
    for part in (beside.name, light, folder_names(found[0], plan)):
        refuse_special(path, part)
        path = path / part
    return path


def record_untagged(
    source: Source,
    folder: Path,
    frames: int,
    *,
    is_wanted: Callable[[], bool],
    is_over: Callable[[], bool],
    stored: Callable[[Path], None],
) -> None:
    """Store passes until the operator or the source ends it; frames between passes are thrown away.

    Args:
        source: a camera.
        folder: gets a folder for each pass, with the frames as the camera gave them.
        frames: of a pass.
        is_wanted: whether a pass shall begin with the next frame; asked between passes only.
        is_over: whether no further pass shall begin.
        stored: told of each whole pass.

    Raises:
        DeviceError: the camera or the disk is lost; what was stored stays. Half a pass is never stored.
    """
    for half in folder.glob(".pass-*"):  # of a process that was killed
        shutil.rmtree(half, ignore_errors=True)
    held: list[Captured] = []
    for captured in source.frames():
        if not held and is_over():
            break
        if not isinstance(captured, Captured) or (not held and not is_wanted()):
            continue
        held.append(captured)
        if len(held) == frames:
            stored(_store(folder, held))
            held = []


def _store(folder: Path, held: Sequence[Captured]) -> Path:
    """A pass, whole or not there: it gets its name when all of its frames are written."""
    folder.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=".pass-", dir=folder))
    half.chmod(0o755)
    for number, captured in enumerate(held):
        data, suffix = frame_bytes(captured)
        write_bytes(half / f"{number:03d}{suffix}", data)
    number = 1
    while True:
        place = folder / f"pass-{number:04d}"
        try:
            half.rename(place)  # fails where there is one with frames in it
            return place
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise DeviceError(f"cannot write {place}: {error.strerror}") from error
        number += 1
