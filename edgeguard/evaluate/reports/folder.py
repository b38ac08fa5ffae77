"""The folder of an evaluation belongs to one evaluation: another one never overwrites what is there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import foreign_json, read_bounded
from edgeguard.system.outputs import why_no_folder

SCHEMA = 1
#: The file that says what the results come from; it is written before any of them.
EVALUATION = "evaluation.json"
_LARGEST = 256 << 20  # bytes
_MORE = "images"  # the same evaluation may go on with more of them


def claim(folder: Path, facts: Mapping[str, Any]) -> None:
    """Say what a folder's results come from, or refuse a folder whose results come from something else.

    Args:
        folder: of results; made where it is not there.
        facts: what decides the results, as plain data; a larger number of `images` is the same evaluation.

    Raises:
        InputError: the folder holds results of another evaluation; what differs is named.
        DeviceError: the folder cannot be written.
    """
    told = json.loads(json.dumps({"schema": SCHEMA, **facts}))
    known = _known(folder)
    if known is not None:
        other = [name for name in told if name in known and known[name] != told[name] and name != _MORE]
        before = known.get(_MORE, 0)
        fewer = not isinstance(before, int) or before > told.get(_MORE, 0)
        if other or fewer:
            raise InputError(
                f"{folder} holds the results of another evaluation ({_said(known, told, other or [_MORE])}): "
                "choose another --output"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot write in {folder}: {why_no_folder(folder, error)}") from error
    write_bytes(folder / EVALUATION, (json.dumps(told, indent=1) + "\n").encode())


def _known(folder: Path) -> dict[str, Any] | None:
    """What a folder with results says of them; of one that an earlier version wrote, the protocol's name."""
    if not (folder / "results.jsonl").exists():
        return None
    try:
        found = foreign_json(read_bounded(folder / EVALUATION, _LARGEST, "the evaluation"))
        if isinstance(found, dict):
            return found
    except (InputError, ValueError, RecursionError):
        pass
    try:
        first = read_bounded(folder / "results.jsonl", _LARGEST, "the results")
        return {"protocol": str(foreign_json(first.partition(b"\n")[0])["protocol"])}
    except (InputError, ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None


def _said(known: Mapping[str, Any], told: Mapping[str, Any], names: list[str]) -> str:
    name = names[0]
    before, now = (
        str(values[name]) if len(str(values[name])) <= 40 else f"{values[name]!s:.12}..." for values in (known, told)
    )
    return f"its {name} {'are' if name.endswith('s') else 'is'} {before}, not {now}"
