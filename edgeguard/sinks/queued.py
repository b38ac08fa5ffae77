"""The queue that keeps a slow or dead sink from delaying frames."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from edgeguard.errors import EdgeGuardError
from edgeguard.pipeline.result import FrameResult
from edgeguard.sinks.base import Sink, Undelivered

_RETRY_S = 5.0
_MOST_SAID = 8  # different reasons of one outage
_log = logging.getLogger(__name__)


class QueuedSink:
    """A sink in a thread of its own behind a bounded queue; the oldest results go when it is full.

    A sink that fails is logged once (and when it works again) and opened again every five seconds. It does not disturb
    the others.

    Args:
        name: for people.
        open_sink: opens the sink, now and again after a failure.
        capacity: results that may wait.
        pictures: it wants frames, too; then few should wait, because they are large.

    Attributes:
        written: results that it took.
        dropped: results that it did not get.
        failure: why it does not work now; None while it does.

    Raises:
        EdgeGuardError: it cannot be opened at the start.
    """

    def __init__(
        self,
        name: str,
        open_sink: Callable[[], Sink],
        *,
        capacity: int = 256,
        pictures: bool = False,
    ) -> None:
        self.name, self.written, self.dropped = name, 0, 0
        self.failure: str | None = None
        self._said: set[str] = set()  # reasons since it worked last
        self._open_sink, self._pictures = open_sink, pictures
        self._capacity = capacity
        self._reader_left = False
        self._queue: deque[FrameResult] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._retry_at = 0.0
        self._sink: Sink | None = open_sink()
        self._thread = threading.Thread(target=self._run, name=f"edgeguard-{name}", daemon=True)

    def __enter__(self) -> "QueuedSink":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, for at most five seconds, and close."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=5)
        if self._thread.is_alive():
            with self._changed:
                self.dropped += len(self._queue) + 1  # and the one that it hangs in
            self.failure = self.failure or "it did not finish in time"

    def write(self, result: FrameResult) -> None:
        """Put a result into the queue; never waits.

        Raises:
            BrokenPipeError: the reader of standard output went away.
        """
        if self._reader_left:
            raise BrokenPipeError
        if not self._pictures:
            result = replace(result, rgb=None, received=None)
        with self._changed:
            if len(self._queue) >= self._capacity:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(result)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
                result = self._queue.popleft()
            self._hand_over(result)
        self._close()

    def _hand_over(self, result: FrameResult) -> None:
        try:
            if self._sink is None:
                if time.monotonic() < self._retry_at:
                    self.dropped += 1
                    return
                self._sink = self._open_sink()
            self._sink.write(result)
            self.written += 1
        except BrokenPipeError:
            self._reader_left = True
            return
        except Undelivered as error:
            self.dropped += 1
            self._say(str(error))
            return
        except Exception as error:  # what a result holds came from outside: this thread must outlive it
            self.dropped += 1
            known = isinstance(error, (EdgeGuardError, OSError))
            self._fail(str(error) if known else f"a bug of ours: {type(error).__name__}: {error}")
            return
        if self.failure is not None:
            self.failure = None
            _log.info("%s works again; %d results were dropped", self.name, self.dropped)

    def _say(self, why: str) -> None:
        if self.failure is None:
            self._said.clear()
        if why not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(why)
            _log.warning("%s: %s; its results are dropped and counted until it works again", self.name, why)
        self.failure = why

    def _fail(self, why: str) -> None:
        self._say(why)
        self._retry_at = time.monotonic() + _RETRY_S
        self._close()

    def _close(self) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.__exit__(None, None, None)
        except Exception as error:
            if self.failure is None:
                _log.warning("%s: %s", self.name, error)
                self.failure = str(error)
