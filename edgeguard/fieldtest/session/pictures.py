"""The pictures of a session's sheets, as they were printed: kept beside the plan, for the analysis of a patch."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeguard.dct.jpeg_decode import decode_whole
from edgeguard.errors import DeviceError, InputError, JpegError
from edgeguard.fieldtest.session.plan import Plan
from edgeguard.fieldtest.sheets.cutout import read_cutout
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet, picture_hash
from edgeguard.fieldtest.sheets.subject import Subject, write_subject
from edgeguard.fieldtest.virtual.raster import field_raster
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import read_regular

FOLDER = "pictures"
_LARGEST = 64 << 20


def keep_pictures(folder: Path, printed: Sequence[tuple[Sheet, Picture, Subject]]) -> None:
    """Write `pictures/NUMBER.png` of each sheet, and `NUMBER-object.png` of a real object.

    Raises:
        DeviceError: the folder cannot be written.
    """
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot write {folder / FOLDER}: {error.strerror}") from error
    for sheet, picture, subject in printed:
        data = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
        write_bytes(folder / FOLDER / f"{sheet.number}.png", data)
        write_subject(_object_path(folder, sheet), subject)


def read_pictures(folder: Path, plan: Plan) -> dict[int, Picture]:
    """What the object looks like with what lies on it, by the sheet's number, where that is known.

    A printed object is its sheet's picture. A real one has its paper and pieces where they are fixed on it. What lies
    beside an object is not on its picture, and pictures that are not the sheet's own are left out.
    """
    found = {}
    if (folder / FOLDER).is_symlink():
        return {}
    for sheet in plan.sheets:
        try:
            picture = _seen(folder, sheet)
        except (InputError, JpegError):
            continue
        if picture is not None:
            found[sheet.number] = picture
    return found


def _seen(folder: Path, sheet: Sheet) -> Picture | None:
    printed = decode_whole(read_regular(folder / FOLDER / f"{sheet.number}.png", _LARGEST, "the picture"))
    if picture_hash(printed) != sheet.picture_sha256:
        return None
    if sheet.mount == "sheet":
        return printed
    path = _object_path(folder, sheet)
    if sheet.mount != "on" or sheet.about is None or path.is_symlink():
        return None
    raster = field_raster(sheet, printed, read_cutout(path, sheet.about))
    wide, high = sheet.about.width_mm, sheet.about.height_mm
    left, top = (-side / 2 - edge for side, edge in ((wide, raster.left_mm), (high, raster.top_mm)))
    rows, columns = ((round(at * raster.pixels_per_mm), round((at + side) * raster.pixels_per_mm))
                     for at, side in ((top, high), (left, wide)))  # fmt: skip
    return np.ascontiguousarray(raster.rgb[slice(*rows), slice(*columns)])


def _object_path(folder: Path, sheet: Sheet) -> Path:
    return folder / FOLDER / f"{sheet.number}-object.png"
