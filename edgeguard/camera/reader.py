"""The frame reader: keeps a live source going. One slot (or a bounded queue), a state, back-off, and counters.

OpenCV and drivers can hang in `read` whatever timeouts they were given, so each connection has a thread of its own: the
reader declares a silent one lost on time, closes it, opens the next, and leaves it to end when its call returns.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from edgeguard.camera.source import Captured, Lost, Source
from edgeguard.errors import DeviceError, EdgeGuardError

T = TypeVar("T")
Drop = Literal["oldest", "newest", "wait"]

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 1.5
_MOST_PENDING = 2  # attempts that are open at a time: one may hang while the camera is back already
_MOST_STUCK = 8  # threads that hang in a driver; more would never end
_PATIENCE_S = 3.0  # the least time that an attempt gets before a newer one may replace it
_log = logging.getLogger(__name__)
_CLEAN_END = DeviceError("the stream ended")


class State(StrEnum):
    """What the camera does."""

    STARTING = "starting"
    RUNNING = "running"
    LOST = "lost"
    BACKING_OFF = "back-off"
    STOPPED = "stopped"


class FrameReader(Generic[T]):
    """Capture in threads, prepare each frame there (pass 1), hand over the newest; reopen what is lost.

    Args:
        source: opened already.
        prepare: what is done with a frame on arrival; None leaves it out.
        reopen: opens the source again after a loss, or after its end; None lets both end the reader.
        lost_after_s: without a whole frame for so long the source is lost.
        give_up_after_s: a source that stays lost for so long ends the reader; None never.
        capacity: frames that may wait; 1 is the latest frame only.
        drop: which frame goes when the queue is full; `wait` holds the source up instead.
        on_state: called with each new state and the reason of a loss, from the reader's own thread.

    Attributes:
        captured: frames that arrived whole.
        dropped: frames that nobody took in time.
        lost: frames that arrived damaged.
        skipped: whole frames that `prepare` did not want.
        losses: times the source was lost; `reconnects`: times it came back.
        interval_s: between frames, a moving average; None before two frames.
        arrived_at: monotonic time of the last whole frame.

    Example:
        >>> with FrameReader(source, lambda frame: frame, reopen=lambda: open_source(0)) as reader:  # doctest: +SKIP
        ...     for frame in reader: ...
    """

    def __init__(
        self,
        source: Source,
        prepare: Callable[[Captured], T | Lost | None],
        *,
        reopen: Callable[[], Source] | None = None,
        lost_after_s: float = 3.0,
        give_up_after_s: float | None = None,
        capacity: int = 1,
        drop: Drop = "oldest",
        on_state: Callable[[State, str], None] = lambda state, why: None,
    ) -> None:
        self.captured = self.dropped = self.lost = self.skipped = self.losses = self.reconnects = 0
        self.interval_s: float | None = None
        self.arrived_at: float | None = None
        self._first, self._prepare, self._reopen = source, prepare, reopen
        self._lost_after_s, self._give_up_after_s = lost_after_s, give_up_after_s
        self._capacity, self._drop, self.on_state = capacity, drop, on_state
        self._queue: deque[T] = deque()
        self._state = State.STARTING
        self._error: BaseException | None = None
        self._ended = self._stopping = False
        self._changed = threading.Condition()
        self._connections: list[_Connection] = []
        self._current: _Connection | None = None
        self._thread = threading.Thread(target=self._supervise, name="edgeguard-camera", daemon=True)

    @property
    def state(self) -> State:
        """What the camera does now."""
        return self._state

    def __enter__(self) -> "FrameReader[T]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(timeout=5)

    def stop(self) -> None:
        """End the reader; `take` gives None when what has arrived is taken."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Frames as they are handed over, until the source ends.

        Raises:
            DeviceError: the source is lost for good (frames that arrived before are handed over first).
        """
        while (frame := self.take()) is not None:
            yield frame

    def take(self) -> T | None:
        """The next frame, waiting for it; None at the end. Raises as `__iter__` does."""
        with self._changed:
            while not self._queue and not self._ended:
                self._changed.wait(0.5)  # a timeout lets signals through
            if self._queue:
                frame = self._queue.popleft()
                self._changed.notify_all()
                return frame
            if self._error is not None:
                raise self._error
            return None

    def wait_for_newer(self, timeout_s: float) -> None:
        """Wait until another frame has arrived, at most so long."""
        with self._changed:
            seen = self.captured
            self._changed.wait_for(lambda: self.captured != seen or self._ended, timeout_s)

    def _supervise(self) -> None:
        try:
            self._error = self._keep_going()
        except BaseException as error:
            self._error = error
        finally:
            for connection in self._connections:
                connection.close()
            for connection in self._connections:
                connection.join(0.5)
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            self._change_state(State.STOPPED, "")

    def _keep_going(self) -> BaseException | None:
        """Connections, one after the other; returns the error that ends the reader, None at a clean end."""
        connection = self._connect(lambda: self._first)
        deadline = time.monotonic() + self._lost_after_s
        while True:
            why = self._watch(connection, deadline)
            if self._stopping:
                return None
            if self._reopen is None:
                return None if why is _CLEAN_END else why
            self.losses += 1
            with self._changed:
                self._current = None
            self._change_state(State.LOST, str(why))
            found = self._find_again(why)
            if not isinstance(found, _Connection):
                return found
            connection = found
            deadline = time.monotonic() + self._lost_after_s
            self.reconnects += 1

    def _watch(self, connection: "_Connection", deadline: float) -> Exception:
        """Why the connection is over: it ended, or is silent for too long, or the reader stops."""
        with self._changed:
            while not self._stopping:
                last = connection.arrived_at
                until = deadline if last is None else last + self._lost_after_s
                if connection.error is not None:
                    return connection.error
                if connection.done:
                    return _CLEAN_END
                now = time.monotonic()
                if now >= until and not connection.waits:
                    connection.close()
                    return DeviceError(f"{connection.name} gives no whole frame for {self._lost_after_s:g} s")
                self._changed.wait(max(until - now, 0.05))
        return _CLEAN_END

    def _find_again(self, why: Exception) -> "_Connection | Exception | None":
        """New attempts with jittered back-off, a hanging one beside the next, until one gives a frame."""
        assert self._reopen is not None
        lost_at, delay, pending = time.monotonic(), _FIRST_DELAY_S, list[_Connection]()
        while not self._stopping:
            if self._give_up_after_s is not None and time.monotonic() - lost_at > self._give_up_after_s:
                return why
            self._change_state(State.BACKING_OFF, str(why))
            found = self._first_with_frame(delay * random.uniform(0.5, 1.0))
            if found is not None:
                for other in pending:
                    if other is not found:
                        other.close()
                return found
            delay = min(2 * delay, _LONGEST_DELAY_S)
            why = next((c.error for c in reversed(pending) if c.error is not None), why)
            pending = [c for c in pending if not c.done]
            self._connections = [c for c in self._connections if c.alive]
            if len(self._connections) >= _MOST_STUCK:
                return DeviceError(f"the driver hangs in {len(self._connections)} calls: restart ({why})")
            if len(pending) >= _MOST_PENDING and time.monotonic() - pending[0].began > _PATIENCE_S:
                pending.pop(0).close()
            if len(pending) < _MOST_PENDING:
                self._change_state(State.STARTING, "")
                pending.append(self._connect(self._reopen))
        return None

    def _first_with_frame(self, timeout_s: float) -> "_Connection | None":
        """The attempt that gives frames; it becomes the current one with its first frame."""
        with self._changed:
            self._changed.wait_for(lambda: self._current is not None or self._stopping, timeout_s)
            return self._current

    def _connect(self, opening: Callable[[], Source]) -> "_Connection":
        connection = _Connection(opening, self._arrived, self._noticed)
        self._connections.append(connection)
        connection.start()
        return connection

    def _arrived(self, connection: "_Connection", item: Captured | Lost) -> bool:
        """In a connection's thread; False tells it to end."""
        with self._changed:
            if self._stopping or connection.closed or self._current not in (None, connection):
                return False
            number = self.captured + self.lost
        prepared = item if isinstance(item, Lost) else self._prepare(replace(item, index=number))
        with self._changed:
            if self._stopping or connection.closed or self._current not in (None, connection):
                return False
            if isinstance(prepared, Lost):
                self.lost += 1
                return True
            self._count(connection)
            if prepared is None:
                self.skipped += 1
            else:
                self._keep(connection, prepared)
        if self._state is not State.RUNNING:
            self._change_state(State.RUNNING, "")
        return True

    def _count(self, connection: "_Connection") -> None:
        now = time.monotonic()
        if self._current is connection and connection.arrived_at is not None:
            gap = now - connection.arrived_at
            self.interval_s = gap if self.interval_s is None else 0.9 * self.interval_s + 0.1 * gap
        self._current = connection
        connection.arrived_at = self.arrived_at = now
        self.captured += 1

    def _keep(self, connection: "_Connection", frame: T) -> None:
        if len(self._queue) >= self._capacity:
            if self._drop == "wait":
                connection.waits = True
                self._changed.wait_for(lambda: len(self._queue) < self._capacity or self._stopping or connection.closed)
                connection.waits = False
                connection.arrived_at = time.monotonic()  # the time that we held it up is not the camera's
            else:
                self.dropped += 1
                if self._drop == "newest":
                    self._changed.notify_all()
                    return
                self._queue.popleft()
        self._queue.append(frame)
        self._changed.notify_all()

    def _noticed(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _change_state(self, state: State, why: str) -> None:
        if state is not self._state or state is State.LOST:
            self._state = state
            _log.debug("camera %s %s", state, why)
            self.on_state(state, why)


class _Connection:
    """One opening of the source, in a thread of its own."""

    def __init__(
        self,
        opening: Callable[[], Source],
        arrived: Callable[["_Connection", Captured | Lost], bool],
        noticed: Callable[[], None],
    ) -> None:
        self._opening, self._arrived, self._noticed = opening, arrived, noticed
        self._source: Source | None = None
        self._thread = threading.Thread(target=self._run, name="edgeguard-capture", daemon=True)
        self.name = "the camera"
        self.began = time.monotonic()
        self.arrived_at: float | None = None
        self.error: Exception | None = None
        self.done = self.closed = self.waits = False

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Tell the thread to end; a read that listens wakes up."""
        self.closed = True
        if self._source is not None:
            self._source.close()

    def _run(self) -> None:
        try:
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
            if self._source is not None:
                self._source.close()
            self.done = True
            self._noticed()
