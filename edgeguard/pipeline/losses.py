"""Saying that frames are damaged or refused: one line for each change of kind, however many they are."""

import logging
import re
import threading
import time

from edgeguard.camera.source import Lost

_AGAIN_S = 60.0  # the same kind is not said again before that
_MOST_KINDS = 64
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
_log = logging.getLogger(__name__)


class LossTeller:
    """Logs the first frame of each kind that is lost. Kinds that take turns are said once a minute at most.

    Safe in several threads.
    """

    def __init__(self) -> None:
        self._said_at: dict[str, float] = {}
        self._last = ""
        self._lock = threading.Lock()

    def tell(self, lost: Lost) -> None:
        """Take a lost frame."""
        kind = lost.refusal or _NUMBERS.sub("#", lost.reason)
        now = time.monotonic()
        with self._lock:
            changed, self._last = kind != self._last, kind
            if not changed or now - self._said_at.get(kind, float("-inf")) < _AGAIN_S:
                return
            if kind not in self._said_at and len(self._said_at) >= _MOST_KINDS:
                return
            self._said_at[kind] = now
        if lost.refusal is None:
            _log.warning("a frame of %s is lost: %s; more of them are counted", lost.source, lost.reason)
        else:
            _log.warning("A FRAME OF %s IS REFUSED: %s; more of them are counted", lost.source, lost.reason)
