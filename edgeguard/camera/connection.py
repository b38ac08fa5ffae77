"""One opening of a source, in a thread of its own, and its closing in another one: either may hang in a driver."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from edgeguard.camera.opening import Attempt
from edgeguard.camera.source import Captured, Lost, Source, Unchanged
from edgeguard.errors import DeviceError, EdgeGuardError

_log = logging.getLogger(__name__)


class Connection:
    """Opens a source, hands over what it gives, closes it. No method waits for a driver, but `join`.

    Args:
        opening: opens the source.
        arrived: called with each item in the connection's own thread; False tells it to end.
        noticed: called when the connection has ended.

    Attributes:
        arrived_at: monotonic time of the last whole frame; None before the first one.
        refused: frames that were refused since then, and `refusal`: why the last one was.
        error: what ended it; None where nothing did.
        done: it has ended; its driver may still be closing.
        closed: it was told to end.
        waits: a frame waits for room in the queue.
    """

    def __init__(
        self,
        opening: Callable[[], Source],
        arrived: Callable[["Connection", Captured | Lost | Unchanged], bool],
        noticed: Callable[[], None],
    ) -> None:
        self._opening, self._arrived, self._noticed = opening, arrived, noticed
        self._source: Source | None = None
        self._attempt = Attempt()
        self._threads = [threading.Thread(target=self._run, name="edgeguard-capture", daemon=True)]
        self.name = "the camera"
        self.began = time.monotonic()
        self.arrived_at: float | None = None
        self.refused, self.refusal = 0, ""
        self.error: Exception | None = None
        self.done = self.closed = self.waits = False

    def start(self) -> None:
        """Begin to open."""
        self._threads[0].start()

    @property
    def alive(self) -> bool:
        """Whether a thread of it is still in the driver."""
        return any(thread.is_alive() for thread in self._threads)

    @property
    def stream_notes(self) -> Counter[str]:
        """What its stream holds that had to be passed over; empty for sources that have nothing of the kind."""
        found = getattr(self._source, "noticed", None)
        return found if isinstance(found, Counter) else Counter()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, at most so long."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def close(self) -> None:
        """Tell it to end; a read that listens wakes up, also one of a source that is not whole yet.

        The driver's `close` runs in a thread of its own.
        """
        if self.closed:
            return
        self.closed = True
        if self._source is not None:
            self._threads.append(closing_thread(self._source))
        else:
            self._attempt.close()

    def _run(self) -> None:
        try:
            with self._attempt.going_on():
                self._source = source = self._opening()
            self.name = source.name
            if not self.closed:
                for item in source.frames():
                    if not self._arrived(self, item):
                        break
        except EdgeGuardError as error:
            self.error = error
        except Exception as error:  # a driver's surprise is a loss, too
            self.error = DeviceError(f"{self.name}: {type(error).__name__}: {error}")
        finally:
            self.done = True  # before the driver is closed: that may hang
            self._noticed()
            if self._source is not None:
                _close(self._source)


def closing_thread(source: Source) -> threading.Thread:
    """Close a source in a thread of its own, which is running."""
    thread = threading.Thread(target=_close, args=(source,), name="edgeguard-closing", daemon=True)
    thread.start()
    return thread


def close_in_time(source: Source, timeout_s: float = 2.0) -> bool:
    """Close a source; False where its driver does not come back in time. Its thread is then left behind."""
    thread = closing_thread(source)
    thread.join(timeout_s)
    return not thread.is_alive()


def _close(source: Source) -> None:
    try:
        source.close()
    except Exception as error:  # a driver that fails to close is closed as far as we can
        _log.debug("%s: closing failed: %s: %s", source.name, type(error).__name__, error)
