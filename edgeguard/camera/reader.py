"""The frame reader: keeps a live source going. One slot (or a bounded queue), a state, back-off, and counters.

OpenCV and drivers can hang in any call whatever timeouts they were given, so each connection has a thread of its own,
and one more to be closed in (`connection.py`): the reader declares a silent one lost on time, opens the next, and
leaves it to end when its call returns. The reader's own thread never calls a driver.
"""

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from edgeguard.camera.connection import Connection
from edgeguard.camera.frozen import PictureClock
from edgeguard.camera.source import Captured, FormatError, Lost, Source, Unchanged
from edgeguard.errors import DeviceError

T = TypeVar("T")
Drop = Literal["oldest", "newest", "wait"]

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 1.5
_MOST_PENDING = 2  # attempts that are open at a time: one may hang while the camera is back already
_MOST_STUCK = 8  # threads that hang in a driver; more would never end
_PATIENCE_S = 3.0  # the least time that an attempt gets before a newer one may replace it
_CLOSING_S = 2.0  # for all drivers together to close at the end
_log = logging.getLogger(__name__)
_CLEAN_END = DeviceError("the stream ended")


class State(StrEnum):
    """What the camera does."""

    STARTING = "starting"
    RUNNING = "running"
    LOST = "lost"
    REFUSED = "refused"
    BACKING_OFF = "back-off"
    STOPPED = "stopped"


