"""How a run is, as a small JSON file that is replaced every second: for `edgeguard fleet agent`."""

import contextlib
import json
import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from edgeguard.errors import DeviceError
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.system.files import check_writable, write_bytes

_EVERY_S = 1.0
_MOST_LABELS = 32
_LONGEST_LABEL = 60
_log = logging.getLogger(__name__)


class StatusFile:
    """Writes `path` every second until it is closed, also when no results come.

    Args:
        path: of the file.
        status: what the run is doing.

    Raises:
        DeviceError: it cannot be written, before the run begins; later that is said once.
    """

    def __init__(self, path: Path, status: RunStatus) -> None:
        check_writable(path)
        self._path, self._status = path, status
        self._labels = Counter[str]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="edgeguard-status", daemon=True)
        self._said = False
        self._thread.start()

    def __enter__(self) -> "StatusFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=2)
        with contextlib.suppress(DeviceError):
            self._write()

    def write(self, result: FrameResult) -> None:
        """Count the result's label; labels beyond the first 32 count together as `other`."""
        best = result.prediction.best
        name = "none" if best is None else best.label[:_LONGEST_LABEL]
        known = name in self._labels or len(self._labels) < _MOST_LABELS
        self._labels[name if known else "other"] += 1

    def _keep(self) -> None:
        while not self._over.wait(_EVERY_S):
            try:
                self._write()
            except DeviceError as error:
                if not self._said:
                    _log.warning("%s; nobody sees how the run is", error)
                self._said = True

    def _write(self) -> None:
        write_bytes(self._path, json.dumps(self._data()).encode(), durable=False)

    def _data(self) -> dict[str, Any]:
        status, counters = self._status, self._status.counters
        found = counters.to_dict()
        times = {f"{stage}_ms": _pair(found["ms"][stage]) for stage in ("decode", "sanitize", "infer")}
        profile = status.contract.guard.profile
        return {
            "at": time.time(), "uptime_s": round(time.monotonic() - status.began, 3), "camera": str(status.state),
            "reason": status.reason[:200], "frames": counters.frames, "dropped": counters.dropped,
            "lost": counters.lost, "refused": dict(counters.refused), "age_ms": _pair(found["age_ms"]), **times,
            "pass1": dict(counters.pass1), "certified_share": found["certified_share"],
            "compared": counters.compared, "disagreements": counters.disagreements, "labels": dict(self._labels),
            "celsius": status.power.celsius, "limits": list(status.power.now or ()), "model": status.model,
            "profile": None if profile is None else profile.sha256,
        }  # fmt: skip


def _pair(percentiles: dict[str, float | None]) -> list[float | None]:
    return [percentiles["p50"], percentiles["p95"]]
