"""Working one step ahead: a thread prepares the next item while the caller is busy with the last one."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Prefetcher(Generic[A, B]):
    """Items, worked on in a thread of their own, in order.

    Args:
        take: gives the next item; None at the end.
        work: what is done with each.
        depth: worked items that may wait; the next one is not taken before there is room for it.
        handed_over: called when an item goes to the caller, before the next one is taken.

    Example:
        >>> items = iter([1, 2, 3])
        >>> with Prefetcher(lambda: next(items, None), lambda item: 10 * item) as prefetcher:
        ...     list(prefetcher)
        [10, 20, 30]
    """

    def __init__(
        self,
        take: Callable[[], A | None],
        work: Callable[[A], B],
        *,
        depth: int = 1,
        handed_over: Callable[[], None] = lambda: None,
    ) -> None:
        self._take, self._work, self._depth, self._handed_over = take, work, depth, handed_over
        self._done: deque[B] = deque()
        self._error: BaseException | None = None
        self._ended = self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="edgeguard-prepare", daemon=True)

    def __enter__(self) -> "Prefetcher[A, B]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def __iter__(self) -> Iterator[B]:
        """Worked items; what `take` or `work` raised comes after the items before it."""
        while True:
            with self._changed:
                while not self._done and not self._ended:
                    self._changed.wait(0.5)  # a timeout lets signals through
                if not self._done:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._done.popleft()
                self._handed_over()
                self._changed.notify_all()
            yield item

    def _room(self) -> bool:
        """Wait for room; False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._done) < self._depth or self._stopping)
            return not self._stopping

    def _run(self) -> None:
        try:
            while self._room():
                item = self._take()
                if item is None:
                    break
                worked = self._work(item)
                with self._changed:
                    self._done.append(worked)
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
