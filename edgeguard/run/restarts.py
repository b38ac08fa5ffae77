"""A service that ends badly again and again says so at its next start; its state folder holds how its runs ended.

systemd starts it anew each time, and that is wanted: a card before the camera that kills a graph, or a lost disk, must
not end the service for good. But nobody would see that it does no work.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgeguard.errors import DeviceError, EdgeGuardError
from edgeguard.run.notify import notify
from edgeguard.system.files import write_bytes

NAME = ".edgeguard-ends.json"
_MANY, _WITHIN_S = 3, 3600.0
_KEPT, _MOST_BYTES, _MOST_WORDS = 200, 1 << 17, 300
_KILLED = "it was killed, or the machine went down"
_log = logging.getLogger(__name__)


def state_folder() -> Path | None:
    """The folder that systemd gave the service; None where it is none."""
    named = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(named) if named else None


@contextmanager
def ends_counted(folder: Path | None, now: Callable[[], float] = time.time) -> Iterator[None]:
    """Around a run: a warning where three or more of the last hour's did not end cleanly; then how this one ends.

    Args:
        folder: where that is kept; None: nowhere.
        now: the clock, in seconds since 1970.
    """
    if folder is None:
        yield
        return
    path, began = folder / NAME, now()
    before = _read(path)
    recent = [why for at, why in before if 0 <= began - at <= _WITHIN_S]
    if len(recent) >= _MANY:
        line = f"THIS SERVICE DID NOT END CLEANLY {len(recent)} TIMES IN THE LAST HOUR. The last time: {recent[-1]}"
        _log.warning("%s", line)
        notify(f"STATUS={line}")
    _write(path, [*before, (began, _KILLED)])
    try:
        yield
    except EdgeGuardError as error:
        _write(path, [*before, (began, " ".join(str(error).split())[:_MOST_WORDS])])
        raise
    except Exception as error:
        _write(path, [*before, (began, f"a bug: {type(error).__name__}")])
        raise
    except BaseException:  # a signal: a clean end
        _write(path, before)
        raise
    else:
        _write(path, before)


def _read(path: Path) -> list[tuple[float, str]]:
    """What is kept; what is damaged counts for nothing."""
    try:
        with open(path, "rb") as stream:
            found = json.loads(stream.read(_MOST_BYTES))
        return [_entry(each) for each in found]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _entry(value: Any) -> tuple[float, str]:
    return float(value["at"]), str(value["why"])[:_MOST_WORDS]


def _write(path: Path, ends: list[tuple[float, str]]) -> None:
    kept = [{"at": at, "why": why} for at, why in ends[-_KEPT:]]
    with suppress(DeviceError):  # a full disk ends no service
        write_bytes(path, json.dumps(kept).encode())
