"""Recording objects without tags: a pass is what comes after the operator says so; where it stands is marked later."""

import shutil
from collections.abc import Callable
from pathlib import Path

from edgeguard.camera.source import Captured, Source
from edgeguard.errors import InputError
from edgeguard.fieldtest.session.arms import folder_names, sheets_named
from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.session.session import frame_bytes
from edgeguard.system.files import write_bytes


def photographs_beside(session: Path) -> Path:
    """The folder beside a session that holds its passes without tags."""
    return session.with_name(f"{session.name}-untagged")


def untagged_folder(session: Path, plan: Plan, name: str, light: str) -> Path:
    """Where the passes of one sheet go, named so that `fieldtest import` knows what they are.

    Args:
        session: its folder.
        plan: of the session.
        name: what lies on the object: an arm, a sheet's number, or `OBJECT-ARM`.
        light: that is on.

    Raises:
        InputError: no sheet of the plan has this name, or several have.
    """
    found = sheets_named(plan, (name,))
    if len(found) != 1:
        known = ", ".join(folder_names(sheet, plan) for sheet in plan.sheets)
        raise InputError(f"--untagged {name}: {'several' if found else 'none'} of the plan's sheets; known: {known}")
    return photographs_beside(session) / light / folder_names(found[0], plan)


def record_untagged(
    source: Source,
    folder: Path,
    frames: int,
    *,
    is_wanted: Callable[[], bool],
    is_over: Callable[[], bool],
    stored: Callable[[Path], None],
) -> int:
    """Store passes until the operator or the source ends it; frames between passes are thrown away.

    Args:
        source: a camera.
        folder: gets a folder for each pass, with the frames as the camera gave them.
        frames: of a pass.
        is_wanted: whether a pass shall begin with the next frame; asked between passes only.
        is_over: whether no further pass shall begin.
        stored: told of each whole pass.

    Returns:
        How many passes were stored. Half a pass at the end is removed.

    Raises:
        DeviceError: the camera or the disk is lost; what was stored stays.
    """
    passes, held, place = 0, 0, folder
    try:
        for captured in source.frames():
            if held == 0 and is_over():
                break
            if not isinstance(captured, Captured) or (held == 0 and not is_wanted()):
                continue
            if held == 0:
                place = _next_folder(folder)
            data, suffix = frame_bytes(captured)
            held += 1
            write_bytes(place / f"{held:03d}{suffix}", data)
            if held == frames:
                passes, held = passes + 1, 0
                stored(place)
    finally:
        if held:
            shutil.rmtree(place)
    return passes


def _next_folder(folder: Path) -> Path:
    number = 1
    while (place := folder / f"pass-{number:04d}").exists():
        number += 1
    place.mkdir(parents=True)
    return place
