"""The inside of a confined process: it shuts itself in, loads what answers, and answers until nobody asks."""

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeguard.errors import EdgeGuardError, is_out_of_memory
from edgeguard.system.confine import Confinement, Limits, Reach, confine
from edgeguard.system.frames import Frame, read_frame, write_frame

#: Answers one request after another; made once, with the folder in which it may write.
Service = Callable[[Frame], Frame]
#: Name of the file with what the process is told at its start, in the folder that is its own.
SETTINGS = "settings.json"
_MOST_BYTES = 1 << 40  # requests come from the side that is trusted


def main() -> None:
    """Begin, as the file of settings says that the first argument names; see `confined_child`."""
    written = Path(sys.argv[1])
    settings: dict[str, Any] = json.loads(written.read_text())
    written.unlink()
    sys.path[:] = settings["path"]
    _end_with_parent(settings["parent"])
    folder, requests, answers = Path(settings["folder"]), settings["requests"], settings["answers"]
    applied = Confinement("", "", "")
    if settings["confined"]:
        reach = Reach(tuple(map(Path, settings["readable"])))
        applied = confine(folder, Limits(**settings["limits"]), reach)
    write_frame(answers, Frame(asdict(applied)))
    module, _, name = settings["service"].partition(":")
    service: Service | None = None
    while True:
        try:
            request = read_frame(requests, most_bytes=_MOST_BYTES)
        except (EOFError, KeyboardInterrupt):
            return
        try:
            if service is None:
                service = getattr(importlib.import_module(module), name)(folder)
            answer = service(request)
        except Exception as error:
            answer = Frame({"error": _kind(error), "text": " ".join(str(error).split())[:4000]})
        write_frame(answers, answer)


def _kind(error: Exception) -> str:
    if isinstance(error, EdgeGuardError):
        return type(error).__name__
    return "MemoryError" if is_out_of_memory(error) else "RuntimeError"


def _end_with_parent(parent: int) -> None:
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it went before this was said
        os._exit(1)
