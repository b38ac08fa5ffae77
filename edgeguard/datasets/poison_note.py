"""What a folder says of itself where its images are poisoned: `poison.json` at its top."""

from pathlib import Path
from typing import Any

from edgeguard.datasets.entries import opened_zip, read_member
from edgeguard.errors import InputError
from edgeguard.system.foreign import foreign_json, of_type, parsing, read_bounded

NAME, SCHEMA = "poison.json", 1
_MOST_BYTES = 64 << 20


def poison_note(data: Path) -> dict[str, Any] | None:
    """The `poison.json` of a folder or a .zip; None where it has none.

    Raises:
        InputError: it is damaged, or has another schema: what it says cannot be left unsaid.
    """
    raw = _of_zip(data) if data.suffix.lower() == ".zip" and not data.is_dir() else _of_folder(data)
    if raw is None:
        return None
    with parsing(f"{NAME} of {data}"):
        found = foreign_json(raw)
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise InputError(f"{NAME} of {data} is none of schema {SCHEMA}; this version cannot say what it means")
        return {**found, "method": str(found["method"])[:80], "files": of_type(list[str], found["files"])}


def poison_line(data: Path) -> str | None:
    """That the images are poisoned, and how, in one line for whoever trains on them; None where nothing says so.

    Raises:
        InputError: as `poison_note`.
    """
    note = poison_note(data)
    if note is None:
        return None
    return f"{data} says that {len(note['files'])} of its images are POISONED ({note['method']})"


def _of_folder(data: Path) -> bytes | None:
    path = data / NAME
    return read_bounded(path, _MOST_BYTES, "the poison's manifest") if path.is_file() else None


def _of_zip(data: Path) -> bytes | None:
    with opened_zip(data) as archive:
        names = [entry for entry in archive.entries if entry.filename == NAME]
        if not names:
            return None
        if names[0].file_size > _MOST_BYTES:
            raise InputError(f"{NAME} of {data} is larger than {_MOST_BYTES >> 20} MiB")
        return read_member(data, archive, names[0])
