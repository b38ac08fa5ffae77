"""The pictures of a session's sheets, as they were printed: kept beside the plan, for the analysis of a patch."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from edgeguard.errors import DeviceError, InputError, JpegError
from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet, picture_hash
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import read_regular

FOLDER = "pictures"
_LARGEST = 64 << 20


def keep_pictures(folder: Path, sheets: Sequence[tuple[Sheet, Picture]]) -> None:
    """Write `pictures/NUMBER.png` of each sheet.

    Raises:
        DeviceError: the folder cannot be written.
    """
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot write {folder / FOLDER}: {error.strerror}") from error
    for sheet, picture in sheets:
        data = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
        write_bytes(folder / FOLDER / f"{sheet.number}.png", data)


def read_pictures(folder: Path, plan: Plan) -> dict[int, Picture]:
    """The pictures that are there, by the sheet's number; those that are not the sheet's own are left out."""
    found = {}
    if (folder / FOLDER).is_symlink():
        return {}
    for sheet in plan.sheets:
        path = folder / FOLDER / f"{sheet.number}.png"
        if not path.exists():
            continue
        try:
            picture = decode_rgb(read_regular(path, _LARGEST, "the picture"))
        except (InputError, JpegError):
            continue
        if picture_hash(picture) == sheet.picture_sha256:
            found[sheet.number] = picture
    return found
