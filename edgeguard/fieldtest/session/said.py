"""`import.jsonl`: what became of each file of all imports of a session. It may come with the folder of a stranger."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeguard.system.foreign import foreign_json, lines_of, of_type, parsing, read_regular

FILE = "import.jsonl"
STORED = "is stored already"
_LARGEST = 256 << 20  # bytes
_MOST_LINES = 1_000_000  # as text they take some 500 MB; the largest plan has 500,000 frames


class Said:
    r"""A line of JSON for each stored frame, and the latest reason for each file that is not stored.

    Example:
        >>> said = Said()
        >>> said.take([{"name": "a.jpg", "reason": "blurred"}, {"file": "a.jpg", "frame": "frames/00000/000.jpg"}])
        >>> said.to_bytes()
        b'{"file": "a.jpg", "frame": "frames/00000/000.jpg"}\n'
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], str] = {}
        self._names: set[str] = set()

    def take(self, lines: Iterable[dict[str, Any]]) -> None:
        """What became of files, after all that is known: what is stored stays so."""
        for line in lines:
            name, frame = _place(line)
            if frame:
                self._lines.pop((name, ""), None)
            elif str(line.get("reason", "")).startswith(STORED) and name in self._names:
                continue
            self._names.add(name)
            self._lines[name, frame] = json.dumps(line)

    def to_bytes(self) -> bytes:
        """As it stands in the file."""
        return "".join(f"{line}\n" for line in self._lines.values()).encode()


def read_said(path: Path) -> Said:
    """The list of earlier imports; an empty one where there is none.

    Raises:
        InputError: it is damaged, too long, or no plain file.
    """
    said = Said()
    if not path.exists() and not path.is_symlink():
        return said
    data = read_regular(path, _LARGEST, "the list of files")
    with parsing(str(path)):
        said.take(of_type(dict[str, Any], foreign_json(text)) for text in lines_of(data, _MOST_LINES))
    return said


def _place(line: dict[str, Any]) -> tuple[str, str]:
    """Name of the file, and of the frame that it became."""
    frame = str(line.get("frame", ""))
    return str(line["file"] if frame else line["name"]), frame
