"""Hostile archives: names, sizes and methods that lie. Each is a good .pt2 that was changed."""

import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from converters.load.hostile_base import Hostile, program, write


def _raw(change: Callable[[zipfile.ZipFile, str], None], folder: Path, flag: Path) -> Path:
    path = write(folder / "evil.pt2", program())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        change(archive, archive.namelist()[0].partition("/")[0])
    return path


def _link(archive: zipfile.ZipFile, root: str) -> None:
    entry = zipfile.ZipInfo(f"{root}/extra/link")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


def _twice(archive: zipfile.ZipFile, root: str) -> None:
    archive.writestr(f"{root}/models/model.json", "{}")


def _other_name(folder: Path, flag: Path) -> Path:
    """One name before the data, another in the directory."""
    path = write(folder / "evil.pt2", program())
    data = bytearray(path.read_bytes())
    place = data.index(b"models/model.json")
    data[place : place + 17] = b"models/other.json"
    path.write_bytes(data)
    return path


def _other_size(folder: Path, flag: Path) -> Path:
    """A directory whose sizes are not those before the data."""
    path = write(folder / "evil.pt2", program())
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    struct.pack_into("<II", data, place + 20, 5, 0x7FFFFFF0)
    path.write_bytes(data)
    return path


def _encrypted(folder: Path, flag: Path) -> Path:
    path = write(folder / "evil.pt2", program())
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


ARCHIVES: list[Hostile] = [
    ("name that climbs", "archive name", partial(_raw, lambda a, r: a.writestr(f"{r}/../../flag", "x"))),
    ("absolute name", "archive name", partial(_raw, lambda a, r: a.writestr("/tmp/edgeguard-flag", "x"))),
    ("backslashes", "archive name", partial(_raw, lambda a, r: a.writestr(f"{r}\\..\\flag", "x"))),
    ("one name twice", "archive twice", partial(_raw, _twice)),
    ("another name before the data", "archive twice", _other_name),
    ("sizes that lie", "archive sizes", _other_size),
    ("link", "archive link", partial(_raw, _link)),
    ("encrypted member", "archive method", _encrypted),
    ("bomb", "archive bomb", partial(_raw, lambda a, r: a.writestr(f"{r}/extra/x", bytes(64 << 20)))),
]
