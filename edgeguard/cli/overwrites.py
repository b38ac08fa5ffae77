"""Outputs that would be written over something that the same command reads: refused before anything is opened."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError

#: Parameters that name a file to write.
WRITTEN = frozenset({"output", "report", "save", "status_file", "unit"})


def refuse_overwriting(values: Mapping[str, Any], flags: Mapping[str, str]) -> None:
    """Refuse an output that is the same file as an input, under whatever names and through whatever links.

    Args:
        values: of all parameters of a command, by name; whatever is no path of a file that is there is left alone.
        flags: of each parameter, as the user writes it.

    Raises:
        InputError: one line with both flags.

    Example:
        >>> refuse_overwriting({"model": "m.tflite", "output": "r.jsonl"}, {})
    """
    outputs = [(name, path) for name in sorted(WRITTEN & values.keys()) for path in _files([values[name]])]
    if not outputs:
        return
    for name, value in values.items():
        if name in WRITTEN:
            continue
        for path in _files(value if isinstance(value, list | tuple) else [value]):
            for output, target in outputs:
                if os.path.samestat(path.stat(), target.stat()):
                    raise InputError(
                        f"{flags.get(output, output)} {target} is what {flags.get(name, name)} reads, and would be "
                        "written over; name another file"
                    )


def _files(values: Iterable[Any]) -> Iterator[Path]:
    """What of these is a plain file that is there."""
    for value in values:
        if not isinstance(value, str | Path):
            continue
        try:
            if stat.S_ISREG(Path(value).stat().st_mode):
                yield Path(value)
        except (OSError, ValueError):  # it is not there, or no path
            continue
