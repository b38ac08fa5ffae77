"""The latest-frame reader: one thread, one slot. What nobody took in time is dropped and counted."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from edgeguard.camera.frame import Captured, Lost, Source

T = TypeVar("T")


class LatestFrame(Generic[T]):
    """Capture in a thread, prepare each frame there (pass 1), and hand over only the newest.

    Attributes:
        captured: frames that arrived whole.
        dropped: frames that were overwritten before anybody took them.
        lost: frames that arrived damaged.

    Example:
        >>> with LatestFrame(source, lambda frame: frame) as reader:   # doctest: +SKIP
        ...     for frame in reader: ...
    """

    def __init__(self, source: Source, prepare: Callable[[Captured], T | Lost]) -> None:
        self.captured = self.dropped = self.lost = 0
        self._source, self._prepare = source, prepare
        self._slot: T | None = None
        self._error: BaseException | None = None
        self._ended = self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._capture, name="edgeguard-capture", daemon=True)

    def __enter__(self) -> "LatestFrame[T]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._source.close()
        self._thread.join(timeout=5)

    def __iter__(self) -> Iterator[T]:
        """The newest frame each time, until the source ends.

        Raises:
            DeviceError: the source was lost (frames that arrived before are handed over first).
        """
        while True:
            with self._changed:
                while self._slot is None and not self._ended:
                    self._changed.wait(0.5)  # a timeout lets signals through
                frame, self._slot = self._slot, None
                if frame is None:
                    if self._error is not None:
                        raise self._error
                    return
            yield frame

    def _capture(self) -> None:
        try:
            for item in self._source.frames():
                if self._stopping:
                    break
                prepared = item if isinstance(item, Lost) else self._prepare(item)
                if isinstance(prepared, Lost):
                    self.lost += 1
                    continue
                with self._changed:
                    self.captured += 1
                    self.dropped += self._slot is not None
                    self._slot = prepared
                    self._changed.notify()
        except BaseException as error:
            if not self._stopping:
                self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()