class _Refused(DeviceError):
    """Frames arrive, and none of them may be taken: that is no loss of the camera."""


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
        on_lost: called with each frame that is damaged or refused, from a connection's thread.
        longest_delay_s: the longest wait between two attempts to open.
        after_each: called after each frame that arrived, in its connection's thread; the camera waits for it.

    Attributes:
        captured: frames that arrived whole.
        dropped: frames that nobody took in time.
        lost: frames that arrived damaged.
        refused: frames that were not taken for what their seal says, by why.
        unchanged: times that a camera said that its picture is the last one.
        picture: for how long it has been the same.
        noted: what streams held that had to be passed over, and how often.
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
        on_lost: Callable[[Lost], None] = lambda lost: None,
        longest_delay_s: float = _LONGEST_DELAY_S,
        after_each: Callable[[], None] = lambda: None,
    ) -> None:
        self.captured = self.dropped = self.lost = self.skipped = self.losses = self.reconnects = self.unchanged = 0
        self.refused: Counter[str] = Counter()
        self.picture = PictureClock()
        self._noted: Counter[str] = Counter()
        self.interval_s: float | None = None
        self.arrived_at: float | None = None
        self._first, self._prepare, self._reopen = source, prepare, reopen
        self._lost_after_s, self._give_up_after_s = lost_after_s, give_up_after_s
        self._capacity, self._drop, self.on_state, self.on_lost = capacity, drop, on_state, on_lost
        self._longest_delay_s, self._after_each = longest_delay_s, after_each
        self._queue: deque[T] = deque()
        self._state = State.STARTING
        self._error: BaseException | None = None
        self._ended = self._stopping = False
        self._changed = threading.Condition()
        self._connections: list[Connection] = []
        self._current: Connection | None = None
        self._thread = threading.Thread(target=self._supervise, name="edgeguard-camera", daemon=True)

    @property
    def state(self) -> State:
        """What the camera does now."""
        return self._state

    @property
    def noted(self) -> Counter[str]:
        """What streams held that had to be passed over, and how often."""
        now = Counter[str]()
        for connection in list(self._connections):
            now += connection.stream_notes
        return self._noted + now

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
            while not self._queue and not self._ended and not self._stopping:
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
            self._close_all()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            self._change_state(State.STOPPED, "")

    def _close_all(self) -> None:
        for connection in self._connections:
            connection.close()
        deadline = time.monotonic() + _CLOSING_S
        for connection in self._connections:
            connection.join(max(deadline - time.monotonic(), 0))
        stuck = sum(connection.alive for connection in self._connections)
        if stuck:
            _log.warning("the camera's driver does not close within %g s: it is left behind", _CLOSING_S)

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
            if isinstance(why, FormatError) and not self.captured:
                return why  # it never gave a picture, and will not
            refused = isinstance(why, _Refused)
            self.losses += not refused
            with self._changed:
                self._current = None
            self._change_state(State.REFUSED if refused else State.LOST, str(why))
            found = self._find_again(why)
            if not isinstance(found, Connection):
                return found
            connection = found
            deadline = time.monotonic() + self._lost_after_s
            self.reconnects += not refused

    def _watch(self, connection: Connection, deadline: float) -> Exception:
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
                    return self._why_silent(connection)
                self._changed.wait(max(until - now, 0.05))
        return _CLEAN_END

    def _why_silent(self, connection: Connection) -> DeviceError:
        if connection.refused:
            return _Refused(
                f"{connection.name}: {connection.refused} frames were refused, none was taken; the last one: "
                f"{connection.refusal}. Either the sensor has another key, or somebody alters frames"
            )
        return DeviceError(f"{connection.name} gives no whole frame for {self._lost_after_s:g} s")

    def _find_again(self, why: Exception) -> Connection | Exception | None:
        """New attempts with jittered back-off, a hanging one beside the next, until one gives a frame."""
        assert self._reopen is not None
        lost_at, delay, pending = time.monotonic(), _FIRST_DELAY_S, list[Connection]()
        while not self._stopping:
            if self._give_up_after_s is not None and time.monotonic() - lost_at > self._give_up_after_s:
                return why
            refused = isinstance(why, _Refused)
            self._change_state(State.REFUSED if refused else State.BACKING_OFF, str(why))
            found = self._first_with_frame(delay * random.uniform(0.5, 1.0))
            if found is not None:
                for other in pending:
                    if other is not found:
                        other.close()
                return found
            delay = min(2 * delay, self._longest_delay_s)
            why = next((c.error for c in reversed(pending) if c.error is not None), why)
            if isinstance(why, FormatError) and not self.captured:
                return why
            pending = [c for c in pending if not c.done]
            self._forget_ended()
            if len(self._connections) >= _MOST_STUCK:
                return DeviceError(f"the driver hangs in {len(self._connections)} calls: restart ({why})")
            if len(pending) >= _MOST_PENDING and time.monotonic() - pending[0].began > _PATIENCE_S:
                pending.pop(0).close()
            if len(pending) < _MOST_PENDING:
                if not refused:
                    self._change_state(State.STARTING, "")
                pending.append(self._connect(self._reopen))
        return None

    def _forget_ended(self) -> None:
        for connection in self._connections:
            if not connection.alive:
                self._noted += connection.stream_notes
        self._connections = [c for c in self._connections if c.alive]

    def _first_with_frame(self, timeout_s: float) -> Connection | None:
        """The attempt that gives frames; it becomes the current one with its first frame."""
        with self._changed:
            self._changed.wait_for(lambda: self._current is not None or self._stopping, timeout_s)
            return self._current

    def _connect(self, opening: Callable[[], Source]) -> Connection:
        connection = Connection(opening, self._arrived, self._noticed)
        self._connections.append(connection)
        connection.start()
        return connection

    def _arrived(self, connection: Connection, item: Captured | Lost | Unchanged) -> bool:
        """In a connection's thread; False tells it to end."""
        with self._changed:
            if self._is_over(connection):
                return False
            number = self.captured + self.lost + self.refused.total()
        if isinstance(item, Unchanged):
            return self._still_there(connection)
        prepared = item if isinstance(item, Lost) else self._prepare(replace(item, index=number))
        with self._changed:
            if self._is_over(connection):
                return False
            if not isinstance(prepared, Lost):
                assert isinstance(item, Captured)
                self.picture.saw(item)
                self._count(connection)
                if prepared is None:
                    self.skipped += 1
                else:
                    self._keep(connection, prepared)
            elif prepared.refusal is None:
                self.lost += 1
            else:
                self.refused[prepared.refusal] += 1
                connection.refused, connection.refusal = connection.refused + 1, prepared.reason
        if isinstance(prepared, Lost):
            self.on_lost(prepared)
        elif self._state is not State.RUNNING:
            self._change_state(State.RUNNING, "")
        self._after_each()
        return True

    def _is_over(self, connection: Connection) -> bool:
        return self._stopping or connection.closed or self._current not in (None, connection)

    def _still_there(self, connection: Connection) -> bool:
        """The camera answers that nothing has changed: no frame, and no loss."""
        with self._changed:
            self._current = connection
            connection.arrived_at = time.monotonic()
            self.unchanged += 1
            self.picture.saw_nothing_new()
        if self._state is not State.RUNNING:
            self._change_state(State.RUNNING, "")
        return True

    def _count(self, connection: Connection) -> None:
        now = time.monotonic()
        if self._current is connection and connection.arrived_at is not None:
            gap = now - connection.arrived_at
            self.interval_s = gap if self.interval_s is None else 0.9 * self.interval_s + 0.1 * gap
        self._current = connection
        connection.arrived_at = self.arrived_at = now
        connection.refused = 0
        self.captured += 1

    def _keep(self, connection: Connection, frame: T) -> None:
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
